"""A spawner of workers alone, with all imported that they need: for as long as somebody has many works to do."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from corten.engine.channel import Channel, Message
from corten.engine.spawning import Spawner


class Workshop(Spawner):
    """Asked as a spawner is, within :meth:`open`. It is the spawner's fork."""

    def __init__(self, above: Spawner) -> None:
        super().__init__(Path("/"))
        self._above = above
        self._users = 0
        self._opening = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Within the block it may be asked, and is there from the first time on."""
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                self.stop()

    async def request(self, message: Message, descriptors: Sequence[int] = ()) -> Message:
        """As a spawner's. Raises Unavailable."""
        async with self._opening:
            if self._channel is None:
                await self._begin()
        return await super().request(message, descriptors)

    async def _begin(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                await self._above.request({"do": "workshop"}, [theirs.fileno()])
            except BaseException:
                ours.close()
                raise
        self._channel = Channel(ours, self._heard, self._died)

    def _died(self) -> None:
        """What was asked of it fails; the next who opens it has another."""
        self._channel = None
        self._fail_all()
