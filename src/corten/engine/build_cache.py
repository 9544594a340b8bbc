"""The cache of builds: by the key of a step, the layer that it made. Durable, and shared by all builds of an engine."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import msgspec

from corten.build.ground import Record
from corten.build.state import Layer
from corten.engine.database import Database, Table
from corten.spec import digest as digests
from corten.spec.digest import Digest
from corten.store.layers import LayerStore


class CacheEntry(msgspec.Struct, frozen=True):
    """One row: what a step made, on top of which layers, and how often and when it was of use (seconds since 1970)."""

    key: str
    record: Record
    below: list[str] = []
    """Diff IDs."""
    size: int = 0
    made: float = 0.0
    used: float = 0.0
    hits: int = 0


class BuildCache:
    """The cache of one engine. All calls come from the event loop's thread."""

    def __init__(self, database: Database) -> None:
        self._table = Table(database, "build_cache")
        self._entries = {entry.key: entry for entry in self._table.load(CacheEntry)}

    def __iter__(self) -> Iterator[CacheEntry]:
        return iter(tuple(self._entries.values()))

    def find(self, key: str) -> CacheEntry | None:
        """What is remembered under a key."""
        return self._entries.get(key)

    def used(self, entry: CacheEntry) -> None:
        """Note that it was of use, in memory: the table hears of it when the entry is written next."""
        self._entries[entry.key] = msgspec.structs.replace(entry, used=time.time(), hits=entry.hits + 1)

    def keep(self, key: str, record: Record, below: Sequence[Layer], size: int) -> None:
        """Remember what was made; durable before a build ends, since the image's own commit comes after."""
        now = time.time()
        entry = CacheEntry(key, record, [layer.diff_id for layer in below], size, now, now)
        self._table.put(key, entry)
        self._entries[key] = entry

    def forget(self, keys: Sequence[str]) -> None:
        """Remove some."""
        self._table.write(dict.fromkeys(keys))
        for key in keys:
            self._entries.pop(key, None)

    def pins(self) -> tuple[set[str], set[Digest]]:
        """The layers (short names) and blobs that the cache needs."""
        layers: set[str] = set()
        blobs: set[Digest] = set()
        for entry in self._entries.values():
            if entry.record.layer is not None:
                chain = digests.chain_ids(map(Digest, [*entry.below, entry.record.layer.diff_id]))
                layers.add(LayerStore.short(chain[-1]))
                blobs.add(Digest(entry.record.layer.digest))
        return layers, blobs
