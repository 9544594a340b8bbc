"""What was pushed goes to the engine: as an archive that has only the blobs which the engine lacks."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from corten.client import Client
from corten.errors import CortenError, DataCorrupt, Unsupported
from corten.hub.storage import Storage
from corten.spec import descriptor as descriptors
from corten.spec import digest as digests
from corten.spec import nesting
from corten.spec.descriptor import OCI_INDEX, Descriptor, Index
from corten.spec.digest import Digest
from corten.spec.reference import Reference

_CHUNK = 1 << 18


class Delivery:
    """To one engine, from one storage. ``has`` tells whether the engine has a blob."""

    def __init__(self, connect: Callable[[], Client], storage: Storage, has: Callable[[Digest], bool]) -> None:
        self._connect, self._storage, self._has = connect, storage, has

    def deliver(self, repository: str, digest: Digest, media_type: str, name: Reference) -> str:
        """Give the engine an image under a name; why it did not take it, '' when it did, and has it alone now."""
        try:
            top, manifests = self._manifests(digest, media_type)
            with self._connect() as client:
                body = self._archive(top, manifests, name)
                headers = {"Content-Type": "application/x-tar"}
                with client.open("POST", "/images/load", {"quiet": True}, body=body, headers=headers) as answer:
                    for document in answer.documents():
                        if "error" in document:
                            return str(document["error"])
        except (CortenError, OSError) as error:
            return str(error)
        self._storage.release(repository, {one.digest for one in manifests}, name.tag)
        return ""

    def _manifests(self, digest: Digest, media_type: str) -> tuple[Descriptor, Sequence[Descriptor]]:
        """What is named, and all manifests of it that are here. Raises CortenError where the engine runs none of it."""
        content = self._storage.path(digest).read_bytes()
        value = descriptors.decode(content, media_type)
        top = Descriptor(value.media_type, digest, len(content))
        inside = nesting.unfold(value, self._index) if isinstance(value, Index) else ()
        return top, [top, *(one for one in inside if self._storage.has(one.digest))]

    def _index(self, entry: Descriptor) -> Index | None:
        """An index that another one names; None where the engine has it already."""
        if not self._storage.has(entry.digest):
            return None
        value = descriptors.decode(self._storage.path(entry.digest).read_bytes(), entry.media_type)
        return value if isinstance(value, Index) else None

    def _archive(self, top: Descriptor, manifests: Sequence[Descriptor], name: Reference) -> Iterator[bytes]:
        wanted: dict[Digest, None] = {}
        for manifest in manifests:
            wanted[manifest.digest] = None
            wanted |= dict.fromkeys(self._named(manifest))
        for digest in wanted:
            if self._storage.has(digest):
                yield from _file("/".join(("blobs", *digests.split(digest))), str(self._storage.path(digest)))
            elif not self._has(digest):
                raise DataCorrupt(f"blob {digest} is not here")
        annotations = (("io.containerd.image.name", str(name)), ("org.opencontainers.image.ref.name", name.tag))
        entry = Descriptor(top.media_type, top.digest, top.size, None, annotations)
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry.encode()]}
        yield from _document("oci-layout", {"imageLayoutVersion": "1.0.0"})
        yield from _document("index.json", index)
        yield bytes(2 * tarfile.BLOCKSIZE)

    def _named(self, manifest: Descriptor) -> Sequence[Digest]:
        """The blobs of a manifest, an image's or another; none of an index, or of a kind that is not known."""
        try:
            value = descriptors.decode_any(self._storage.path(manifest.digest).read_bytes(), manifest.media_type)
        except Unsupported:
            return ()
        return () if isinstance(value, Index) else [blob.digest for blob in value.blobs]


def _file(name: str, path: str) -> Iterator[bytes]:
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        yield _header(name, size)
        while chunk := file.read(_CHUNK):
            yield chunk
    yield bytes(-size % tarfile.BLOCKSIZE)


def _document(name: str, value: dict[str, Any]) -> Iterator[bytes]:
    content = json.dumps(value).encode()
    yield _header(name, len(content)) + content + bytes(-len(content) % tarfile.BLOCKSIZE)


def _header(name: str, size: int) -> bytes:
    header = tarfile.TarInfo(name)
    header.size, header.mode = size, 0o644
    return header.tobuf(tarfile.PAX_FORMAT)
