"""What leaves the store: an image's manifest and blobs as others take them, exact where they came from elsewhere."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Generator, Iterator, Mapping

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
        """An image with every layer compressed that a manifest of our own names, and those made anew whose blob is not
        kept; ``known`` are layers that are so already. Blocks; call it in a thread. Raises NotFound, DataCorrupt,
        CortenError."""
        package = self.exact(image)
        if self.is_packed(image):
            return package
        layers = tuple(
            self._packed(layer, chain_id, known.get(diff_id), report) if self._is_to_pack(image, layer) else layer
            for chain_id, diff_id, layer in zip(image.chain_ids, image.diff_ids, package.value.layers, strict=True)
        )
        if layers == package.value.layers:
            return package
        value = dataclasses.replace(package.value, layers=layers)
        content = json.dumps(value.encode()).encode()
        digest = self._store.blobs.put(content)
        return Package(Descriptor(value.media_type, digest, len(content)), content, value)

    def is_packed(self, image: Image) -> bool:
        """Whether an image can be sent as it is."""
        return not any(self._is_to_pack(image, layer) for layer in image.layers)

    def _is_to_pack(self, image: Image, layer: Descriptor) -> bool:
        return (image.own_manifest and layer.media_type == OCI_LAYER) or not self._store.blobs.has(layer.digest)

    def _packed(self, layer: Descriptor, chain_id: Digest, known: Descriptor | None, report: Report) -> Descriptor:
        if known is not None and self._store.blobs.has(known.digest):
            return known
        progress = progress_of(layer, "Compressing", report, None)
        name = digests.short(layer.digest)
        with contextlib.closing(self._plain(layer, chain_id)) as content, self._store.blobs.writer() as writer:
            read = 0
            for chunk in packing.gzipped(content):
                writer.write(chunk)
                if content.done - read > 0:
                    read = content.done
                    progress(read)
            made = Descriptor(_PACKED, writer.commit(), writer.written)
        report({"status": f"Compressed anew as {digests.short(made.digest)}", "progressDetail": {}, "id": name})
        return made

    def _plain(self, layer: Descriptor, chain_id: Digest) -> _Chunks:
        """A layer's archive, uncompressed. Raises NotFound, DataCorrupt."""
        if self._store.blobs.has(layer.digest):
            return _Chunks(self._store.blobs.chunks(layer.digest))
        archive = self._store.archive(chain_id)
        if archive is None:
            raise NotFound(
                f"layer {digests.short(layer.digest)}: neither its blob nor its archive is kept",
                hint="pull the image again",
            )
        return _Chunks(archive)


class _Chunks:
    """Chunks that can be read as they come, and how many bytes that were."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self.done = 0

    def read(self, size: int, /) -> bytes:
        """The next chunk, whatever its size."""
        del size
        chunk = next(self._chunks, b"")
        self.done += len(chunk)
        return chunk

    def close(self) -> None:
        """Let go of the file below."""
        if isinstance(self._chunks, Generator):
            self._chunks.close()
