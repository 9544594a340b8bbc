"""A client's end of a container's or an exec's stdio."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Protocol

STDIN, STDOUT, STDERR = 0, 1, 2


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
    """The writable end of a container's stdin."""

    async def write(self, data: bytes) -> None:
        """Write all of it; returns when the pipe has taken it (back-pressure)."""

    async def close(self) -> None:
        """End of file for the container."""


class Attachment:
    """Stdio, seen from a client::

        async with await containers.attach(ref, options) as attachment:
            async for stream, data in attachment:      # stream 1 or 2; a terminal has only 1
                ...
            await attachment.write_stdin(b"…")         # from another task
            await attachment.close_stdin()

    The iteration ends when the container ends, the client typed the detach keys, or :meth:`close` was called.
    """

    def __init__(
        self,
        output: AsyncIterator[tuple[int, bytes]],
        *,
        tty: bool,
        stdin: Stdin | None = None,
        closed: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.tty = tty
        self._output = output
        self._stdin = stdin
        self._closed = closed

    def __aiter__(self) -> AsyncIterator[tuple[int, bytes]]:
        return self._output

    async def write_stdin(self, data: bytes) -> None:
        """Give the container input; without an open stdin the bytes go nowhere, as with Docker."""
        if self._stdin is not None:
            await self._stdin.write(data)

    async def close_stdin(self) -> None:
        """The client will send no more: end of file for a container whose stdin is this client's alone."""
        if self._stdin is not None:
            await self._stdin.close()

    async def close(self) -> None:
        """Let go: the container goes on."""
        closed, self._closed = self._closed, None
        if closed is not None:
            await closed()

    async def __aenter__(self) -> Attachment:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
