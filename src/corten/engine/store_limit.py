"""Keeping the store under a size: images that were used longest ago go first. Off unless asked for.

An image that a container stands on, that is pinned, or that another was made from stays, and so the store may be larger
than its limit. Used is an image when it comes, is tagged, or a container of it is created or started.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Awaitable, Callable, Collection

from corten.spec.image import Image
from corten.store.images import ImageStore

_log = logging.getLogger("corten")


@dataclasses.dataclass(frozen=True, slots=True)
class StoreLimit:
    """The limit of one store, in bytes."""

    store: ImageStore
    limit: int

    async def keep(self, remove: Callable[[Image], Awaitable[object]], kept: Collection[str]) -> None:
        """Remove images until the store is under its limit, or nothing can go; never those ``kept``, by their IDs."""
        while await asyncio.to_thread(self.store.size) > self.limit:
            going = self._oldest(kept)
            if going is None:
                _log.info("store limit: nothing is left that can go")
                return
            _log.info("store limit: removing %s", ", ".join(going.repo_tags) or going.id)
            await remove(going)

    def _oldest(self, kept: Collection[str]) -> Image | None:
        store, attention = self.store, self.store.attention
        free = [
            image for image in store.images()
            if image.id not in kept and not attention.is_pinned(image.id) and not store.children(image.id)
        ]  # fmt: skip
        return min(free, key=lambda image: attention.last_used(image.id), default=None)
