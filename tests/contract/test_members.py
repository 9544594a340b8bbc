"""Every member that the specification has of a request is known: to what decodes it, or to a list that says why not.

A member that a newer specification has, and nobody has thought of, fails the first test; one that is decoded and left
out of inspect fails the last.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from corten.api.exec import _Start
from corten.api.members import as_named
from corten.api.shapes.configs import config_shape, host_shape
from corten.api.volumes import _Create as _Volume
from corten.engine.model import CreateRequest, ExecRequest, UpdateRequest
from corten.engine.network_model import EndpointSettings, NetworkConnect, NetworkCreate, NetworkDisconnect

SPECIFICATION = Path(__file__).resolve().parents[1] / "specification/docker-engine-api-v1.56.yaml"
BODIES: dict[str, type] = {
    "/containers/create": CreateRequest,
    "/containers/{id}/update": UpdateRequest,
    "/containers/{id}/exec": ExecRequest,
    "/exec/{id}/start": _Start,
    "/networks/create": NetworkCreate,
    "/networks/{id}/connect": NetworkConnect,
    "/networks/{id}/disconnect": NetworkDisconnect,
    "/volumes/create": _Volume,
}

_PLACE = "NetworkingConfig.EndpointsConfig{}."
_TOLD = ("NetworkID", "EndpointID", "Gateway", "IPAddress", "IPPrefixLen", "IPv6Gateway", "GlobalIPv6Address",
         "GlobalIPv6PrefixLen", "DNSNames")  # fmt: skip
NOT_READ: dict[str, dict[str, str]] = {
    "/containers/create": {f"{_PLACE}{name}": "what the engine tells of a place; dockerd clears it" for name in _TOLD},
    "/networks/{id}/connect": {f"EndpointConfig.{name}": "as above" for name in _TOLD},
    "/volumes/create": {"ClusterVolumeSpec.": "refused whole"},
}
"""Of a request: in the specification, and not decoded, with all that is in it."""
NOT_SPECIFIED: dict[str, dict[str, str]] = {
    "/containers/create": {
        "MacAddress": "until API 1.51", "Runtime": "where docker-py puts HostConfig.Runtime",
        "HostConfig.KernelMemory": "of an older API", "HostConfig.KernelMemoryTCP": "of an older API",
    },
    "/networks/create": {"CheckDuplicate": "until API 1.43"},
}  # fmt: skip
"""The other way round."""


@pytest.fixture(scope="module")
def document() -> Any:
    return yaml.safe_load(SPECIFICATION.read_text())


def _body(document: Any, path: str) -> Any:
    parameters = document["paths"][path]["post"]["parameters"]
    return next(one["schema"] for one in parameters if one["in"] == "body")


def _plain(document: Any, schema: Any) -> Any:
    """A schema without references, its parts in one."""
    if "$ref" in schema:
        return _plain(document, document["definitions"][schema["$ref"].rpartition("/")[2]])
    whole = {**schema, "properties": dict(schema.get("properties") or {})}
    for part in (_plain(document, one) for one in schema.get("allOf") or ()):
        whole = {**part, **whole, "properties": {**part["properties"], **whole["properties"]}}
    return whole


def _specified(document: Any, schema: Any, path: str = "") -> Iterator[str]:
    schema = _plain(document, schema)
    for name, one in schema["properties"].items():
        yield f"{path}{name}"
        yield from _specified(document, one, f"{path}{name}.")
    if "items" in schema:
        yield from _specified(document, schema["items"], f"{path[:-1]}[].")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from _specified(document, schema["additionalProperties"], f"{path[:-1]}{{}}.")


def _decoded(info: msgspec.inspect.Type, path: str = "") -> Iterator[str]:
    if isinstance(info, msgspec.inspect.UnionType):
        for one in info.types:
            yield from _decoded(one, path)
    elif isinstance(info, msgspec.inspect.StructType):
        for field in info.fields:
            yield f"{path}{field.encode_name}"
            yield from _decoded(field.type, f"{path}{field.encode_name}.")
    elif isinstance(info, msgspec.inspect.ListType):
        yield from _decoded(info.item_type, f"{path[:-1]}[].")
    elif isinstance(info, msgspec.inspect.DictType):
        yield from _decoded(info.value_type, f"{path[:-1]}{{}}.")


@pytest.mark.parametrize("path", BODIES)
def test_every_member_of_a_request_is_known(document: Any, path: str) -> None:
    specified = set(_specified(document, _body(document, path)))
    decoded = set(_decoded(msgspec.inspect.type_info(BODIES[path])))
    assert len(specified) > 1
    unread, named = specified - decoded, NOT_READ.get(path, {})
    assert {one for one in unread if not any(_is_in(one, name) for name in named)} == set()
    assert {name for name in named if not any(_is_in(one, name) for one in unread)} == set()  # nothing is left behind
    assert decoded - specified == set(NOT_SPECIFIED.get(path, {}))


def _is_in(member: str, whole: str) -> bool:
    return member == whole or member.startswith((f"{whole}.", f"{whole}[]", f"{whole}{{}}")) or (
        whole.endswith(".") and member.startswith(whole)
    )


# --- what is decoded comes back


def _sample(document: Any, schema: Any) -> Any:
    """A value of a schema, nowhere the one that silence means."""
    schema = _plain(document, schema)
    match schema.get("type"):
        case "string":
            return next(filter(None, schema.get("enum") or ()), "x")
        case "integer":
            return 7
        case "boolean":
            return True
        case "array":
            return [_sample(document, schema["items"])] * schema.get("minItems", 1)
        case _ if isinstance(schema.get("additionalProperties"), dict):
            return {"k": _sample(document, schema["additionalProperties"])}
    return {name: _sample(document, one) for name, one in schema["properties"].items()}


def _missing(asked: Any, told: Any, path: str = "") -> Iterator[str]:
    """Where what was asked for is not told."""
    if isinstance(asked, Mapping) and isinstance(told, Mapping):
        for name, one in asked.items():
            yield from _missing(one, told.get(name, f"no {name}"), f"{path}.{name}")
    elif isinstance(asked, list) and isinstance(told, list) and len(asked) == len(told):
        for one, other in zip(asked, told, strict=True):
            yield from _missing(one, other, f"{path}[]")
    elif asked != told:
        yield f"{path}: {asked!r}, told {told!r}"


def test_what_is_asked_for_is_told(document: Any) -> None:
    asked = _sample(document, _body(document, "/containers/create"))
    request = msgspec.convert(as_named(asked, CreateRequest), CreateRequest)
    host, places = asked.pop("HostConfig"), asked.pop("NetworkingConfig")["EndpointsConfig"]
    networking = request.networking_config
    assert networking is not None
    assert networking.endpoints_config is not None
    told = EndpointSettings.asked(networking.endpoints_config["k"])
    place = {name: value for name, value in places["k"].items() if name not in _TOLD}
    pairs = ((asked, config_shape(request.config(), (1, 51))), (host, host_shape(request.host(), (1, 56))),
             (place, told))  # fmt: skip
    assert [one for value, shape in pairs for one in _missing(value, json.loads(msgspec.json.encode(shape)))] == []
    assert (len(asked), len(host), len(place)) > (20, 60, 5)
