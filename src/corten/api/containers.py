"""Routes of containers: making, starting, ending, and what is known of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import msgspec

from corten.api import stdio
from corten.api.creations import of_version
from corten.api.message import Duplex, Hijack, Request, Response, no_content, reply, stream_type
from corten.api.progress import Told, pruned
from corten.api.router import Router
from corten.api.shapes.containers import inspected, summaries
from corten.api.times import nanoseconds
from corten.engine.attach import AttachOptions
from corten.engine.containers import Exit
from corten.engine.logs import LogOptions
from corten.engine.model import CreateRequest, UpdateRequest
from corten.errors import InvalidInput
from corten.spec.operation import describe
from corten.wire.frames import frame

ROUTES = Router()
_route = ROUTES.route


@_route("GET", "/containers/json")
async def list_all(request: Request) -> Response:
    services = request.services
    found = services.containers.list(
        all=request.flag("all"), limit=request.number("limit") or None, filters=request.filters()
    )
    sized = request.flag("size")
    rows = [(one, await services.containers.sizes(one.id) if sized else None) for one in found]
    return reply(summaries(rows, services, request.version))


@_route("POST", "/containers/create")
async def create(request: Request) -> Response:
    body, warnings = of_version(await request.json(CreateRequest), request.version)
    name, platform = request.text("name") or None, request.text("platform") or None
    container, more = await request.services.containers.create(
        body, name, platform, shallow_read_only=request.version < (1, 44)
    )
    return reply({"Id": container.id, "Warnings": [*warnings, *more]}, 201)


@_route("GET", "/containers/{id:path}/json")
async def inspect(request: Request) -> Response:
    services = request.services
    container = services.containers.get(request.params["id"])
    sizes = await services.containers.sizes(container.id) if request.flag("size") else None
    return reply(inspected(container, services, sizes, request.version))


@_route("POST", "/containers/{id}/start")
async def start(request: Request) -> Response:
    await request.services.containers.start(request.params["id"], plan_digest=request.text("plan") or None)
    return no_content()


@_route("GET", "/corten/containers/{id}/plan")
async def plan(request: Request) -> Response:
    containers = request.services.containers
    found, ready = await containers.plan(request.params["id"])
    before = [{**describe(step), "ready": True} for step in containers.made_ahead]
    steps = [{**step, "ready": place in ready} for place, step in enumerate(found.describe())]
    return reply({"digest": found.digest(), "steps": [*before, *steps]})


@_route("POST", "/containers/{id}/stop")
async def stop(request: Request) -> Response:
    hint = await request.services.containers.stop(
        request.params["id"], signal=request.text("signal") or None, timeout=request.number("t")
    )
    return no_content(hint)


@_route("POST", "/containers/{id}/restart")
async def restart(request: Request) -> Response:
    hint = await request.services.containers.restart(
        request.params["id"], signal=request.text("signal") or None, timeout=request.number("t")
    )
    return no_content(hint)


@_route("POST", "/containers/{id}/kill")
async def kill(request: Request) -> Response:
    await request.services.containers.kill(request.params["id"], request.text("signal") or "KILL")
    return no_content()


@_route("POST", "/containers/{id}/pause")
async def pause(request: Request) -> Response:
    await request.services.containers.pause(request.params["id"])
    return no_content()


@_route("POST", "/containers/{id}/unpause")
async def unpause(request: Request) -> Response:
    await request.services.containers.unpause(request.params["id"])
    return no_content()


@_route("POST", "/containers/{id}/rename")
async def rename(request: Request) -> Response:
    await request.services.containers.rename(request.params["id"], request.text("name"))
    return no_content()


@_route("POST", "/containers/{id}/update")
async def update(request: Request) -> Response:
    body = await request.json(UpdateRequest)
    if request.version < (1, 40):
        body = msgspec.structs.replace(body, pids_limit=None)
    warnings = await request.services.containers.update(request.params["id"], body)
    return reply({"Warnings": warnings})


@_route("POST", "/containers/{id}/wait")
async def wait(request: Request) -> Response:
    condition = request.text("condition") or "not-running"
    # Registered before the head goes out: a client starts the container when it has seen that.
    return Response(content=_waited(request.services.containers.wait(request.params["id"], condition)))


async def _waited(end: Awaitable[Exit]) -> AsyncIterator[bytes]:
    how = await end
    error = {"Error": {"Message": how.error}} if how.error else {}
    yield msgspec.json.encode({"StatusCode": how.code, **error}) + b"\n"


@_route("DELETE", "/containers/{id:path}")
async def remove(request: Request) -> Response:
    """A container, or, with ``link``, what another one calls it: ``container/alias``."""
    containers, ref = request.services.containers, request.params["id"]
    if request.flag("link"):
        containers.unlink(ref)
    else:
        await containers.remove(ref, force=request.flag("force"), volumes=request.flag("v"))
    return no_content()


@_route("POST", "/containers/prune")
async def prune(request: Request) -> Response:
    async def work(told: Told) -> dict[str, Any]:
        found = await request.services.containers.prune(request.filters(), told)
        return {"ContainersDeleted": list(found.deleted) or None, "SpaceReclaimed": found.reclaimed}

    return await pruned(request, work)


@_route("POST", "/containers/{id}/resize")
async def resize(request: Request) -> Response:
    await request.services.containers.resize(request.params["id"], *request.terminal_size())
    return Response()


@_route("GET", "/containers/{id}/top")
async def top(request: Request) -> Response:
    titles, rows = await request.services.containers.top(request.params["id"], request.text("ps_args", "-ef"))
    return reply({"Titles": list(titles), "Processes": [list(row) for row in rows]})


@_route("GET", "/containers/{id}/stats")
async def stats(request: Request) -> Response:
    services, id = request.services, services_id(request)
    samples = services.containers.stats(id, stream=request.flag("stream", True), one_shot=request.flag("one-shot"))
    return Response(content=_lines(samples))


def services_id(request: Request) -> str:
    """The full ID of the container in the path. Raises NotFound now, not in the middle of a stream."""
    return request.services.containers.get(request.params["id"]).id


async def _lines(values: AsyncIterator[object]) -> AsyncIterator[bytes]:
    async for value in values:
        yield msgspec.json.encode(value) + b"\n"


@_route("GET", "/containers/{id}/changes")
async def changes(request: Request) -> Response:
    found = await request.services.containers.changes(request.params["id"])
    return reply([{"Path": change.path, "Kind": change.kind} for change in found])


# --- stdio


@_route("POST", "/containers/{id}/attach", reads_body=True)
async def attach(request: Request) -> Hijack:
    services = request.services
    if "content-length" in request.headers:
        await request.bytes()  # before the stream, and no part of it: dockerode says there again what it wants
    container = services.containers.get(request.params["id"])
    options = AttachOptions(
        stdin=request.flag("stdin"),
        stdout=request.flag("stdout"),
        stderr=request.flag("stderr"),
        logs=request.flag("logs"),
        stream=request.flag("stream"),
        detach_keys=request.text("detachKeys"),
    )
    attachment = await services.containers.attach(container.id, options)

    async def serve(client: Duplex) -> None:
        await stdio.serve(attachment, client, framed=not attachment.tty)

    return Hijack(serve, stream_type(request.version, tty=container.config.tty))


@_route("GET", "/containers/{id}/logs")
async def logs(request: Request) -> Response:
    services = request.services
    container = services.containers.get(request.params["id"])
    options = _log_options(request)
    entries = services.containers.logs(container.id, options)
    tty = container.config.tty
    return Response(content=_framed(entries, tty), type=stream_type(request.version, tty=tty))


def _log_options(request: Request) -> LogOptions:
    stdout, stderr = request.flag("stdout"), request.flag("stderr")
    if not stdout and not stderr:
        raise InvalidInput("Bad parameters: you must choose at least one stream")
    tail = request.text("tail", "all")
    return LogOptions(
        stdout=stdout,
        stderr=stderr,
        follow=request.flag("follow"),
        since=nanoseconds(request.text("since")),
        until=nanoseconds(request.text("until")),
        timestamps=request.flag("timestamps"),
        details=request.flag("details"),
        tail=int(tail) if tail.isascii() and tail.isdigit() else None,
    )


async def _framed(entries: AsyncIterator[tuple[int, bytes]], tty: bool) -> AsyncIterator[bytes]:
    async for stream, data in entries:
        yield data if tty else frame(stream, data)
        await asyncio.sleep(0)
