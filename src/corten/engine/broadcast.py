"""Output that no log keeps: read by the engine, given to the clients that are there at the moment."""

from __future__ import annotations

import asyncio
import collections
from collections.abc import AsyncIterator

from corten.engine.monitors import Monitor
from corten.engine.pipes import PipeReader
from corten.errors import Unavailable

_BACKLOG = 1 << 20
"""Bytes that one client may lag."""


class Reader:
    """One client's queue."""

    def __init__(self) -> None:
        self.chunks: collections.deque[tuple[int, bytes]] = collections.deque()
        self.size = 0
        self.over = False
        self.too_slow = False


class Broadcast:
    """The output of one process, for its clients.

    A sole client has the pipe's own back-pressure: while it lags, nothing is read. Of several, one that lags by more
    than a megabyte is disconnected with an error. Without clients the monitor reads and drops.
    """

    def __init__(self) -> None:
        self._monitor: Monitor | None = None
        self._readers: list[Reader] = []
        self._changed = asyncio.Condition()
        self._pumps: list[asyncio.Task[None]] = []

    @property
    def is_wanted(self) -> bool:
        """Whether there is a client."""
        return bool(self._readers)

    def begin(self, monitor: Monitor) -> None:
        """A process begins; clients may be waiting already."""
        self._monitor = monitor
        if self._readers:
            self._take(monitor)

    def join(self) -> AsyncIterator[tuple[int, bytes]]:
        """Another client; it gets what is written from now on, to the end of this process, or of the next."""
        reader = Reader()
        self._readers.append(reader)
        if self._monitor is not None and not self._pumps:
            self._take(self._monitor)
        return self._read(reader)

    def _take(self, monitor: Monitor) -> None:
        monitor.take_output()
        self._pumps = [asyncio.create_task(self._pump(*output)) for output in monitor.outputs()]

    async def _read(self, reader: Reader) -> AsyncIterator[tuple[int, bytes]]:
        try:
            while True:
                async with self._changed:
                    await self._changed.wait_for(lambda: reader.chunks or reader.over)
                    if not reader.chunks:
                        break
                    stream, data = reader.chunks.popleft()
                    reader.size -= len(data)
                    self._changed.notify_all()
                yield stream, data
            if reader.too_slow:
                raise Unavailable("attach: this client reads slower than another one, and there is no log to wait in")
        finally:
            self._leave(reader)

    def _leave(self, reader: Reader) -> None:
        if reader in self._readers:
            self._readers.remove(reader)
        if not self._readers and self._pumps and self._monitor is not None:
            for pump in self._pumps:
                pump.cancel()
            self._pumps = []
            self._monitor.give_output()

    async def _pump(self, stream: int, pipe: PipeReader) -> None:
        while data := await pipe.read():
            async with self._changed:
                self._hand(stream, data)
                self._changed.notify_all()
                await self._changed.wait_for(self._may_read)

    def _hand(self, stream: int, data: bytes) -> None:
        for reader in self._readers:
            if not reader.over:
                reader.chunks.append((stream, data))
                reader.size += len(data)

    def _may_read(self) -> bool:
        """Whether there is room; of several clients, the slow ones are let go to make some."""
        active = [reader for reader in self._readers if not reader.over]
        for reader in active if len(active) > 1 else ():
            if reader.size > _BACKLOG:
                reader.over = reader.too_slow = True
                reader.chunks.clear()
                reader.size = 0
        return all(reader.size <= _BACKLOG for reader in self._readers)

    async def finish(self) -> None:
        """The process has ended: read what the pipes hold, then let the clients go.

        Not until the end of the pipes: what an exec left in the background may hold them for ever, and everything
        that the process itself wrote is there by now.
        """
        monitor, self._monitor = self._monitor, None
        pumps, self._pumps = self._pumps, []
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        if pumps and monitor is not None:
            for stream, pipe in monitor.outputs():
                await self._drain(stream, pipe)
        async with self._changed:
            for reader in self._readers:
                reader.over = True
            self._readers = []
            self._changed.notify_all()

    async def _drain(self, stream: int, pipe: PipeReader) -> None:
        while self._readers and (data := pipe.read_now()):
            async with self._changed:
                self._hand(stream, data)
                self._changed.notify_all()
                await self._changed.wait_for(self._may_read)
