"""An image in an OCI layout of the client's (image-spec, image-layout.md): of its files only those come that are
needed, and each is held against its digest.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from corten.build.files import Entry
from corten.build.ground import Files
from corten.build.state import Layer, State, of_image
from corten.engine.build_files import FileSpool
from corten.engine.image_archive import blob_path
from corten.errors import DataCorrupt, InvalidInput, NotFound
from corten.spec import descriptor as descriptors
from corten.spec import digest as digests
from corten.spec import image as image_spec
from corten.spec import nesting
from corten.spec import platform as platforms
from corten.spec.descriptor import INDEXES, MAX_CONFIG, MAX_MANIFEST, OCI_INDEX, Descriptor, Index, Manifest
from corten.spec.platform import Platform

if TYPE_CHECKING:
    from corten.engine.build_ground import BuildGround

_NAME = "org.opencontainers.image.ref.name"
_WHOLE_NAME = "io.containerd.image.name"
_LATEST = "latest"
_STEP = 1 << 18


class Layout:
    """One, and of the images in it that of a place ``DIRECTORY[:TAG][@DIGEST]``."""

    def __init__(self, files: Files, place: str) -> None:
        self._files, self._place = files, place
        _, _, last = place.rpartition("/")
        name, _, self._digest = last.partition("@")
        self._tag = name.partition(":")[2]

    async def state(self, ground: BuildGround) -> State:
        """The state that the image is, its layers here. Raises NotFound, DataCorrupt, InvalidInput."""
        manifest = await self._manifest(ground.platform)
        config = await self.small(manifest.config, MAX_CONFIG)
        document = image_spec.decode(config)
        if len(document.diff_ids) != len(manifest.layers):
            raise DataCorrupt(f"{self.told()}: {len(manifest.layers)} layers, {len(document.diff_ids)} diff IDs")
        layers = tuple(
            Layer(blob.digest, blob.size, blob.media_type, diff_id, document.created)
            for blob, diff_id in zip(manifest.layers, document.diff_ids, strict=True)
        )
        await ground.means.layers.bring(ground.hold, (), layers, self.content)
        return of_image(config, layers, document.platform, "")

    async def index(self) -> Index:
        """The layout's index."""
        value = descriptors.decode(await self._read("index.json", MAX_MANIFEST), OCI_INDEX)
        if not isinstance(value, Index):
            raise DataCorrupt(f"{self.told()}: index.json is not an index")
        return value

    async def _manifest(self, platform: Platform) -> Manifest:
        value: Manifest | Index = await self._top()
        if isinstance(value, Index):
            images = nesting.images(value, await self._look(value))
            chosen = platforms.choose([one.platform for one in images], platform)
            if chosen is None:
                raise NotFound(f"{self.told()}: nothing in it is for {platform}")
            one = images[chosen]
            value = descriptors.decode(await self.small(one, MAX_MANIFEST), one.media_type)
        if isinstance(value, Index):
            raise DataCorrupt(f"{self.told()}: an index is called something else by the one around it")
        return value

    async def _look(self, index: Index) -> nesting.Look:
        """What opens the indexes in one: they are read before. One that the layout lacks is not looked into."""
        opened: dict[str, Index | None] = {}

        def look(entry: Descriptor) -> Index | None:
            return opened.get(entry.digest)

        while wanted := [one for one in nesting.unfold(index, look)
                         if one.media_type in INDEXES and one.digest not in opened]:  # fmt: skip
            for one in wanted:
                opened[one.digest] = await self._inner(one)
        return look

    async def _inner(self, entry: Descriptor) -> Index | None:
        try:
            value = descriptors.decode(await self.small(entry, MAX_MANIFEST), entry.media_type)
        except NotFound:
            return None
        return value if isinstance(value, Index) else None

    async def _top(self) -> Manifest | Index:
        one = await self.entry()
        return descriptors.decode(await self.small(one, MAX_MANIFEST), one.media_type)

    async def entry(self) -> Descriptor:
        """What the place names. Raises NotFound."""
        entries = (await self.index()).manifests
        found = [one for one in entries if self._is_meant(one)]
        if not found and not self._digest and not self._tag and len(entries) == 1:
            found = list(entries)
        if not found:
            raise NotFound(f"{self.told()}: no image of that name is in it")
        return found[0]

    def _is_meant(self, one: Descriptor) -> bool:
        if self._digest:
            return one.digest == self._digest
        tag = self._tag or _LATEST
        return one.annotation(_NAME) == tag or one.annotation(_WHOLE_NAME).endswith(f":{tag}")

    # --- its files

    async def small(self, blob: Descriptor, bound: int) -> bytes:
        """A small blob, verified. Raises NotFound, DataCorrupt."""
        content = await self._read(blob_path(blob.digest), bound)
        hashed = digests.hasher(blob.digest)
        hashed.update(content)
        if not digests.matches(blob.digest, hashed):
            raise DataCorrupt(f"{self.told()}: blob {blob.digest}: digest mismatch")
        return content

    async def content(self, layer: Layer) -> AsyncIterator[bytes]:
        """A layer's blob, not verified. Raises NotFound."""
        entry, spool = await self._located(blob_path(digests.parse(layer.digest)))
        at, end = entry.offset, entry.offset + entry.size
        while at < end and (data := os.pread(spool.descriptor, min(_STEP, end - at), at)):
            yield data
            at += len(data)

    async def _read(self, path: str, bound: int) -> bytes:
        entry, spool = await self._located(path)
        if entry.size > bound:
            raise InvalidInput(f"{self.told()}: {path} has {entry.size} bytes, the limit is {bound}")
        return os.pread(spool.descriptor, entry.size, entry.offset)

    async def _located(self, path: str) -> tuple[Entry, FileSpool]:
        tree, spool = self._files.tree, self._files.spool
        assert isinstance(spool, FileSpool)
        real = tree.resolve(path)
        if real is None or tree.get(real).kind != "file":
            raise NotFound(f"{self.told()}: {path} is not in it")
        return await spool.located(tree.get(real)), spool

    def told(self) -> str:
        """How an error begins."""
        return f"read the layout {self._place}"
