"""What a registry of this engine's images needs to know of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from corten.engine.outgoing import Outgoing
from corten.spec.image import Image
from corten.store import indexes
from corten.store.images import ImageStore


class Offerings:
    """Of one store."""

    def __init__(self, store: ImageStore) -> None:
        self._store = store
        self._outgoing = Outgoing(store)

    async def contents(self, names: Sequence[str]) -> dict[str, Any]:
        """Every image that has a tag, or those of ``names``; with its manifests and blobs. Raises NotFound."""
        chosen = [self._store.resolve(name) for name in names] if names else self._store.images()
        tagged = {image.id: image for image in chosen if image.repo_tags}
        found = await asyncio.to_thread(lambda: [self._one(image) for image in tagged.values()])
        return {"Directory": str(self._store.blobs.directory), "Images": found}

    def _one(self, image: Image) -> dict[str, Any]:
        self._store.manifest(image)  # one of our own is written when somebody asks for it
        manifests, blobs = [image.manifest], {image.id, *(layer.digest for layer in image.layers)}
        if image.index is not None:
            inside = indexes.here(self._store.blobs, image.index)
            manifests += [one for one in inside if one.digest != image.manifest.digest]
            blobs |= indexes.content(self._store.blobs, image.index)
        return {
            "Id": image.id,
            "Names": [str(name) for name in image.references if name.tag],
            "Manifests": [{"mediaType": one.media_type, "digest": one.digest, "size": one.size} for one in manifests],
            "Top": (image.index or image.manifest).encode(),
            "Blobs": sorted(blobs),
            "Packed": self._outgoing.is_packed(image),
        }

    async def whole(self, image: Image) -> Image:
        """An image all of whose layers are here as blobs; what is not kept is made anew. Raises NotFound."""
        if all(self._store.blobs.has(layer.digest) for layer in image.layers):
            return image
        return await self.pack(image.id)

    async def pack(self, ref: str) -> Image:
        """Make what is missing for an image to be sent. Raises NotFound, CortenError."""
        image = self._store.resolve(ref)
        known = self._outgoing.compressed()
        package = await asyncio.to_thread(self._outgoing.packed, image, known, lambda _: None)
        if package.manifest.digest == image.manifest.digest:
            return image
        return self._store.repack(image.id, package.manifest, package.value.layers)
