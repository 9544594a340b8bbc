"""SSH agents of a build's client, as sockets that a command of the build, or git, may connect to.

Nothing of an agent is here: each connection is a channel to the client, which asks its agent. A socket is there for as
long as one step needs it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from corten.errors import CortenError, NotFound
from corten.wire import building

DEFAULT = "default"
_PIECE = 1 << 16
_MOST_CHANNELS = 256
_MOST_WAITING = 64
"""Pieces of an answer: an agent answers once it was asked."""


class AgentChannels:
    """The channels of one client. ``ids`` are the agents that it has announced."""

    def __init__(self, write: Callable[[bytes], Awaitable[None]]) -> None:
        self._write = write
        self.ids: set[str] = set()
        self._channels: dict[int, asyncio.Queue[bytes]] = {}
        self._next = 0

    def receive(self, payload: bytes) -> None:
        """What the client sends of an agent; for a channel that is gone already it is dropped."""
        number = int.from_bytes(payload[: building.CHANNEL], "big")
        channel = self._channels.get(number)
        if channel is not None:
            with contextlib.suppress(asyncio.QueueFull):  # it was not asked that much
                channel.put_nowait(payload[building.CHANNEL :])

    @contextlib.asynccontextmanager
    async def socket(
        self, id: str, where: Path, mode: int = 0o600, owner: tuple[int, int] = (0, 0)
    ) -> AsyncIterator[Path]:
        """A socket in a new directory below ``where``, which speaks with the agent of that id until the block is left.
        Raises NotFound, CortenError."""
        if id not in self.ids:
            raise NotFound(f"ssh {id}: no agent was given", hint=f"give it with --ssh {id}")
        with contextlib.ExitStack() as stack:
            path, listening = _listening(stack, where, mode, owner)
            served: set[asyncio.Task[None]] = set()

            async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                task = asyncio.current_task()
                assert task is not None
                served.add(task)
                try:
                    await self._serve(id, reader, writer)
                finally:
                    served.discard(task)
                    writer.close()

            server = await asyncio.start_unix_server(serve, sock=listening)
            try:
                yield path
            finally:
                server.close()
                for task in served:
                    task.cancel()
                await asyncio.gather(*served, return_exceptions=True)

    async def _serve(self, id: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection. When either side is through, both are."""
        if len(self._channels) >= _MOST_CHANNELS:
            return
        self._next += 1
        number, answers = self._next.to_bytes(building.CHANNEL, "big"), asyncio.Queue[bytes](_MOST_WAITING)
        self._channels[self._next] = answers
        opened = self._next
        try:
            await self._write(building.frame(building.OPEN, number + id.encode()))
            asking = asyncio.ensure_future(self._ask(number, reader))
            answering = asyncio.ensure_future(_answer(answers, writer))
            try:
                await asyncio.wait((asking, answering), return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (asking, answering):
                    task.cancel()
                await asyncio.gather(asking, answering, return_exceptions=True)
            await self._write(building.frame(building.DATA, number))
        except ConnectionError:  # the client is gone: so is the build
            return
        finally:
            del self._channels[opened]

    async def _ask(self, number: bytes, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(_PIECE):
            await self._write(building.frame(building.DATA, number + data))


async def _answer(answers: asyncio.Queue[bytes], writer: asyncio.StreamWriter) -> None:
    while data := await answers.get():
        writer.write(data)
        await writer.drain()


def _listening(
    stack: contextlib.ExitStack, where: Path, mode: int, owner: tuple[int, int]
) -> tuple[Path, socket.socket]:
    """A socket that listens, and its path, which the stack removes."""
    try:
        where.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=where, prefix="agent-")))
        listening = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK))
        parent = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        stack.callback(os.close, parent)
        listening.bind(f"/proc/self/fd/{parent}/agent")  # sun_path has 108 bytes, unix(7)
        path = directory / "agent"
        path.chmod(mode)
        if owner != (0, 0):
            os.chown(path, *owner)
        listening.listen()
    except OSError as error:
        raise CortenError.from_os("make", f"an agent's socket in {where}", error) from error
    return path, listening
