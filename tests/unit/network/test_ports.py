"""Docker's port map, read."""

from __future__ import annotations

import pytest

from corten.errors import CortenError, InvalidInput, Unsupported
from corten.network.ports import PortRequest, container_port, port_requests


def test_a_port_map() -> None:
    asked = {
        "80/tcp": [("", "8080"), ("127.0.0.1", "8000-8010")],
        "53/udp": [("0.0.0.0", "")],
        "443": [("10.0.0.1", "443")],
        "9/sctp": [("[2001:db8::1]", "9")],
    }
    assert port_requests(asked) == [
        PortRequest("tcp", 80, "", 8080, 8080),
        PortRequest("tcp", 443, "10.0.0.1", 443, 443),
        PortRequest("sctp", 9, "2001:db8::1", 9, 9),
        PortRequest("tcp", 80, "127.0.0.1", 8000, 8010),
        PortRequest("udp", 53, "0.0.0.0", 0, 0),
    ]


@pytest.mark.parametrize(("text", "expected"), [("80", (80, "tcp")), ("53/UDP", (53, "udp"))])
def test_container_ports(text: str, expected: tuple[int, str]) -> None:
    assert container_port(text) == expected


@pytest.mark.parametrize(
    ("target", "ip", "port", "kind"),
    [
        ("80/dccp", "", "80", Unsupported),
        ("80/tcp", "::g", "80", InvalidInput),
        ("80/tcp", "nowhere", "80", InvalidInput),
        ("80/tcp", "", "65536", InvalidInput),
        ("80/tcp", "", "-1", InvalidInput),
        ("80/tcp", "", "²", InvalidInput),
        ("80/tcp", "", "90-80", InvalidInput),
        ("/tcp", "", "80", InvalidInput),
        ("0x50/tcp", "", "80", InvalidInput),
    ],
)
def test_bad_ports(target: str, ip: str, port: str, kind: type[CortenError]) -> None:
    with pytest.raises(kind):
        port_requests({target: [(ip, port)]})


def test_fixed_ports_come_before_random_ones() -> None:
    asked = {"80/tcp": [("", "")], "81/tcp": [("", "8000-8010")], "82/tcp": [("", "8001")]}
    assert [request.container_port for request in port_requests(asked)] == [82, 81, 80]
