"""Routes of images."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec

from corten.api.message import Request, Response, reply
from corten.api.router import Router
from corten.api.shapes.images import history_shape, image_inspect, image_summary
from corten.errors import AccessDenied, CortenError, InvalidInput, Unsupported

ROUTES = Router()
_route = ROUTES.route
_TAR = "application/x-tar"
Report = Callable[[dict[str, Any]], None]


def _auth(request: Request) -> dict[str, str] | None:
    """X-Registry-Auth: base64 of JSON. Never logged, never in an error."""
    header = request.headers.get("x-registry-auth", "")
    if not header:
        return None
    try:
        padded = header + "=" * (-len(header) % 4)
        value = msgspec.json.decode(base64.urlsafe_b64decode(padded), type=dict[str, str] | None)
    except (ValueError, msgspec.DecodeError):
        raise InvalidInput("invalid X-Registry-Auth header") from None
    return value or None


async def _progress(work: Callable[[Report], Awaitable[object]]) -> AsyncIterator[bytes]:
    """Docker's JSON stream of a long work: what it reports as it goes, and its error as the last line.

    An error before the first report is raised, so that it can still become a status.
    """
    lines: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def report(value: dict[str, Any]) -> None:
        loop.call_soon_threadsafe(lines.put_nowait, value)

    async def run() -> None:
        try:
            await work(report)
        finally:
            loop.call_soon(lines.put_nowait, None)

    task = asyncio.create_task(run())
    first = await lines.get()
    if first is None:
        await task
    return _lines(first, lines, task)


async def _lines(
    first: dict[str, Any] | None, lines: asyncio.Queue[dict[str, Any] | None], task: asyncio.Task[None]
) -> AsyncIterator[bytes]:
    value = first
    try:
        while value is not None:
            yield msgspec.json.encode(value) + b"\r\n"
            value = await lines.get()
        await task
    except CortenError as error:
        message = f"{error.message}\n{error.hint}" if error.hint else error.message
        yield msgspec.json.encode({"errorDetail": {"message": message}, "error": message}) + b"\r\n"
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, CortenError):
            await task


@_route("GET", "/images/json")
async def list_all(request: Request) -> Response:
    services = request.services
    images = await services.images.list(request.filters(), all=request.flag("all"))
    return reply([image_summary(image, services) for image in images])


@_route("POST", "/images/create", reads_body=True)
async def create(request: Request) -> Response:
    images = request.services.images
    platform = request.text("platform")
    if source := request.text("fromSrc"):
        if source != "-":
            raise Unsupported(f"import {source}: only an archive in the request's body can be imported (fromSrc=-)")
        repo, tag = request.text("repo"), request.text("tag")
        changes, message = list(request.query.get("changes", ())), request.text("message")

        async def work(report: Report) -> None:
            image = await images.import_(_chunks(request), repo, tag, changes, message)
            report({"status": image.id})
    else:
        name, tag = request.text("fromImage"), request.text("tag")
        if not name:
            raise InvalidInput("invalid reference format: no image is named")
        reference = f"{name}@{tag}" if ":" in tag else f"{name}:{tag}" if tag else name
        auth = _auth(request)

        async def work(report: Report) -> None:
            await images.pull(reference, platform, auth, report)

    return Response(content=await _progress(work))


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    async for chunk in request.body:
        yield chunk


@_route("POST", "/images/load", reads_body=True)
async def load(request: Request) -> Response:
    async def work(report: Report) -> None:
        await request.services.images.load(_chunks(request), report)

    return Response(content=await _progress(work))


@_route("GET", "/images/get")
async def save_many(request: Request) -> Response:
    return Response(content=await request.services.images.save(list(request.query.get("names", ()))), type=_TAR)


@_route("GET", "/images/{name:path}/get")
async def save_one(request: Request) -> Response:
    return Response(content=await request.services.images.save([request.params["name"]]), type=_TAR)


@_route("POST", "/images/prune")
async def prune(request: Request) -> Response:
    services = request.services
    used = {container.image for container in services.containers.list(all=True)}
    deleted, reclaimed = await services.images.prune(request.filters(), used)
    return reply({"ImagesDeleted": deleted, "SpaceReclaimed": reclaimed})


@_route("GET", "/images/search")
async def search(request: Request) -> Response:
    raise Unsupported("search images: Corten does not search registries")


@_route("GET", "/images/{name:path}/json")
async def inspect(request: Request) -> Response:
    return reply(image_inspect(await request.services.images.inspect(request.params["name"]), request.services))


@_route("GET", "/images/{name:path}/history")
async def history(request: Request) -> Response:
    images = request.services.images
    image = await images.inspect(request.params["name"])
    return reply(history_shape(image))


@_route("POST", "/images/{name:path}/tag")
async def tag(request: Request) -> Response:
    repo, name = request.text("repo"), request.text("tag")
    await request.services.images.tag(request.params["name"], f"{repo}:{name}" if name else repo)
    return Response(201)


@_route("POST", "/images/{name:path}/push")
async def push(request: Request) -> Response:
    raise Unsupported(f"push {request.params['name']}: Corten does not push yet")


@_route("DELETE", "/images/{name:path}")
async def remove(request: Request) -> Response:
    services = request.services
    users = [(one.image, one.id, one.state.running) for one in services.containers.list(all=True)]
    deleted = await services.images.remove(
        request.params["name"], force=request.flag("force"), noprune=request.flag("noprune"), users=users
    )
    return reply(deleted)


@_route("POST", "/auth")
async def login(request: Request) -> Response:
    raise AccessDenied("log in: Corten takes credentials from the client's config.json")
