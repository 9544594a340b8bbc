"""Who brings content in, and who collects garbage: any number of the one, or the other.

Blobs are collected whenever somebody asks, since :mod:`corten.store.leases` keeps those that are in use. Layers are
collected while nobody brings any; what is postponed so is done when the last has gone.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from corten.store.leases import Leases


class Tenancy:
    """The tenants of one store. Belongs to the event loop."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self._tenants = 0
        self._free = asyncio.Event()
        self._free.set()
        self._postponed: Callable[[], Awaitable[object]] | None = None
        self._task: asyncio.Task[None] | None = None

    @contextlib.asynccontextmanager
    async def adding(self) -> AsyncIterator[None]:
        """Content is brought in within the block."""
        while not self._free.is_set():
            await self._free.wait()
        self._tenants += 1
        try:
            with self._leases.hold():
                yield
        finally:
            self._tenants -= 1
            if not self._tenants and self._postponed:
                self._task = asyncio.create_task(self._later(self._postponed))
                self._postponed = None

    async def _later(self, collect: Callable[[], Awaitable[object]]) -> None:
        await collect()

    @contextlib.asynccontextmanager
    async def collecting(self, again: Callable[[], Awaitable[object]]) -> AsyncIterator[bool]:
        """Whether layers may be collected within the block, too; ``again`` is called later where they may not."""
        while not self._free.is_set():
            await self._free.wait()
        if self._tenants:
            self._postponed = again
            yield False
            return
        self._free.clear()
        try:
            yield True
        finally:
            self._free.set()

    async def settle(self) -> None:
        """Wait for what was postponed and has begun."""
        if self._task is not None:
            await self._task
