"""What the cache of builds needs of the store, for an engine that has not built yet: without the builder, which is a
tenth of a second and eight megabytes."""

from __future__ import annotations

import msgspec

from corten.engine.database import Database, Table
from corten.spec import digest as digests
from corten.spec.digest import Digest
from corten.store.layers import LayerStore


class _Layer(msgspec.Struct):
    digest: str
    diff_id: str


class _Record(msgspec.Struct):
    layer: _Layer | None


class _Entry(msgspec.Struct):
    """Of a :class:`corten.engine.build_cache.CacheEntry`, what is asked for here."""

    record: _Record
    below: list[str] = []


class BuildPins:
    """Reads the table of the cache."""

    def __init__(self, database: Database) -> None:
        self._table = Table(database, "build_cache")

    def pins(self) -> tuple[set[str], set[Digest]]:
        """The layers (short names) and blobs that the cache needs, as its ``pins`` tells."""
        layers: set[str] = set()
        blobs: set[Digest] = set()
        for entry in self._table.load(_Entry):
            layer = entry.record.layer
            if layer is not None:
                chain = digests.chain_ids(map(Digest, [*entry.below, layer.diff_id]))
                layers.add(LayerStore.short(chain[-1]))
                blobs.add(Digest(layer.digest))
        return layers, blobs
