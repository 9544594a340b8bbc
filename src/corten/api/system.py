"""Routes of the engine itself: who it is, what it uses, what happens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec

from corten.api.message import Request, Response, no_content, reply
from corten.api.router import Router
from corten.api.shapes.containers import summary
from corten.api.shapes.images import image_summary
from corten.api.times import nanoseconds
from corten.api.volumes import volume_shape
from corten.engine.events import Event
from corten.errors import Unavailable, Unsupported

ROUTES = Router()
_route = ROUTES.route
_SECOND = 1_000_000_000
_PLAIN = "text/plain; charset=utf-8"
_SWARM = ("swarm", "nodes", "services", "tasks", "secrets", "configs")
_NO_SWARM = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm '
    "and try again."
)


@_route("GET", "/_ping")
async def ping(request: Request) -> Response:
    no_cache = (("Cache-Control", "no-cache, no-store, must-revalidate"), ("Pragma", "no-cache"))
    return Response(content=b"OK", headers=no_cache, type=_PLAIN)


@_route("GET", "/version")
async def version(request: Request) -> Response:
    return reply(request.services.system.version())


@_route("GET", "/info")
async def info(request: Request) -> Response:
    return reply(request.services.system.info())


@_route("GET", "/events")
async def events(request: Request) -> Response:
    stream = request.services.events.subscribe(
        since=_moment(request.text("since")),
        until=_moment(request.text("until")),
        filters=request.filters(),
    )
    return Response(content=_event_lines(stream))


def _moment(text: str) -> int | None:
    """Of events, 0 is the beginning of time; in a request for logs it means that none was given."""
    return 0 if text == "0" else nanoseconds(text)


async def _event_lines(events: AsyncIterator[Event]) -> AsyncIterator[bytes]:
    async for event in events:
        yield msgspec.json.encode(_event(event)) + b"\n"


def _event(event: Event) -> dict[str, Any]:
    attributes = dict(event.attributes)
    shape: dict[str, Any] = {
        "Type": event.type,
        "Action": event.action,
        "Actor": {"ID": event.actor, "Attributes": attributes},
        "scope": "local",
        "time": event.time // _SECOND,
        "timeNano": event.time,
    }
    if event.type in ("container", "image"):  # members of the API before 1.22, which tools still read
        shape |= {"status": event.action, "id": event.actor}
        if source := attributes.get("image"):
            shape["from"] = source
    return shape


@_route("GET", "/system/df")
async def disk_usage(request: Request) -> Response:
    services = request.services
    used = await services.system.df()
    return reply({
        "LayersSize": used["layers"],
        "Images": [
            {**image_summary(image, services), "SharedSize": shared} for image, _, shared in used["images"]
        ],
        "Containers": [summary(container, services, (rw, root)) for container, rw, root in used["containers"]],
        "Volumes": [
            {**volume_shape(volume), "UsageData": {"Size": size, "RefCount": references}}
            for volume, size, references in used["volumes"]
        ],
        "BuildCache": [],
    })  # fmt: skip


@_route("POST", "/corten/system/stop")
async def stop(request: Request) -> Response:
    request.services.system.request_stop(all=request.flag("all"))
    return no_content()


@_route("GET", "/plugins")
async def plugins(request: Request) -> Response:
    return reply([])


@_route("POST", "/session")
async def session(request: Request) -> Response:
    raise Unsupported("open a build session: Corten does not build images yet")


@_route("POST", "/build", reads_body=True)
async def build(request: Request) -> Response:
    raise Unsupported("build: Corten does not build images yet")


@_route("GET", "/distribution/{name:path}/json")
async def distribution(request: Request) -> Response:
    raise Unsupported("inspect a remote image: Corten does not ask registries for descriptors yet")


async def _no_swarm(request: Request) -> Response:
    raise Unavailable(_NO_SWARM)


for _noun in _SWARM:
    for _method in ("GET", "POST", "DELETE"):
        for _path in (f"/{_noun}", f"/{_noun}/{{rest:path}}"):
            _route(_method, _path)(_no_swarm)
