"""What leaves the store: an image's manifest and blobs as others take them, exact where they came from elsewhere."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping

from corten.engine.ingest import Report, progress_of
from corten.errors import NotFound
from corten.spec import descriptor as descriptors
from corten.spec import digest as digests
from corten.spec.descriptor import OCI_LAYER, Descriptor, Manifest
from corten.spec.digest import Digest
from corten.spec.image import Image
from corten.store import packing
from corten.store.images import ImageStore
from corten.store.indexes import Package

_PACKED = f"{OCI_LAYER}+gzip"


class Outgoing:
    """The packages of one store's images."""

    def __init__(self, store: ImageStore) -> None:
        self._store = store

    def compressed(self) -> Mapping[Digest, Descriptor]:
        """The compressed layers that are here, by diff ID."""
        return {
            diff_id: layer
            for image in self._store.images()
            for diff_id, layer in zip(image.diff_ids, image.layers, strict=True)
            if layer.media_type == _PACKED
        }

    def exact(self, image: Image) -> Package:
        """An image as it is here. Raises NotFound, DataCorrupt."""
        content = self._store.manifest(image)
        value = descriptors.decode(content, image.manifest.media_type)
        if not isinstance(value, Manifest):
            raise NotFound(f"manifest {image.manifest.digest}: not an image's")
        return Package(image.manifest, content, value)

    def packed(self, image: Image, known: Mapping[Digest, Descriptor], report: Report) -> Package:
        """An image with every layer compressed that a manifest of our own names; ``known`` are layers that are so
        already. Blocks; call it in a thread. Raises NotFound, DataCorrupt, CortenError."""
        package = self.exact(image)
        if not image.own_manifest or all(layer.media_type != OCI_LAYER for layer in package.value.layers):
            return package
        layers = tuple(
            self._packed(layer, known.get(diff_id), report) if layer.media_type == OCI_LAYER else layer
            for diff_id, layer in zip(image.diff_ids, package.value.layers, strict=True)
        )
        value = dataclasses.replace(package.value, layers=layers)
        content = json.dumps(value.encode()).encode()
        digest = self._store.blobs.put(content)
        return Package(Descriptor(value.media_type, digest, len(content)), content, value)

    def _packed(self, layer: Descriptor, known: Descriptor | None, report: Report) -> Descriptor:
        if known is not None and self._store.blobs.has(known.digest):
            return known
        progress = progress_of(layer, "Compressing", report, None)
        name = digests.short(layer.digest)
        with self._store.blobs.open(layer.digest) as file, self._store.blobs.writer() as writer:
            for chunk in packing.gzipped(file):
                writer.write(chunk)
                progress(file.tell())
            made = Descriptor(_PACKED, writer.commit(), writer.written)
        report({"status": f"Compressed anew as {digests.short(made.digest)}", "progressDetail": {}, "id": name})
        return made
