"""The cache of builds: by the key of a step, the layer that it made. Durable, and shared by all builds of an engine."""

from __future__ import annotations

import time
from collections.abc import Container, Iterator, Sequence

import msgspec

from corten.build.ground import Record
from corten.build.state import Layer
from corten.engine.database import Database, Table
from corten.engine.filters import Filters
from corten.engine.timestamps import parse_timestamp
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

    @property
    def short(self) -> str:
        """The short name of its layer; '' for a step that made none."""
        if self.record.layer is None:
            return ""
        chain = digests.chain_ids(map(Digest, [*self.below, self.record.layer.diff_id]))
        return LayerStore.short(chain[-1])


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

    def prunable(self, wanted: Filters, kept_bytes: int, held: Container[str]) -> list[CacheEntry]:
        """Those that pass the filters (id, until) and no build holds, the least recently used first; as many of the
        latest stay as have ``kept_bytes`` together. Raises InvalidInput."""
        before = min((parse_timestamp(text) for text in wanted.get("until") or ()), default=None)
        ids = wanted.get("id") or ()
        kept, found = 0, []
        for entry in sorted(self._entries.values(), key=lambda one: -one.used):
            kept += entry.size
            passes = (before is None or entry.used * 1e9 < before) and (not ids or entry.key in ids)
            if passes and entry.short not in held and (not kept_bytes or kept > kept_bytes):
                found.append(entry)
        return found[::-1]

    def pins(self) -> tuple[set[str], set[Digest]]:
        """The layers (short names) and blobs that the cache needs."""
        layers: set[str] = set()
        blobs: set[Digest] = set()
        for entry in self._entries.values():
            if entry.record.layer is not None:
                layers.add(entry.short)
                blobs.add(Digest(entry.record.layer.digest))
        return layers, blobs
