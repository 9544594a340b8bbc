"""Indexes of several platforms as blobs of the store: which of what they name is here."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator

from corten.errors import CortenError, DataCorrupt, NotFound
from corten.spec import descriptor as descriptors
from corten.spec import nesting
from corten.spec.descriptor import MAX_MANIFEST, Descriptor, Index, Manifest
from corten.spec.digest import Digest
from corten.store.blobs import BlobStore


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """What an index names, to the byte. An index inside it has no blobs of its own."""

    manifest: Descriptor
    content: bytes

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """The blobs that it names and registries have."""
        return ()

    def missing(self, blobs: BlobStore) -> list[Descriptor]:
        """Those that are not here."""
        return [blob for blob in self.blobs if not blobs.has(blob.digest)]


@dataclasses.dataclass(frozen=True, slots=True)
class Package(Part):
    """A manifest: its configuration, and its layers, lowest first."""

    value: Manifest

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """The configuration is the last: who has that has all."""
        return self.value.blobs


def read(blobs: BlobStore, index: Descriptor) -> tuple[bytes, Index]:
    """An index to the byte, and what it says. Raises NotFound, DataCorrupt."""
    content = blobs.read(index.digest, limit=MAX_MANIFEST)
    value = descriptors.decode(content, index.media_type)
    if not isinstance(value, Index):
        raise NotFound(f"index {index.digest}: it is none")
    return content, value


def unfold(blobs: BlobStore, index: Descriptor) -> Iterator[Descriptor]:
    """What an index names, and what those in it name that are here: each of them after that. Raises NotFound,
    DataCorrupt."""

    def look(entry: Descriptor) -> Index | None:
        try:
            return read(blobs, entry)[1]
        except CortenError:
            return None

    return nesting.unfold(read(blobs, index)[1], look)


def part(blobs: BlobStore, entry: Descriptor) -> Part | None:
    """What an index names, an image's or not; None where it is not here, or of a kind that is not known."""
    try:
        content = blobs.read(entry.digest, limit=MAX_MANIFEST)
        value = descriptors.decode_any(content, entry.media_type)
    except CortenError:
        return None
    return Package(entry, content, value) if isinstance(value, Manifest) else Part(entry, content)


def here(blobs: BlobStore, index: Descriptor) -> list[Descriptor]:
    """What is here of what an index names, and those in it."""
    return list(_here(blobs, index))


def _here(blobs: BlobStore, index: Descriptor) -> Iterator[Descriptor]:
    with contextlib.suppress(NotFound, DataCorrupt):  # as far as it can be read: a stranger wrote it
        for entry in unfold(blobs, index):
            if blobs.has(entry.digest):
                yield entry


def content(blobs: BlobStore, index: Descriptor) -> set[Digest]:
    """The digests of an index, of what is here of what it names, and of what those name."""
    found = {index.digest}
    for entry in _here(blobs, index):
        found.add(entry.digest)
        if inside := part(blobs, entry):
            found |= {blob.digest for blob in inside.blobs}
    return found
