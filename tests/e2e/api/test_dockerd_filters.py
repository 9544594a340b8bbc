"""Filters of listings, and refusals of networks, as dockerd 20.10 has them."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import http
from tests.support.engine import Engine

pytestmark = [pytest.mark.root, pytest.mark.network]
_PORT = 18453


def _create(engine: Engine, name: str, *command: str, **config: Any) -> http.Response:
    body = {"Image": "busybox", "Cmd": command, "StopSignal": "SIGKILL", **config}
    return engine.api("POST", f"/containers/create?name={name}", body)


@pytest.fixture(scope="module")
def rows(shared_engine: Engine) -> Iterator[Engine]:
    """Three containers: "first" runs and publishes a port, "second" has ended with 3, "third" runs and exposes one."""
    bindings = {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(_PORT)}]}
    _create(shared_engine, "first", "sleep", "600", HostConfig={"PortBindings": bindings}).check()
    _create(shared_engine, "second", "sh", "-c", "exit 3").check()
    _create(shared_engine, "third", "sleep", "600", ExposedPorts={"8005/tcp": {}}).check()
    for name in ("first", "second", "third"):
        shared_engine.api("POST", f"/containers/{name}/start").check()
    shared_engine.api("POST", "/containers/second/wait").check()
    yield shared_engine
    for name in ("first", "second", "third"):
        shared_engine.api("DELETE", f"/containers/{name}?force=1")


def _filtered(engine: Engine, path: str, filters: dict[str, list[str]]) -> http.Response:
    separator = "&" if "?" in path else "?"
    return engine.api("GET", f"{path}{separator}filters={urllib.parse.quote(json.dumps(filters))}")


def _names(answer: http.Response) -> list[str]:
    return sorted(row["Names"][0].removeprefix("/") for row in answer.check().json)


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("since", "first", ["third"]),
        ("before", "third", ["first"]),
        ("exited", "3", []),
        ("status", "exited", ["second"]),
        ("publish", f"{_PORT}", ["first"]),
        ("publish", f"{_PORT - 3}-{_PORT + 3}/tcp", ["first"]),
        ("publish", f"{_PORT}/udp", []),
        ("publish", "80", []),
        ("expose", "8000-8010", ["third"]),
        ("expose", "8005/udp", []),
        ("name", "^/first$", ["first"]),
        ("name", "^first$", ["first"]),
        ("name", "first|third", ["first", "third"]),
        ("name", "[x", []),
    ],
)
def test_which_containers_a_listing_shows(rows: Engine, name: str, value: str, found: list[str]) -> None:
    assert _names(_filtered(rows, "/containers/json", {name: [value]})) == found


def test_containers_of_a_network_by_its_id(rows: Engine) -> None:
    id = rows.api("GET", "/networks/bridge").check().json["Id"]
    for value in ("bridge", id, id[:12]):
        listed = _filtered(rows, "/containers/json?all=1", {"network": [value]})
        assert _names(listed) == ["first", "second", "third"]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("publish", "x", "error while looking up for publish x"),
        ("publish", "70000", "error while looking up for publish 70000"),
        ("expose", "10-9", "Invalid range specified for the Port: 10-9"),
        ("is-task", "x", "invalid filter 'is-task="),
        ("name", "(a+)+$", "repeats too much"),
        ("name", "a*a*a*a*a*b", "repeats too much"),
    ],
)
def test_filters_that_are_refused(rows: Engine, name: str, value: str, said: str) -> None:
    answer = _filtered(rows, "/containers/json", {name: [value]})
    assert (answer.status, said in answer.json["message"]) == (400, True), answer.body


def test_which_networks_a_listing_shows(shared_engine: Engine) -> None:
    for filters in ({"name": ["^bri"]}, {"type": ["builtin"], "name": ["bridge"]}):
        assert [one["Name"] for one in _filtered(shared_engine, "/networks", filters).json] == ["bridge"]
    assert _filtered(shared_engine, "/networks", {"dangling": ["true"]}).json == []
    assert _filtered(shared_engine, "/networks", {"type": ["x"]}).status == 400
    assert _filtered(shared_engine, "/networks", {"dangling": ["x"]}).status == 400


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"HostConfig": {"NetworkMode": "container:"}}, "invalid container format container:<name|id>"),
        (
            {"HostConfig": {"NetworkMode": "host"}, "MacAddress": "02:00:00:00:00:01"},
            "mac-address and the network mode",
        ),
        ({"ExposedPorts": {"80/tcp": {}}}, "port exposing and the container type network mode"),
        (
            {"HostConfig": {"Links": ["first:x"]}},
            "conflicting options: container type network can't be used with links",
        ),
    ],
)
def test_what_contradicts_a_network_mode(rows: Engine, config: dict[str, Any], said: str) -> None:
    host = {"NetworkMode": "container:first", **config.get("HostConfig", {})}
    answer = _create(rows, "contradicts", "true", **{**config, "HostConfig": host})
    assert (answer.status, said in answer.json["message"]) == (400, True), answer.body


@pytest.mark.parametrize("name", ["bridge", "host", "none", "default"])
def test_names_of_networks_that_are_always_there(shared_engine: Engine, name: str) -> None:
    answer = shared_engine.api("POST", "/networks/create", {"Name": name})
    said = f"operation is not permitted on predefined {name} network "
    assert (answer.status, answer.json["message"]) == (403, said)


def test_bodies_of_connect_that_name_nobody(shared_engine: Engine) -> None:
    for action in ("connect", "disconnect"):
        answer = shared_engine.api("POST", f"/networks/bridge/{action}", {})
        assert (answer.status, answer.json["message"]) == (400, 'invalid name or ID supplied: ""')
        assert shared_engine.api("POST", f"/networks/bridge/{action}").status == 400


def test_a_users_network_as_it_is_kept(shared_engine: Engine) -> None:
    body = {"Name": "kept", "Attachable": True, "Labels": {"keep": "1"}}
    shared_engine.api("POST", "/networks/create", body).check()
    try:
        assert shared_engine.api("POST", "/networks/create", {"Name": "kept"}).status == 409
        filters = urllib.parse.quote('{"label!": ["keep"]}')
        assert shared_engine.api("POST", f"/networks/prune?filters={filters}").json["NetworksDeleted"] is None
        assert shared_engine.api("GET", "/networks/kept").check().json["Attachable"]
    finally:
        shared_engine.api("DELETE", "/networks/kept").check()
