"""The Docker Engine API's specification as a judge: every answer that a test provokes is held against it.

The definition is Swagger 2.0. Three things are added to what it says:

- an object has no members but those that are named, so that a field which no client knows is a finding;
- an unset list or map may be null: dockerd's Go writes it so, and clients rely on that;
- what the version history says was removed from the API is still there in older versions of it.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import yaml

Schema = dict[str, Any]
Version = tuple[int, int]

FILE = Path(__file__).resolve().parents[1] / "specification/docker-engine-api-v1.56.yaml"
_METHODS = ("get", "head", "post", "put", "delete")
_OWN = "/corten/"
_LONG = re.compile(r"/(images|distribution|plugins)/\{name\}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)

_STREAMS = {
    ("post", "/images/create"): "CreateImageInfo",
    ("post", "/build"): "BuildInfo",
    ("post", "/images/load"): "BuildInfo",
    ("post", "/images/{name}/push"): "PushImageInfo",
}
"""What a stream of progress consists of, which the specification leaves open."""

_ALWAYS = {
    # Written by dockerd, read by its command line, not in the specification.
    "PushImageInfo": ("aux", "id"),
    "SystemVersion": (),
}
_POINTERS = {
    # Go's pointers without "omitempty": null when nothing was asked for.
    "Resources": ("MemorySwappiness", "OomKillDisable"),
    "EndpointSettings": ("IPAMConfig",),
    "ContainerInspectResponse": ("GraphDriver",),
    "DriverData": ("Data",),
    "NetworkCreateResponse": (),
}
_REMOVED: tuple[tuple[str, Version, str], ...] = (
    ("ImageInspect", (1, 44), "VirtualSize"),
    ("ImageSummary", (1, 44), "VirtualSize"),
    ("ImageInspect", (1, 45), "Container ContainerConfig"),
    ("ImageInspect", (1, 52), "Parent DockerVersion"),
    (
        "ImageConfig", (1, 50),
        "Hostname Domainname AttachStdin AttachStdout AttachStderr Tty OpenStdin StdinOnce Image",
    ),
    ("HostConfig", (1, 42), "KernelMemory"),
    ("HostConfig", (1, 52), "KernelMemoryTCP"),
    ("ContainerConfig", (1, 52), "MacAddress"),
    (
        "NetworkSettings", (1, 52),
        "Bridge HairpinMode LinkLocalIPv6Address LinkLocalIPv6PrefixLen SecondaryIPAddresses SecondaryIPv6Addresses "
        "EndpointID Gateway GlobalIPv6Address GlobalIPv6PrefixLen IPAddress IPPrefixLen IPv6Gateway MacAddress",
    ),
    ("SystemInfo", (1, 50), "BridgeNfIptables BridgeNfIp6tables"),
    ("SystemInfo", (1, 52), "KernelMemory KernelMemoryTCP"),
    ("Commit", (1, 49), "Expected"),
    ("NetworkSummary", (1, 28), "Containers"),
    ("EventMessage", (1, 52), "status id from"),
    ("CreateImageInfo", (1, 99), "error progress"),
    ("BuildInfo", (1, 99), "error progress"),
    ("PushImageInfo", (1, 99), "error progress"),
    ("SystemDataUsageResponse", (1, 53), "LayersSize Images Containers Volumes BuildCache"),
    ("SystemDataUsageResponse", (1, 42), "BuilderSize"),
    ("RegistryServiceConfig", (1, 49), "AllowNondistributableArtifactsCIDRs AllowNondistributableArtifactsHostnames"),
)  # fmt: skip
"""(definition, first version without, names): the published API version history."""


@dataclasses.dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer; ``whole`` is False when the answer broke off, or was not recorded to its end."""

    method: str
    target: str
    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    whole: bool = True


@dataclasses.dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path of the specification."""

    method: str
    path: str
    definition: Mapping[str, Any]


class Specification:
    """The published definition. ``newest`` is the version that an engine speaks when no version is asked for."""

    def __init__(self, document: Mapping[str, Any], newest: Version) -> None:
        self._document, self._newest = document, newest
        self._patterns = [(_pattern(path), path) for path in document["paths"]]
        self._validators: dict[tuple[str, Version], jsonschema.Draft7Validator] = {}

    @classmethod
    def load(cls, newest: Version) -> Specification:
        """Read the vendored file."""
        return cls(_document(), newest)

    def operations(self) -> Iterator[Operation]:
        """All of them."""
        for path, methods in self._document["paths"].items():
            yield from (Operation(name, path, methods[name]) for name in _METHODS if name in methods)

    def find(self, method: str, path: str) -> Operation | None:
        """The operation that answers a request; an exact path before one with parameters."""
        for pattern, template in sorted(self._patterns, key=lambda one: "{" in one[1]):
            definition = self._document["paths"][template].get(method.lower())
            if definition is not None and pattern.fullmatch(path):
                return Operation(method.lower(), template, definition)
        return None

    # --- judging

    def findings(self, exchange: Exchange) -> list[str]:
        """What is wrong with an answer, one line a thing; empty when it is as specified."""
        version, path = _split(exchange.target, self._newest)
        found = [f"{exchange.method} {exchange.target}: {exchange.status}: {one}"
                 for one in self._judge(exchange, version, path)]  # fmt: skip
        return found[:8]

    def _judge(self, exchange: Exchange, version: Version, path: str) -> Iterator[str]:
        if path.startswith(_OWN):
            return
        if exchange.status >= 400:
            yield from self._judge_error(exchange, version)
            return
        operation = self.find(exchange.method, path)
        if operation is None:
            yield "the specification has no such operation"
            return
        responses = operation.definition["responses"]
        if exchange.status in (101, 304) or operation.method == "head":
            return
        answer = responses.get(exchange.status) or responses.get(str(exchange.status))
        if answer is None:
            yield f"the specification has {sorted(responses, key=str)}"
            return
        yield from self._judge_body(exchange, version, operation, answer)

    def _judge_error(self, exchange: Exchange, version: Version) -> Iterator[str]:
        if exchange.method == "HEAD":
            return
        yield from self._validate(exchange, version, {"$ref": "#/definitions/ErrorResponse"})

    def _judge_body(
        self, exchange: Exchange, version: Version, operation: Operation, answer: Mapping[str, Any]
    ) -> Iterator[str]:
        schema = answer.get("schema")
        if (name := _STREAMS.get((operation.method, operation.path))) is not None:
            schema = {"$ref": f"#/definitions/{name}"}
        if schema is None:
            if exchange.body and exchange.whole and not _is_stream(exchange):
                yield f"a body where none is specified: {exchange.body[:80]!r}"
            return
        if schema.get("type") == "string":
            return
        if "json" not in exchange.headers.get("content-type", ""):
            yield f"content type {exchange.headers.get('content-type')!r} of a JSON document"
        if exchange.headers.get("content-type") == "application/jsonl" and operation.path.endswith("/prune"):
            yield from self._judge_prune(exchange, version, schema)
            return
        yield from self._validate(exchange, version, schema)

    def _judge_prune(self, exchange: Exchange, version: Version, schema: Schema) -> Iterator[str]:
        """A prune that tells as it goes, of the version history: the report is what its last line wraps."""
        *gone, last = [json.loads(line) for line in exchange.body.splitlines()]
        yield from (f"{line}: not an id and a status" for line in gone if set(line) != {"id", "status"})
        report = dataclasses.replace(exchange, body=json.dumps(last.get("aux")).encode())
        yield from self._validate(report, version, schema)

    def _validate(self, exchange: Exchange, version: Version, schema: Schema) -> Iterator[str]:
        validator = self._validator(schema, version)
        try:
            values = list(_documents(exchange.body, exchange.whole))
        except ValueError as error:
            yield f"not JSON: {error}: {exchange.body[:80]!r}"
            return
        if not values and exchange.whole and not _may_be_empty(exchange):
            yield "no JSON document"
        for value in values:
            for wrong in validator.iter_errors(value):
                yield f"{'.'.join(map(str, wrong.absolute_path)) or 'document'}: {wrong.message[:300]}"

    def missing(self, name: str, value: Any) -> list[str]:
        """The members of a definition that a value does not have, by path; of its objects, too."""
        return sorted(self._missing(self._document["definitions"][name], value, ""))

    def _missing(self, schema: Schema, value: Any, path: str) -> Iterator[str]:
        whole = self._merged(schema)
        if isinstance(value, list):
            for entry in value[:1]:
                yield from self._missing(whole.get("items", {}), entry, f"{path}[]")
        if not isinstance(value, dict):
            return
        for name, inner in whole.get("properties", {}).items():
            place = f"{path}.{name}".lstrip(".")
            if name in value:
                yield from self._missing(inner, value[name], place)
            else:
                yield place

    # --- schemas

    def _validator(self, schema: Schema, version: Version) -> jsonschema.Draft7Validator:
        key = (json.dumps(schema, sort_keys=True, default=str), version)
        if key not in self._validators:
            whole = {**self._closed(schema, version), "definitions": self._definitions(version)}
            self._validators[key] = jsonschema.Draft7Validator(whole, format_checker=_formats())
        return self._validators[key]

    @functools.lru_cache(maxsize=32)  # noqa: B019  a specification lives as long as the tests do
    def _definitions(self, version: Version) -> Schema:
        found = self._document["definitions"].items()
        return {name: self._closed(schema, version, name) for name, schema in found}

    def _merged(self, schema: Schema) -> Schema:
        """A schema with its references followed and its ``allOf`` made one."""
        if "$ref" in schema:
            return self._merged(self._document["definitions"][schema["$ref"].rpartition("/")[2]])
        if "allOf" not in schema:
            return schema
        parts = [self._merged(part) for part in schema["allOf"]]
        whole: Schema = {key: value for part in parts for key, value in part.items()}
        properties = {name: value for part in (*parts, schema) for name, value in part.get("properties", {}).items()}
        required = [name for part in (*parts, schema) for name in part.get("required", ())]
        own = {key: value for key, value in schema.items() if key not in ("allOf", "properties", "required")}
        whole |= own
        if properties:
            whole |= {"properties": properties, "required": required}
        return whole

    def _closed(self, schema: Schema, version: Version, name: str = "") -> Schema:
        """JSON Schema for a schema of the specification."""
        nullable = schema.get("x-nullable") is True
        if "$ref" in schema:
            reference = {"$ref": schema["$ref"]}
            return {"anyOf": [reference, {"type": "null"}]} if nullable else reference
        whole = self._merged(schema)
        result: Schema = {}
        for key in ("type", "enum", "format"):
            if whole.get(key):
                result[key] = whole[key]
        # What is required and not described is a slip of the specification's: a member that was renamed.
        if required := [one for one in whole.get("required", ()) if one in whole.get("properties", {})]:
            result["required"] = required
        if "items" in whole:
            result["items"] = self._closed(whole["items"], version)
        self._close_object(result, whole, version, name or schema.get("title", ""))
        if nullable or _is_collection(whole):
            result["type"] = [*_listed(result.get("type", "object")), "null"]
            if "enum" in result:
                result["enum"] = [*result["enum"], None]
        return result

    def _close_object(self, result: Schema, whole: Schema, version: Version, name: str) -> None:
        properties = whole.get("properties")
        extra = whole.get("additionalProperties")
        if properties:
            closed = {key: self._closed(inner, version) for key, inner in properties.items()}
            for key in _pointers(name, properties):
                closed[key] = {"anyOf": [closed[key], {"type": "null"}]}
            closed |= {key: {} for key in _extra(name, version)}
            result["properties"] = closed
            result["additionalProperties"] = self._closed(extra, version) if isinstance(extra, dict) else False
        elif isinstance(extra, dict):
            result["additionalProperties"] = self._closed(extra, version)


@functools.cache
def _document() -> Mapping[str, Any]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    found: Mapping[str, Any] = yaml.load(FILE.read_text(), Loader=loader)
    return found


@functools.cache
def _formats() -> jsonschema.FormatChecker:
    checker = jsonschema.FormatChecker(formats=())
    for name in ("date-time", "dateTime"):
        checker.checks(name)(lambda value: not isinstance(value, str) or bool(_TIME.fullmatch(value)))
    return checker


def _pattern(path: str) -> re.Pattern[str]:
    long = bool(_LONG.match(path))
    return re.compile(re.sub(r"\{\w+\}", ".+" if long else "[^/]+", path))


def _split(target: str, newest: Version) -> tuple[Version, str]:
    path = re.sub("/{2,}", "/", urllib.parse.unquote(target.partition("?")[0]))
    match = re.match(r"/v(\d+)\.(\d+)(?=/)", path)
    return ((int(match[1]), int(match[2])), path[match.end() :]) if match else (newest, path)


def _pointers(name: str, properties: Mapping[str, Any]) -> Iterator[str]:
    """Those of a definition, also where it is part of a larger one."""
    for owner, members in _POINTERS.items():
        if owner == name or (owner == "Resources" and name == "HostConfig"):
            yield from (member for member in members if member in properties)


def _extra(name: str, version: Version) -> Iterator[str]:
    yield from _ALWAYS.get(name, ())
    for definition, until, names in _REMOVED:
        if definition == name and version < until:
            yield from names.split()


def _is_collection(schema: Schema) -> bool:
    return schema.get("type") == "array" or (
        "additionalProperties" in schema and not schema.get("properties")
    )


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _is_stream(exchange: Exchange) -> bool:
    return any(kind in exchange.headers.get("content-type", "") for kind in ("stream", "x-tar"))


def _may_be_empty(exchange: Exchange) -> bool:
    """A stream of events may have none."""
    return "/events" in exchange.target or "/load" in exchange.target or "/build" in exchange.target


def _documents(body: bytes, whole: bool) -> Iterator[Any]:
    """The JSON documents of a body, one after the other; the last may be cut off when the body is not whole."""
    decoder, text, place = json.JSONDecoder(), body.decode(errors="strict" if whole else "replace"), 0
    while (place := _after_space(text, place)) < len(text):
        try:
            value, place = decoder.raw_decode(text, place)
        except ValueError:
            if whole:
                raise
            return
        yield value


def _after_space(text: str, place: int) -> int:
    while place < len(text) and text[place] in " \t\r\n\x1e":
        place += 1
    return place
