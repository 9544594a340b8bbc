"""A client's end of a container's or an exec's stdio."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Protocol

from corten.engine.detach_keys import DetachKeys


@dataclasses.dataclass(frozen=True, slots=True)
class AttachOptions:
    """What a client wants of a container's stdio; ``detach_keys`` in Docker's form, '' is its default."""

    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    logs: bool = False
    """What was written before, first."""
    stream: bool = True
    """What is written from now on."""
    detach_keys: str = ""


class Stdin(Protocol):
    """The writable end of a stdin."""

    async def write(self, data: bytes) -> None:
        """Write all of it; returns when the pipe has taken it (back-pressure)."""

    async def close(self) -> None:
        """The client will send no more."""


class Attachment:
    """Stdio, seen from a client::

        async with await containers.attach(ref, options) as attachment:
            async for stream, data in attachment:      # stream 1 or 2; a terminal has only 1
                ...
            await attachment.write_stdin(b"…")         # from another task
            await attachment.close_stdin()

    The iteration ends when the process ends, the client typed the detach keys, or the client goes.
    """

    def __init__(
        self,
        output: AsyncIterator[tuple[int, bytes]],
        *,
        tty: bool,
        stdin: Stdin | None = None,
        detach_keys: bytes = b"",
        detached: Callable[[], None] = lambda: None,
    ) -> None:
        self.tty = tty
        self._output = output
        self._stdin = stdin
        self._keys = DetachKeys(detach_keys) if detach_keys and stdin is not None else None
        self._detached = detached
        self._left: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def __aiter__(self) -> AsyncIterator[tuple[int, bytes]]:
        while not self._left.done():
            # Not asyncio.wait_for: what was read when the client detaches is not to be lost halfway.
            following = asyncio.ensure_future(_next(self._output))
            try:
                await asyncio.wait((following, self._left), return_when=asyncio.FIRST_COMPLETED)
                if not following.done():
                    return
                item = following.result()
            finally:
                if not following.done():  # a generator cannot be closed while somebody waits in it
                    following.cancel()
                    await asyncio.gather(following, return_exceptions=True)
            if item is None:
                return
            yield item

    async def write_stdin(self, data: bytes) -> None:
        """Give the process input; without an open stdin the bytes go nowhere, as with Docker."""
        if self._stdin is None or self._left.done():
            return
        typed_keys = False
        if self._keys is not None:
            data, typed_keys = self._keys.feed(data)
        if data:
            await self._stdin.write(data)
        if typed_keys and not self._left.done():
            self._left.set_result(None)
            self._detached()

    async def close_stdin(self) -> None:
        """The client will send no more: end of file for a process whose stdin is this client's alone."""
        if self._stdin is not None and not self._left.done():
            await self._stdin.close()

    async def close(self) -> None:
        """Let go: the process goes on."""
        if not self._left.done():
            self._left.set_result(None)
        close: Callable[[], Awaitable[None]] | None = getattr(self._output, "aclose", None)
        if close is not None:
            await close()

    async def __aenter__(self) -> Attachment:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


async def _next(output: AsyncIterator[tuple[int, bytes]]) -> tuple[int, bytes] | None:
    async for item in output:
        return item
    return None
