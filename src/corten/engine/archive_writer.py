"""Images written as one tar: an OCI layout that also has ``docker save``'s manifest.json."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import json
import tarfile
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from typing import Any

from corten.engine.image_archive import IMAGE_NAME, REF_NAME, SINCE, SINCE_NAME, blob_path
from corten.engine.outgoing import Outgoing
from corten.errors import NotFound
from corten.spec import platform as platforms
from corten.spec.descriptor import OCI_INDEX, Descriptor
from corten.spec.digest import Digest
from corten.spec.image import Image
from corten.spec.platform import Platform
from corten.spec.reference import Reference
from corten.store import indexes
from corten.store.images import ImageStore
from corten.store.indexes import Package, Part

_EPOCH = 0


@dataclasses.dataclass(frozen=True, slots=True)
class _Part:
    """An image as it is written: the descriptor that its names stand for, and all of it that is here."""

    image: Image
    names: Sequence[Reference]
    top: Descriptor
    shown: Package
    parts: Sequence[Part]


class ArchiveWriter:
    """The archive of some images; ``base`` has the layers that it lacks, ``platform`` is the only one in it."""

    def __init__(self, store: ImageStore, base: Image | None = None, platform: Platform | None = None) -> None:
        self._store, self._base, self._platform = store, base, platform
        self._outgoing = Outgoing(store)

    def plan(self, images: Sequence[tuple[Image, Sequence[Reference]]]) -> list[_Part]:
        """What is to be written. Raises NotFound, also where an image is not there for the platform; DataCorrupt."""
        return [self._part(image, names) for image, names in images]

    def _part(self, image: Image, names: Sequence[Reference]) -> _Part:
        own = self._outgoing.exact(image)
        inside = self._inside(image) if image.index else []
        if self._platform is None:
            top = image.index or image.manifest
            others = [one for one in inside if one.manifest.digest != own.manifest.digest]
            return _Part(image, names, top, own, [own, *others])
        if platforms.choose([image.platform], self._platform) is not None:
            return _Part(image, names, own.manifest, own, [own])
        packages = [one for one in inside if isinstance(one, Package)]
        place = platforms.choose([one.manifest.platform for one in packages], self._platform)
        if place is None:
            shown = names[0].familiar if names else image.id
            raise NotFound(
                f"image with reference {shown} was found but does not provide the specified platform ({self._platform})"
            )
        chosen = packages[place]
        return _Part(image, names, chosen.manifest, chosen, [chosen])

    def _inside(self, image: Image) -> list[Part]:
        assert image.index is not None
        blobs = self._store.blobs
        found = [indexes.part(blobs, entry) for entry in indexes.unfold(blobs, image.index)]
        return [one for one in found if one is not None and not one.missing(blobs)]

    def write(self, parts: Sequence[_Part]) -> Iterator[bytes]:
        """The archive. Blocks; each blob is verified as it is read. Raises DataCorrupt."""
        written = {layer.digest for layer in self._base.layers} if self._base else set()
        for part in parts:
            digests = [] if part.top == part.shown.manifest else [part.top.digest]
            for one in part.parts:
                digests += [one.manifest.digest, *(blob.digest for blob in reversed(one.blobs))]
            for digest in dict.fromkeys(digests):
                if digest not in written:
                    written.add(digest)
                    yield from self._blob(digest, part.image)
        for name, value in self._documents(parts).items():
            content = json.dumps(value).encode()
            yield from _member(name, len(content), functools.partial(_once, content))
        yield bytes(2 * tarfile.BLOCKSIZE)

    def _blob(self, digest: Digest, image: Image) -> Iterator[bytes]:
        blobs = self._store.blobs
        chunks = functools.partial(blobs.chunks, digest)
        return _member(blob_path(digest), blobs.size(digest), chunks, max(0, image.created_unix))

    def _documents(self, parts: Sequence[_Part]) -> dict[str, Any]:
        documents: dict[str, Any] = {"oci-layout": {"imageLayoutVersion": "1.0.0"}, "index.json": self._index(parts)}
        if self._base is None:  # other engines would read what is not whole
            ids = {part.image.id for part in parts}
            documents["manifest.json"] = [_listed(part, ids) for part in parts]
        return documents

    def _index(self, parts: Sequence[_Part]) -> dict[str, Any]:
        entries = [entry for part in parts for entry in _entries(part)]
        index: dict[str, Any] = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
        if self._base is not None:
            called = (self._base.repo_tags or [""])[0]
            index["annotations"] = {SINCE: self._base.id, **({SINCE_NAME: called} if called else {})}
        return index


def _entries(part: _Part) -> Iterator[dict[str, Any]]:
    plain = dataclasses.replace(part.top, annotations=())
    for tag in part.names:
        annotations = ((IMAGE_NAME, str(tag)), (REF_NAME, tag.tag))
        yield dataclasses.replace(plain, annotations=annotations).encode()
    if not part.names:
        yield plain.encode()


def _listed(part: _Part, ids: Collection[str]) -> dict[str, Any]:
    parent = {"Parent": part.image.parent} if part.image.parent in ids else {}
    return {
        "Config": blob_path(part.shown.value.config.digest),
        "RepoTags": [name.familiar for name in part.names] or None,
        "Layers": [blob_path(layer.digest) for layer in part.shown.value.layers],
        **parent,
    }


def _once(content: bytes) -> Iterator[bytes]:
    yield content


def _member(name: str, size: int, chunks: Callable[[], Iterator[bytes]], time: int = _EPOCH) -> Iterator[bytes]:
    """A file of the archive; ``time`` in seconds since the epoch: an image's parts are as old as it is."""
    header = tarfile.TarInfo(name)
    header.size, header.mtime, header.mode = size, time, 0o644
    yield header.tobuf(tarfile.PAX_FORMAT)
    yield from chunks()
    yield bytes(-size % tarfile.BLOCKSIZE)


async def in_threads(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Chunks that take reading from disk, without holding up the event loop."""
    end = object()
    while (chunk := await asyncio.to_thread(next, chunks, end)) is not end:
        yield chunk  # type: ignore[misc]
