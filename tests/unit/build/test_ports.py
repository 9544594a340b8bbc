"""EXPOSE: what a port may look like, and what is kept of it."""

from __future__ import annotations

import pytest

from corten.build.ports import parse
from corten.errors import InvalidInput


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("80", ("80/tcp",)),
        ("080/UDP", ("80/udp",)),
        ("80/", ("80/tcp",)),
        ("53/sctp", ("53/sctp",)),
        ("80-82", ("80/tcp", "81/tcp", "82/tcp")),
        ("80-80", ("80/tcp",)),
        ("0", ("0/tcp",)),
        ("65535", ("65535/tcp",)),
        ("8080:80", ("80/tcp",)),
        ("8080-8090:80", ("80/tcp",)),
        ("8080-8081:80-81", ("80/tcp", "81/tcp")),
        ("127.0.0.1:8080:80", ("80/tcp",)),
        ("127.0.0.1::80", ("80/tcp",)),
        ("[::1]:8080:80", ("80/tcp",)),
        (":80", ("80/tcp",)),
    ],
)
def test_a_port(text: str, expected: tuple[str, ...]) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", 'invalid port: "": no port specified'),
        ("/tcp", 'invalid port: "/tcp": no port specified'),
        ("80:", 'invalid port: "80:": no port specified'),
        ("80/x", 'invalid port: "80/x": invalid proto: x'),
        ("x", "invalid containerPort: x"),
        ("65536", "invalid containerPort: 65536"),
        ("-1", "invalid containerPort: -1"),
        ("82-80", "invalid containerPort: 82-80"),
        ("80-", "invalid containerPort: 80-"),
        ("x:80", "invalid hostPort: x"),
        ("1-2:80-82", "invalid ranges specified for container and host Ports: 80-82 and 1-2"),
        ("host:1:80", "invalid IP address: host"),
    ],
)
def test_a_port_that_is_none(text: str, cause: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse(text)
    assert caught.value.message == cause
