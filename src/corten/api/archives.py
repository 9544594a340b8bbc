"""Routes of a container's files: archive, export."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator

import msgspec

from corten.api.containers import services_id
from corten.api.message import Request, Response
from corten.api.router import Router
from corten.engine.containers import PathStat
from corten.errors import InvalidInput

ROUTES = Router()
_route = ROUTES.route
_TAR = "application/x-tar"
_STAT_HEADER = "X-Docker-Container-Path-Stat"


def _path(request: Request) -> str:
    path = request.text("path")
    if not path:
        raise InvalidInput("bad parameter: path cannot be empty")
    return path


def _stat_header(stat: PathStat) -> tuple[str, str]:
    value = {
        "name": stat.name, "size": stat.size, "mode": stat.mode, "mtime": stat.mtime, "linkTarget": stat.link_target,
    }  # fmt: skip
    return _STAT_HEADER, base64.b64encode(msgspec.json.encode(value)).decode()


@_route("HEAD", "/containers/{id}/archive")
async def stat_path(request: Request) -> Response:
    stat = await request.services.containers.stat_path(services_id(request), _path(request))
    return Response(headers=(_stat_header(stat),))


@_route("GET", "/containers/{id}/archive")
async def get_archive(request: Request) -> Response:
    stat, content = await request.services.containers.get_archive(services_id(request), _path(request))
    return Response(content=content, headers=(_stat_header(stat),), type=_TAR)


@_route("PUT", "/containers/{id}/archive", reads_body=True)
async def put_archive(request: Request) -> Response:
    await request.services.containers.put_archive(
        services_id(request),
        _path(request),
        _chunks(request),
        overwrite_kind=not request.flag("noOverwriteDirNonDir"),
        keep_owner=request.flag("copyUIDGID"),
    )
    return Response()


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    async for chunk in request.body:
        yield chunk


@_route("GET", "/containers/{id}/export")
async def export(request: Request) -> Response:
    return Response(content=await request.services.containers.export(services_id(request)), type=_TAR)
