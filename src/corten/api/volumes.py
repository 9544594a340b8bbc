"""Routes of volumes."""

from __future__ import annotations

from typing import Any

import msgspec

from corten.api.absent import NO_MANAGER
from corten.api.message import Request, Response, no_content, reply
from corten.api.progress import Told, pruned
from corten.api.router import Router
from corten.api.shapes.usage import volume_shape
from corten.errors import Unavailable

ROUTES = Router()
_route = ROUTES.route


class _Create(msgspec.Struct, rename="pascal"):
    """The body of ``POST /volumes/create``."""

    name: str = ""
    driver: str = "local"
    driver_opts: dict[str, str] | None = None
    labels: dict[str, str] | None = None
    cluster_volume_spec: dict[str, Any] | None = None


@_route("GET", "/volumes")
async def list_all(request: Request) -> Response:
    volumes = request.services.volumes.list(request.filters())
    return reply({"Volumes": [volume_shape(volume) for volume in volumes], "Warnings": None})


@_route("POST", "/volumes/create")
async def create(request: Request) -> Response:
    body = await request.json(_Create, empty=_Create())
    if body.cluster_volume_spec is not None and request.version >= (1, 42):
        raise Unavailable(NO_MANAGER)
    volume = request.services.volumes.create(
        body.name, driver=body.driver or "local", options=body.driver_opts, labels=body.labels
    )
    return reply(volume_shape(volume), 201)


@_route("POST", "/volumes/prune")
async def prune(request: Request) -> Response:
    filters = request.filters()
    if request.version < (1, 42):  # before, a prune took named volumes too
        filters = {**filters, "all": ["true"]}

    async def work(told: Told) -> dict[str, Any]:
        found = await request.services.volumes.prune(filters, told)
        return {"VolumesDeleted": list(found.deleted), "SpaceReclaimed": found.reclaimed}

    return await pruned(request, work)


@_route("GET", "/volumes/{name}")
async def inspect(request: Request) -> Response:
    return reply(volume_shape(request.services.volumes.get(request.params["name"])))


@_route("DELETE", "/volumes/{name}")
async def remove(request: Request) -> Response:
    await request.services.volumes.remove(request.params["name"], force=request.flag("force"))
    return no_content()
