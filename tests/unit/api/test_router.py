"""Which function answers which path, in which version; and bodies as Go reads them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, cast

import pytest

from corten.api.message import Request
from corten.api.router import DEFAULT, MINIMUM, NEWEST, split_version, text_of
from corten.api.routes import router
from corten.engine.model import CreateRequest
from corten.errors import InvalidInput, NotFound
from tests.support.contract import Specification


@pytest.mark.parametrize(
    ("path", "version", "rest"),
    [
        ("/info", DEFAULT, "/info"),
        (f"/v{text_of(MINIMUM)}/info", MINIMUM, "/info"),
        (f"/v{text_of(NEWEST)}/info", NEWEST, "/info"),
        ("/v1.41/containers//name/json", (1, 41), "/containers/name/json"),
        ("/version", DEFAULT, "/version"),
        ("/volumes", DEFAULT, "/volumes"),
    ],
)
def test_a_path_has_a_version_or_the_default(path: str, version: tuple[int, int], rest: str) -> None:
    assert split_version(path) == (version, rest)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/v1.23/info", "client version 1.23 is too old. Minimum supported API version is 1.24, please upgrade"),
        ("/v0.9/info", "client version 0.9 is too old"),
        ("/v1/info", "client version 1 is too old"),
        ("/v1.2.3/info", "client version 1.2.3 is too old"),
        ("/v1.57/info", "client version 1.57 is too new. Maximum supported API version is 1.56"),
        ("/v2.0/info", "client version 2.0 is too new"),
    ],
)
def test_another_version_is_refused_in_dockerds_words(path: str, said: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        split_version(path)
    assert raised.value.message.startswith(said)


def test_every_operation_of_the_specification_has_a_route() -> None:
    routes = router()
    for one in Specification.load(DEFAULT).operations():
        path = one.path.replace("{id}", "x").replace("{name}", "x")
        routes.find(one.method.upper(), path)
    with pytest.raises(NotFound, match="page not found"):
        routes.find("GET", "/teleport")


class _Body:
    def __init__(self, content: bytes) -> None:
        self._content = content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._content


def _request(content: bytes, query: Mapping[str, Sequence[str]] | None = None) -> Request:
    headers = {"content-type": "application/json"}
    return Request("POST", "/", DEFAULT, query or {}, headers, _Body(content), {}, cast("Any", None))


def _decoded(content: bytes) -> CreateRequest:
    return asyncio.run(_request(content).json(CreateRequest))


def test_a_null_is_what_is_not_there() -> None:
    found = _decoded(b'{"Image":"x","Tty":null,"Healthcheck":{"Timeout":null,"Retries":2},"HostConfig":{"Memory":null,'
                     b'"PortBindings":{"80/tcp":null},"RestartPolicy":null}}')  # fmt: skip
    assert (found.image, found.tty) == ("x", False)
    assert found.healthcheck is not None
    assert (found.healthcheck.timeout, found.healthcheck.retries) == (0, 2)
    assert found.host_config is not None
    assert (found.host_config.memory, found.host_config.port_bindings) == (0, {"80/tcp": None})


@pytest.mark.parametrize("content", [b'{"Image":5}', b'{"Tty":"yes"}', b"[]", b"{", b"\xff"])
def test_what_is_of_another_shape_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidInput, match="invalid JSON"):
        _decoded(content)


@pytest.mark.parametrize(
    ("text", "found"),
    [("1", True), ("true", True), ("yes", True), ("0", False), ("false", False), ("no", False), ("none", False),
     ("", False), (" FALSE ", False)],
)  # fmt: skip
def test_flags_are_dockers(text: str, found: bool) -> None:
    assert _request(b"", {"f": [text]}).flag("f") is found


def test_filters_have_two_forms() -> None:
    for text in ('{"label":["a"]}', '{"label":{"a":true,"b":false}}'):
        assert _request(b"", {"filters": [text]}).filters() == {"label": ["a"]}
    with pytest.raises(InvalidInput):
        _request(b"", {"filters": ['{"label":5}']}).filters()
