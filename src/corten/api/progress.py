"""Long works that tell how they go: a stream of JSON documents, one a line."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec

from corten.api.message import Request, Response, reply
from corten.errors import CortenError

Report = Callable[[dict[str, Any]], None]
Told = Callable[[str], None]
"""Takes the ID of what was just deleted."""


async def progress(
    work: Callable[[Report], Awaitable[object]], end: bytes = b"\r\n", *, raises: bool = True, at_once: bool = False
) -> AsyncIterator[bytes]:
    """Docker's JSON stream of a long work: what it reports as it goes, and its error as the last line.

    An error before the first report is raised, so that it can still become a status, unless clients look for it in
    the stream. ``at_once`` returns before the first report: from then on the work ends with its client.
    """
    lines: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
    loop, thread = asyncio.get_running_loop(), threading.get_ident()

    def report(value: dict[str, Any]) -> None:
        if threading.get_ident() == thread:  # nobody has to be woken
            loop.call_soon(lines.put_nowait, value)
        else:
            loop.call_soon_threadsafe(lines.put_nowait, value)

    async def run() -> None:
        try:
            await work(report)
        finally:
            loop.call_soon(lines.put_nowait, None)

    task = asyncio.create_task(run())
    if at_once:
        return _lines({}, lines, task, end)
    first = await lines.get()
    if first is None and raises:
        await task
    return _lines(first, lines, task, end)


async def _lines(
    first: dict[str, Any] | None, lines: asyncio.Queue[dict[str, Any] | None], task: asyncio.Task[None], end: bytes
) -> AsyncIterator[bytes]:
    value = first
    try:
        while value is not None:
            said = msgspec.json.encode(value) + end if value else b""
            while not lines.empty() and (value := lines.get_nowait()) is not None:
                said += msgspec.json.encode(value) + end
            yield said
            value = await lines.get() if value is not None else None
        await task
    except CortenError as error:
        yield msgspec.json.encode(told(error)) + end
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, CortenError):
            await task


def told(error: CortenError) -> dict[str, Any]:
    """An error as such a stream has it."""
    message = f"{error.message}\n{error.hint}" if error.hint else error.message
    code = getattr(error, "code", 0)  # of a command that a build ran
    detail = {"code": code, "message": message} if code else {"message": message}
    return {"errorDetail": detail, "error": message}


async def pruned(request: Request, work: Callable[[Told], Awaitable[dict[str, Any]]]) -> Response:
    """The report of a prune; with ``stream``, since 1.56, each deletion as it happens and the report last."""
    if not request.flag("stream") or request.version < (1, 56):
        return reply(await work(lambda _: None))

    async def run(report: Report) -> None:
        report({"aux": await work(lambda id: report({"id": id, "status": "deleted"}))})

    return Response(content=await progress(run, b"\n"), type="application/jsonl")
