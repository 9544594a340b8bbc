"""The store's upkeep: content that comes in is kept until it is an image's, what nobody needs goes, and with a limit
what was not used for long goes, too."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable

from corten.engine.store_limit import StoreLimit
from corten.engine.tenancy import Tenancy
from corten.errors import NotFound
from corten.spec.digest import Digest
from corten.spec.image import Image
from corten.store.images import ImageStore
from corten.store.layers import LayerStore

Needed = tuple[set[str], set[Digest]]
_ABANDONED = 24 * 3600.0
"""Seconds after which what a killed engine left behind is not expected to be gone on with."""


class Upkeep:
    """Of one store. ``evict`` takes an image's names away and forgets it."""

    def __init__(self, store: ImageStore, evict: Callable[[Image], object]) -> None:
        self._store, self._evict = store, evict
        self._tenancy = Tenancy(store.blobs.leases)
        self.in_use: Callable[[], Collection[str]] = tuple
        """The IDs of the images that containers stand on."""
        self.needed: Callable[[], Needed] = lambda: (set(), set())
        """Layers (short names) and blobs that are needed, though no image has them."""
        self._collecting = asyncio.Lock()
        self.limit = 0
        """Bytes that the store is kept under where that can be; 0: any."""

    @contextlib.asynccontextmanager
    async def adding(self, *, whole: bool = False) -> AsyncIterator[list[Image]]:
        """Takes the images that are brought in within the block. Of a ``whole`` that failed nothing is kept; what a
        pull has brought is there for the next one."""
        added: list[Image] = []
        began = time.time()
        try:
            async with self._tenancy.adding():
                yield added
        except BaseException:
            if whole:
                await self._forget_blobs(lambda age: age <= time.time() - began)
            raise
        if self.limit:
            limit = StoreLimit(self._store, self.limit)
            await limit.keep(self._remove, {*self.in_use(), *(image.id for image in added)})

    async def _remove(self, image: Image) -> None:
        self._evict(image)
        await self.collect(self.in_use())

    async def collect(self, used: Iterable[str]) -> int:
        """Delete content that no image and no container needs; the bytes that came free. Layers wait while content is
        brought in."""
        pinned = set()
        for id in used:
            with contextlib.suppress(NotFound):
                pinned |= {LayerStore.short(chain_id) for chain_id in self._store.get(id).chain_ids}

        async def again() -> int:
            return await self.collect(self.in_use())

        async with self._tenancy.collecting(again) as layers_too, self._collecting:
            layers, blobs = self.needed()
            layers_gone, blobs_gone = self._store.garbage(pinned | layers, blobs)
            return await asyncio.to_thread(self._store.collect, layers_gone if layers_too else (), blobs_gone)

    async def settled(self) -> None:
        """Return when what was being collected is gone: what is needed by now stays."""
        async with self._collecting:
            return

    async def settle(self) -> None:
        """Wait for what was postponed and has begun."""
        await self._tenancy.settle()

    async def clear_abandoned(self) -> None:
        """Delete what an engine that was killed brought in, long ago, and never made an image of."""
        await self._forget_blobs(lambda age: age > _ABANDONED)

    async def _forget_blobs(self, going: Callable[[float], bool]) -> None:
        blobs = self._store.blobs
        async with self._collecting:
            garbage = [digest for digest in self._store.garbage((), self.needed()[1])[1] if going(blobs.age(digest))]
            await asyncio.to_thread(self._store.collect, (), garbage)

    # --- what users say and do

    def pin(self, ref: str, pinned: bool) -> Image:
        """Let an image stay when the store is full or pruned, or no longer. Raises NotFound."""
        image = self._store.resolve(ref)
        self._store.attention.pin(image.id, pinned)
        return image

    def pinned(self) -> list[Image]:
        """The images that stay."""
        return [image for image in self._store.images() if self._store.attention.is_pinned(image.id)]

    def used(self, id: str) -> None:
        """A container of the image is created or started."""
        if self.limit and self._store.by_id(id):
            self._store.attention.used(id)
