"""Indexes of several platforms as blobs of the store: which of what they name is here."""

from __future__ import annotations

import dataclasses

from corten.errors import CortenError, NotFound
from corten.spec import descriptor as descriptors
from corten.spec.descriptor import MAX_MANIFEST, Descriptor, Index, Manifest
from corten.spec.digest import Digest
from corten.store.blobs import BlobStore


@dataclasses.dataclass(frozen=True, slots=True)
class Package:
    """A manifest to the byte, and the blobs that it names: its configuration, and its layers, lowest first."""

    manifest: Descriptor
    content: bytes
    value: Manifest

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """The blobs, the configuration last: who has that has all."""
        return (*self.value.layers, self.value.config)

    def missing(self, blobs: BlobStore) -> list[Descriptor]:
        """Those that are not here."""
        return [blob for blob in self.blobs if not blobs.has(blob.digest)]


def read(blobs: BlobStore, index: Descriptor) -> tuple[bytes, Index]:
    """An index to the byte, and what it says. Raises NotFound, DataCorrupt."""
    content = blobs.read(index.digest, limit=MAX_MANIFEST)
    value = descriptors.decode(content, index.media_type)
    if not isinstance(value, Index):
        raise NotFound(f"index {index.digest}: it is none")
    return content, value


def package(blobs: BlobStore, manifest: Descriptor) -> Package | None:
    """The manifest of an index with what it names; None where it is not here, or is not an image's."""
    try:
        content = blobs.read(manifest.digest, limit=MAX_MANIFEST)
        value = descriptors.decode(content, manifest.media_type)
    except CortenError:
        return None
    return Package(manifest, content, value) if isinstance(value, Manifest) else None


def content(blobs: BlobStore, index: Descriptor) -> set[Digest]:
    """The digests of an index, of the manifests in it that are here, and of what those name."""
    found = {index.digest}
    try:
        _, value = read(blobs, index)
    except CortenError:
        return found
    for entry in value.manifests:
        found.add(entry.digest)
        if inside := package(blobs, entry):
            found |= {blob.digest for blob in inside.blobs}
    return found
