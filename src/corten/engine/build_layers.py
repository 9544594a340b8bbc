"""The layers that builds make: made once, as a blob and as files, and held until an image or the cache has them."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import hashlib
import json
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from corten.build.copying import Rows
from corten.build.files import Entry
from corten.build.indexing import carried
from corten.build.state import Layer
from corten.engine.archives import Archives
from corten.engine.build_files import FileSpool
from corten.engine.images import Images
from corten.engine.ingest import Ingest
from corten.engine.model import Container
from corten.errors import CortenError, NotFound
from corten.spec import digest as digests
from corten.spec.descriptor import OCI_LAYER, Descriptor
from corten.spec.digest import Digest
from corten.spec.image import Image
from corten.store import layers as stored
from corten.store.images import ImageStore
from corten.store.layers import LayerStore
from corten.store.unpack import Result

_NOTHING = "sha256:" + hashlib.sha256(bytes(10240)).hexdigest()
"""The digest of an archive without a member."""


class BuildLayers:
    """Those of one engine."""

    def __init__(self, store: ImageStore, images: Images, archives: Archives, staging: Path) -> None:
        self._store, self._images, self._archives, self._staging = store, images, archives, staging
        self._ingest = Ingest(store)
        self._layers: collections.Counter[str] = collections.Counter()
        self._blobs: collections.Counter[Digest] = collections.Counter()
        self._unpacking: dict[str, asyncio.Lock] = {}

    def pins(self) -> tuple[set[str], set[Digest]]:
        """The layers (short names) and blobs that builds hold."""
        return set(self._layers), set(self._blobs)

    def of_images(self) -> set[str]:
        """The short names of the layers that images have."""
        return {LayerStore.short(one) for image in self._store.images() for one in image.chain_ids}

    @contextlib.contextmanager
    def holding(self) -> Iterator[Hold]:
        """What one build holds, until it ends."""
        hold = Hold()
        try:
            yield hold
        finally:
            self._layers.subtract(hold.layers)
            self._blobs.subtract(hold.blobs)
            self._layers, self._blobs = +self._layers, +self._blobs

    async def hold(self, hold: Hold, layers: Sequence[Layer]) -> None:
        """Nobody collects these from now on: what is being collected is gone when this returns."""
        chain = digests.chain_ids(Digest(layer.diff_id) for layer in layers)
        shorts = {LayerStore.short(one) for one in chain} - hold.layers
        blobs = {Digest(layer.digest) for layer in layers} - hold.blobs
        self._layers.update(shorts)
        self._blobs.update(blobs)
        hold.layers |= shorts
        hold.blobs |= blobs
        if shorts or blobs:
            await self._images.upkeep.settled()

    def of_image(self, image: Image) -> tuple[Layer, ...]:
        """The layers of an image that is here."""
        return tuple(
            Layer(blob.digest, blob.size, blob.media_type, diff_id, image.created)
            for blob, diff_id in zip(image.layers, image.diff_ids, strict=True)
        )

    # --- made

    async def composed(self, hold: Hold, below: Sequence[Layer], rows: Rows, spools: Sequence[FileSpool]) -> Layer:
        """A layer of entries whose content is in spools, on top of others."""
        listed = FileSpool(self._staging)
        try:
            content = json.dumps([row_of(path, entry) for path, entry in rows]).encode()
            await asyncio.to_thread(os.pwrite, listed.descriptor, content, 0)
            with self._making(below) as making:
                descriptors = [making.descriptor, listed.descriptor, *(spool.descriptor for spool in spools)]
                async with self._archives.outside("compose", making.asked, descriptors) as worker:
                    found = await worker.report()
                return await self._publish(hold, below, making, found)
        finally:
            listed.close()

    async def changed(
        self, hold: Hold, below: Sequence[Layer], container: Container, epoch: int | None, places: Sequence[str]
    ) -> Layer | None:
        """A layer of what a container changed, on top of those that it stands on; None if that is nothing. No file is
        newer than ``epoch``, in seconds since 1970; what was made to mount on at ``places`` is not in it."""
        with self._making(below) as making:
            args = {**making.asked, "epoch": epoch, "places": list(places)}
            found = await self._archives.changed(container, args, [making.descriptor])
            if found["digest"] == _NOTHING:
                return None
            return await self._publish(hold, below, making, found)

    @contextlib.contextmanager
    def _making(self, below: Sequence[Layer]) -> Iterator[_Making]:
        with self._staged() as (path, descriptor), self._store.layers.made(lowest=not below) as made:
            yield _Making(path, descriptor, made)

    async def _publish(
        self, hold: Hold, below: Sequence[Layer], making: _Making, found: Mapping[str, Any]
    ) -> Layer:
        digest, size = Digest(found["digest"]), int(found["size"])
        layer = Layer(digest, size, OCI_LAYER, digest)
        await self.hold(hold, [*below, layer])
        chain = digests.chain_ids(Digest(one.diff_id) for one in [*below, layer])
        implied = tuple((path, place) for path, place in found["implied"])
        result = Result(digest, size, found["files"], found["disowned"], implied)
        await asyncio.to_thread(self._named, making, result, chain)
        hold.present.update(chain)
        return layer

    def _named(self, making: _Making, result: Result, chain: Sequence[Digest]) -> None:
        """Let its archive be a blob, and itself a layer."""
        if not self._store.blobs.has(result.diff_id):
            self._store.blobs.publish(making.archive, result.diff_id)
        if not self._store.layers.has(chain[-1]):
            making.made.publish(result, self._store.layers.record(chain[-2]) if len(chain) > 1 else None)

    async def present(self, hold: Hold, layers: Sequence[Layer]) -> bool:
        """Whether layers are all here, held from now on and unpacked one on top of the other."""
        chain = digests.chain_ids(Digest(layer.diff_id) for layer in layers)
        if not chain or chain[-1] in hold.present:
            return True
        await self.hold(hold, layers)
        known = len([one for one in chain if one in hold.present])
        new = zip(chain[known:], layers[known:], strict=True)
        missing = [layer for one, layer in new if not self._store.layers.has(one)]
        if not all(self._store.blobs.has(Digest(layer.digest)) for layer in missing):
            return False
        if missing:
            await self.unpacked(layers)
        hold.present.update(chain)
        return True

    async def bring(
        self, hold: Hold, below: Sequence[Layer], layers: Sequence[Layer],
        content: Callable[[Layer], AsyncIterator[bytes]],
    ) -> None:  # fmt: skip
        """Have layers here, on top of others, whose blobs a stranger gives; they are held from now on. Raises
        DataCorrupt, CortenError."""
        await self.hold(hold, [*below, *layers])
        for layer in layers:
            digest = Digest(layer.digest)
            if self._store.blobs.has(digest):
                continue
            with self._store.blobs.writer(digest, layer.size) as writer:
                async for chunk in content(layer):
                    writer.write(chunk)
                await asyncio.to_thread(writer.commit)
        if not await self.present(hold, [*below, *layers]):
            raise NotFound("build: a layer that was brought is gone")

    def blob(self, digest: str) -> Iterator[bytes]:
        """The blob of a layer that is held. Raises NotFound, DataCorrupt."""
        return self._store.blobs.chunks(Digest(digest))

    async def unpacked(self, layers: Sequence[Layer]) -> None:
        """Unpack those that are not. Raises DataCorrupt, CortenError."""
        chain = digests.chain_ids(Digest(layer.diff_id) for layer in layers)
        parent: stored.Layer | None = None
        for chain_id, layer in zip(chain, layers, strict=True):
            try:
                parent = self._store.layers.record(chain_id)
            except NotFound:
                async with self._unpacking.setdefault(chain_id, asyncio.Lock()):
                    blob = Descriptor(layer.media_type, Digest(layer.digest), layer.size)
                    parent = await asyncio.to_thread(
                        self._ingest.layer, blob, Digest(layer.diff_id), parent, lambda _: None
                    )
                self._unpacking.pop(chain_id, None)

    def size(self, layers: Sequence[Layer]) -> int:
        """Bytes of the files of the highest."""
        chain = digests.chain_ids(Digest(layer.diff_id) for layer in layers)
        return self._store.layers.record(chain[-1]).size if chain else 0

    @contextlib.contextmanager
    def _staged(self) -> Iterator[tuple[Path, int]]:
        """A file that may become a blob."""
        try:
            descriptor, name = tempfile.mkstemp(dir=self._staging, prefix="built-")
            os.fchmod(descriptor, 0o444)
        except OSError as error:
            raise CortenError.from_os("create", f"a file in {self._staging}", error) from error
        try:
            yield Path(name), descriptor
        finally:
            os.close(descriptor)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)


@dataclasses.dataclass(frozen=True, slots=True)
class _Making:
    """A layer that is being made: where its archive goes, and the rest of it."""

    archive: Path
    descriptor: int
    made: stored.Made

    @property
    def asked(self) -> dict[str, Any]:
        """What a worker is asked for."""
        return {"layer": dataclasses.asdict(self.made.request)}


class Hold:
    """What one build holds: layers by their short names, blobs."""

    def __init__(self) -> None:
        self.layers: set[str] = set()
        self.blobs: set[Digest] = set()
        self.present: set[str] = set()
        """Chain IDs of layers that were found here."""


def row_of(path: str, entry: Entry) -> tuple[str, list[object]]:
    """A row as a worker reads it."""
    row: list[object] = list(msgspec.structs.astuple(entry))
    row[8] = carried(entry.link)
    return carried(path), row

