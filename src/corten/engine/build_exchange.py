"""The cache of builds as an OCI layout, for other machines: what a build used of it goes out, and comes in by need.

The layout's one manifest has as its configuration the entries of the cache, by their keys, and as its layers what the
steps made. What comes in is a stranger's: each layer is held against its digest, and a step is taken from it only under
the key that the step has here, on top of the layers that it has here.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import json
import tarfile
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator, Sequence

import msgspec

from corten.build.ground import Record
from corten.build.state import Layer
from corten.engine.build_cache import CacheEntry
from corten.engine.build_layers import BuildLayers, Hold
from corten.engine.build_layouts import Layout
from corten.errors import CortenError, DataCorrupt, InvalidInput
from corten.spec import descriptor as descriptors
from corten.spec.descriptor import MAX_MANIFEST, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, Descriptor, Manifest
from corten.spec.digest import Digest
from corten.spec.document import Document

ENTRIES = "application/vnd.corten.build.cache.v1+json"
MODES = ("min", "max")
_MOST_ENTRIES = 64 << 20
"""Bytes of their document."""
_STEP = 1 << 18


class Imported:
    """What caches that a client has given know. Nothing of them is brought before a step wants it."""

    def __init__(self, layouts: Sequence[Layout], layers: BuildLayers) -> None:
        self._layouts, self._layers = layouts, layers
        self._entries: dict[str, tuple[CacheEntry, Layout]] | None = None
        self._reading = asyncio.Lock()
        self.notices: list[str] = []
        """What could not be used, and why."""

    async def find(self, key: str, below: Sequence[Layer], hold: Hold) -> Record | None:
        """What is under a key, its layer here and held; None also where it cannot be had."""
        async with self._reading:
            if self._entries is None:
                self._entries = await self._all()
        found = self._entries.get(key)
        if found is None:
            return None
        entry, layout = found
        if entry.record.layer is None:
            return entry.record
        if entry.below != [layer.diff_id for layer in below]:
            return None
        try:
            await self._layers.bring(hold, below, [entry.record.layer], layout.content)
        except CortenError as error:
            self.notices.append(f"cache: {error.message}")
            return None
        return entry.record

    async def _all(self) -> dict[str, tuple[CacheEntry, Layout]]:
        found: dict[str, tuple[CacheEntry, Layout]] = {}
        for layout in self._layouts:
            try:
                for entry in await _entries(layout):
                    found.setdefault(entry.key, (entry, layout))
            except CortenError as error:
                self.notices.append(f"cache: {error.message}")
        return found


async def _entries(layout: Layout) -> list[CacheEntry]:
    """The entries of a layout. Raises DataCorrupt, NotFound, InvalidInput for one that is none of a cache."""
    one = await layout.entry()
    manifest = Document.parse(await layout.small(one, MAX_MANIFEST), "manifest of a cache")
    config = descriptors.decode_descriptor(manifest.child("config"))
    if config.media_type != ENTRIES:
        raise InvalidInput(f"{layout.told()}: it is no cache of Corten's builds")
    try:
        return msgspec.json.decode(await layout.small(config, _MOST_ENTRIES), type=list[CacheEntry])
    except msgspec.DecodeError as error:
        raise DataCorrupt(f"{layout.told()}: its entries: {error}") from None


def exported(used: Iterable[CacheEntry], final: Sequence[Layer], mode: str) -> list[CacheEntry]:
    """Those of the entries that a build used which are to go out: all, or in mode ``min`` those of the image."""
    ids = [layer.diff_id for layer in final]
    return [entry for entry in used if mode == "max" or _is_part(entry, ids)]


def _is_part(entry: CacheEntry, ids: Sequence[str]) -> bool:
    own = [*entry.below, *([entry.record.layer.diff_id] if entry.record.layer else [])]
    return own == ids[: len(own)]


async def archive(entries: Sequence[CacheEntry], layers: BuildLayers) -> AsyncIterator[bytes]:
    """The archive of a layout with such entries. Raises CortenError."""
    pieces = _archive(entries, layers)
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        yield piece


def _archive(entries: Sequence[CacheEntry], layers: BuildLayers) -> Iterator[bytes]:
    blobs: dict[str, Descriptor] = {}
    for entry in entries:
        if (layer := entry.record.layer) is not None:
            blobs[layer.digest] = Descriptor(layer.media_type or OCI_LAYER, Digest(layer.digest), layer.size)
    for blob in blobs.values():
        yield from _member(_path(blob.digest), blob.size, functools.partial(layers.blob, blob.digest))
    told = msgspec.json.encode(sorted(entries, key=lambda one: one.key))
    config = yield from _small(told, ENTRIES)
    manifest = Manifest(OCI_MANIFEST, config, tuple(blobs.values())).encode()
    top = yield from _small(json.dumps(manifest).encode(), OCI_MANIFEST)
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [top.encode()]}
    for name, value in (("oci-layout", {"imageLayoutVersion": "1.0.0"}), ("index.json", index)):
        yield from _whole(name, json.dumps(value).encode())
    yield bytes(2 * tarfile.BLOCKSIZE)


def _small(content: bytes, media_type: str) -> Generator[bytes, None, Descriptor]:
    digest = Digest(f"sha256:{hashlib.sha256(content).hexdigest()}")
    yield from _whole(_path(digest), content)
    return Descriptor(media_type, digest, len(content))


def _whole(name: str, content: bytes) -> Iterator[bytes]:
    return _member(name, len(content), lambda: iter((content,)))


def _path(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _member(name: str, size: int, chunks: Callable[[], Iterator[bytes]]) -> Iterator[bytes]:
    header = tarfile.TarInfo(name)
    header.size, header.mode = size, 0o644
    yield header.tobuf(tarfile.PAX_FORMAT)
    yield from chunks()
    yield bytes(-size % tarfile.BLOCKSIZE)
