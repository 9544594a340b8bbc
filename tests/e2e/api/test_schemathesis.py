"""schemathesis against the specification: whatever is asked, no failure of the engine's, no malformed answer, no hang.

The requests are generated from the definition, the same ones each time. Where a path names an object, each is sent
once more for one that exists. Left out is what would reach beyond the engine: registries, and paths of the host in a
new container's mounts.
"""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

import hypothesis
import pytest
import schemathesis
import yaml
from schemathesis.generation import GenerationMode

from tests.support.contract import FILE, Exchange
from tests.support.engine import Engine
from tests.support.http import UnixConnection

pytestmark = [pytest.mark.root, pytest.mark.network]

_ASKED = 5  # of each operation
_OF_SWARMS = frozenset({"configs", "nodes", "plugins", "secrets", "services", "swarm", "tasks"})
_PATIENCE = 30
"""Seconds until the head of an answer. A restart may take the 10 s that a container has after its stop signal: one that
began just now has set no handler yet, and has lost it."""
_SILENCE = 0.2  # seconds after which no more of a stream is waited for
_ENOUGH = 1 << 16
_REGISTRIES = {
    "/images/create", "/images/search", "/images/{name}/push", "/distribution/{name}/json", "/plugins/privileges",
    "/auth",
}  # fmt: skip
_ARCHIVES = {"/images/load", "/build", "/plugins/create", "/containers/{id}/archive"}
"""Their bodies are no JSON, which is all that is generated here."""
_SLEEPER = {"Image": "busybox", "Cmd": ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1; done"], "OpenStdin": True}
_CHECKS = list(hypothesis.HealthCheck)


@functools.cache
def _document() -> dict[str, Any]:
    document: dict[str, Any] = yaml.load(FILE.read_text(), yaml.CSafeLoader)
    return document


@functools.cache
def _operations() -> dict[str, Any]:
    """By method and path; as the specification has them, which is one file for all tags."""
    schema = schemathesis.openapi.from_dict(copy.deepcopy(_document()))
    schema.config.generation.modes = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]
    found = (result.ok() for result in schema.get_all_operations())
    return {f"{one.method.upper()} {one.path}": one for one in found}


def _tags() -> dict[str, list[str]]:
    tags: dict[str, list[str]] = {}
    for path, methods in _document()["paths"].items():
        for method, definition in methods.items():
            if method in ("get", "head", "post", "put", "delete") and path not in _REGISTRIES | _ARCHIVES:
                tags.setdefault(definition["tags"][0], []).append(f"{method.upper()} {path}")
    return tags


_TAGS = _tags()


@pytest.fixture(scope="module")
def existing(shared_engine: Engine) -> Iterator[dict[str, str]]:
    """What paths may name, by the noun at their beginning."""
    yield {"containers": "there", "images": "busybox:latest", "volumes": "kept", "networks": "kept", "exec": ""}
    shared_engine.api("DELETE", "/containers/there?force=1")


def _restore(engine: Engine, archive: bytes) -> None:
    """Have again what earlier requests may have removed."""
    if engine.api("GET", "/images/busybox/json").status == 404:
        engine.api("POST", "/images/load", archive).check()
    told = engine.api("GET", "/containers/there/json")
    if told.status == 404:
        engine.api("POST", "/containers/create?name=there", _SLEEPER).check()
    if told.status == 404 or not told.json["State"]["Running"]:
        engine.api("POST", "/containers/there/start")
    elif told.json["State"]["Paused"]:
        engine.api("POST", "/containers/there/unpause")
    for noun in ("volumes", "networks"):
        if engine.api("GET", f"/{noun}/kept").status == 404:
            engine.api("POST", f"/{noun}/create", {"Name": "kept"}).check()


@pytest.mark.parametrize("tag", sorted(_TAGS))
def test_whatever_is_asked(shared_engine: Engine, existing: dict[str, str], busybox_archive: Any, tag: str) -> None:
    archive = busybox_archive.read_bytes()
    for name in _TAGS[tag]:
        operation = _operations()[name]
        _restore(shared_engine, archive)
        _ask_all(shared_engine, operation, existing)


def _ask_all(engine: Engine, operation: Any, existing: dict[str, str]) -> None:
    in_swarm = operation.path.split("/")[1] in _OF_SWARMS

    @hypothesis.settings(
        max_examples=1 if in_swarm else _ASKED, derandomize=True, deadline=None, database=None,
        suppress_health_check=_CHECKS, phases=[hypothesis.Phase.generate],
    )  # fmt: skip
    @hypothesis.given(case=operation.as_strategy())
    def ask(case: Any) -> None:
        for named in ({}, existing) if "{" in operation.path else ({},):
            _ask(engine, case, operation.path, named)

    ask()


def _ask(engine: Engine, case: Any, path: str, existing: dict[str, str]) -> None:
    noun = path.split("/")[1]
    for name, value in (case.path_parameters or {}).items():
        path = path.replace(f"{{{name}}}", quote(existing.get(noun) or str(value) or "-", safe=""))
    query = urlencode({name: _text(value) for name, value in dict(case.query or {}).items()})
    target = f"/v1.56{path}?{query}" if query else f"/v1.56{path}"
    body = _harmless(copy.deepcopy(case.body)) if isinstance(case.body, dict | list) else None
    exchange = _exchange(engine, case.method.upper(), target, body)
    said = f"{exchange.method} {target} {json.dumps(body)}: {exchange.status} {exchange.body[:300]!r}"
    assert exchange.status < 500 or exchange.status in (501, 503), said
    if exchange.whole and exchange.headers.get("content-type") == "application/json" and exchange.body:
        for line in exchange.body.splitlines():
            assert json.loads(line) is not None or line == b"null", said
    if exchange.status >= 400 and exchange.method != "HEAD":
        assert set(json.loads(exchange.body)) == {"message"}, said


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _harmless(body: Any) -> Any:
    """Without paths of the host, which a new container's mounts would be made of."""
    host = body.get("HostConfig") if isinstance(body, dict) else None
    if isinstance(host, dict):
        for name in ("Binds", "Mounts", "Devices", "CgroupParent", "VolumesFrom"):
            host.pop(name, None)
    if isinstance(body, dict):
        body.pop("DriverOpts", None)
    return body


def _exchange(engine: Engine, method: str, target: str, body: Any) -> Exchange:
    """One request; of an answer that goes on, what comes at once."""
    connection = UnixConnection(engine.socket, _PATIENCE)
    content = None if body is None else json.dumps(body).encode()
    try:
        connection.connect()
        wire = connection.sock  # ``http.client`` lets go of it when the server is to close
        connection.request(method, target, content, {"Content-Type": "application/json"} if content else {})
        answer = connection.getresponse()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        if answer.status == 101 or "content-length" not in headers:
            wire.settimeout(_SILENCE)
        received, whole = b"", False
        try:
            while len(received) < _ENOUGH and (piece := answer.read1(_ENOUGH)):
                received += piece
            whole = len(received) < _ENOUGH
        except TimeoutError:
            whole = False
        return Exchange(method, target, answer.status, headers, received, whole)
    finally:
        connection.close()
