"""Routes of the engine itself: who it is, what it uses, what happens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec

from corten.api.message import JSON, Request, Response, no_content, reply
from corten.api.router import Router
from corten.api.shapes.containers import summaries
from corten.api.shapes.images import image_summary
from corten.api.shapes.system import info_shape, version_shape
from corten.api.shapes.usage import cache_usage, usage_shape, volume_usage
from corten.api.times import nanoseconds
from corten.engine.events import Event
from corten.errors import InvalidInput

ROUTES = Router()
_route = ROUTES.route
_SECOND = 1_000_000_000
_PLAIN = "text/plain; charset=utf-8"
_SEQUENCE, _RECORD = "application/json-seq", b"\x1e"
"""RFC 7464: a separator before each document."""
_PING = (
    ("Builder-Version", "1"), ("Cache-Control", "no-cache, no-store, must-revalidate"), ("Pragma", "no-cache"),
    ("Swarm", "inactive"),
)  # fmt: skip


@_route("GET", "/_ping", at_once=True)
async def ping(request: Request) -> Response:
    return Response(content=b"OK", headers=_PING, type=_PLAIN)


@_route("HEAD", "/_ping", at_once=True)
async def ping_head(request: Request) -> Response:
    return Response(headers=_PING, type=_PLAIN)


@_route("GET", "/version")
async def version(request: Request) -> Response:
    return reply(version_shape(request.services.system.version()))


@_route("GET", "/info")
async def info(request: Request) -> Response:
    return reply(info_shape(request.services.system.info(), request.version))


@_route("GET", "/events")
async def events(request: Request) -> Response:
    stream = request.services.events.subscribe(
        since=_moment(request.text("since")),
        until=_moment(request.text("until")),
        filters=request.filters(),
    )
    kind = _event_type(request)
    before = _RECORD if kind == _SEQUENCE else b""
    return Response(content=_event_lines(stream, request.version, before=before), type=kind)


def _moment(text: str) -> int | None:
    """Of events, 0 is the beginning of time; in a request for logs it means that none was given."""
    return 0 if text == "0" else nanoseconds(text)


def _event_type(request: Request) -> str:
    """What the client accepts of the ways to write one document after the other."""
    accepted = [one.partition(";")[0].strip() for one in request.headers.get("accept", "").split(",")]
    for kind, since in ((_SEQUENCE, (1, 52)), ("application/x-ndjson", (1, 52)), ("application/jsonl", (1, 53))):
        if kind in accepted and request.version >= since:
            return kind
    return JSON


async def _event_lines(
    events: AsyncIterator[Event], version: tuple[int, int], *, before: bytes
) -> AsyncIterator[bytes]:
    async for event in events:
        yield before + msgspec.json.encode(_event(event, version)) + b"\n"


def _event(event: Event, version: tuple[int, int]) -> dict[str, Any]:
    attributes = dict(event.attributes)
    shape: dict[str, Any] = {
        "Type": event.type,
        "Action": event.action,
        "Actor": {"ID": event.actor, "Attributes": attributes},
        "scope": "local",
        "time": event.time // _SECOND,
        "timeNano": event.time,
    }
    if version < (1, 52) and event.type in ("container", "image"):  # from before 1.22: tools still read them
        shape |= {"status": event.action, "id": event.actor}
        if source := attributes.get("image"):
            shape["from"] = source
    return shape


@_route("GET", "/system/df")
async def disk_usage(request: Request) -> Response:
    wanted = set(request.query.get("type", ())) if request.version >= (1, 42) else set()
    if unknown := wanted - {"container", "image", "volume", "build-cache"}:
        raise InvalidInput(f"unknown object type: {min(unknown)}")
    used = await request.services.system.df()
    used["builds"] = await request.services.builds().usage() if not wanted or "build-cache" in wanted else []
    shape: dict[str, Any] = {}
    if request.version < (1, 53) and not (request.version >= (1, 52) and request.flag("verbose")):
        shape = _legacy_usage(request, used)
        # Nothing is said of what was not asked for, which is null and not "there are none".
        kept = {member for kind, members in _USAGE.items() if kind in wanted or not wanted for member in members}
        shape = {name: value if name in kept else (0 if name == "LayersSize" else None)
                 for name, value in shape.items()}  # fmt: skip
    if request.version >= (1, 52):
        usage = usage_shape(request.services, used, request.version, verbose=request.flag("verbose"))
        shape |= {name: value for kind, (name, value) in usage.items() if kind in wanted or not wanted}
    return reply(shape)


_USAGE = {
    "image": ("LayersSize", "Images"), "container": ("Containers",), "volume": ("Volumes",),
    "build-cache": ("BuildCache",),
}  # fmt: skip


def _legacy_usage(request: Request, used: dict[str, Any]) -> dict[str, Any]:
    services, version = request.services, request.version
    return {
        "LayersSize": used["layers"],
        "Images": [
            image_summary(image, services, version, shared=shared, counted=True) for image, _, shared in used["images"]
        ],
        "Containers": summaries(((one, (rw, root)) for one, rw, root in used["containers"]), services, version),
        "Volumes": [volume_usage(*one) for one in used["volumes"]],
        "BuildCache": [cache_usage(one, version) for one in used["builds"]],
        **({"BuilderSize": 0} if version < (1, 42) else {}),
    }


@_route("POST", "/corten/system/stop")
async def stop(request: Request) -> Response:
    request.services.system.request_stop(all=request.flag("all"))
    return no_content()
