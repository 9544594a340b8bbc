"""Images in tar archives: read (``docker save``'s own forms and OCI layouts), and written (both in one).

An archive is a stranger's: names are only compared, never opened on the host; sizes are bounded; every blob is
verified on its way into the store.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import posixpath
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, Any

from corten.errors import DataCorrupt, InvalidInput
from corten.spec import descriptor as descriptors
from corten.spec import digest as digests
from corten.spec import platform as platforms
from corten.spec import reference as references
from corten.spec.descriptor import MAX_CONFIG, MAX_MANIFEST, OCI_INDEX, OCI_LAYER, Descriptor, Index
from corten.spec.digest import Digest
from corten.spec.document import Document
from corten.spec.image import Image
from corten.spec.platform import Platform
from corten.spec.reference import Reference
from corten.store import compression
from corten.store.blobs import BlobStore

_CHUNK = 1 << 18
_MOST_MEMBERS = 100_000
_MOST_LINKS = 8
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_REF_NAME, _IMAGE_NAME = "org.opencontainers.image.ref.name", "io.containerd.image.name"
_EPOCH = 0

Loaded = tuple[bytes, list[Descriptor], list[Reference]]
"""An image of an archive: its configuration, its layers (now blobs of the store), its names."""


class ArchiveReader:
    """The images of an uncompressed tar file that can be sought in."""

    def __init__(self, file: IO[bytes], blobs: BlobStore, platform: Platform) -> None:
        self._blobs, self._platform = blobs, platform
        try:
            self._tar = tarfile.open(fileobj=file, mode="r:")  # noqa: SIM115  as long as its file, which is the caller's
            self._members = dict(self._index())
        except (tarfile.TarError, OSError, ValueError) as error:
            raise InvalidInput(f"load image: not an archive of images: {error}") from error

    def _index(self) -> Iterator[tuple[str, tarfile.TarInfo]]:
        for count, member in enumerate(self._tar):
            if count > _MOST_MEMBERS:
                raise DataCorrupt(f"load image: more than {_MOST_MEMBERS} members")
            yield posixpath.normpath(member.name), member

    def images(self) -> Iterator[Loaded]:
        """Every image. Raises DataCorrupt, InvalidInput."""
        if "manifest.json" in self._members:
            yield from self._docker()
        elif "index.json" in self._members:
            yield from self._layout()
        elif "repositories" in self._members:
            yield from self._oldest()
        else:
            raise InvalidInput(
                "load image: neither manifest.json nor index.json is in the archive, nor repositories",
                hint="corten import reads the archive of a plain file system",
            )

    # --- docker save

    def _docker(self) -> Iterator[Loaded]:
        listed = json.loads(self._small("manifest.json", MAX_MANIFEST))
        if not isinstance(listed, list):
            raise DataCorrupt("load image: manifest.json is not a list")
        for number, entry in enumerate(listed):
            document = Document(entry if isinstance(entry, dict) else {}, f"manifest.json[{number}]")
            config = self._small(document.text("Config"), MAX_CONFIG)
            if not Document.parse(config, "the image's configuration").child("rootfs").members:
                raise DataCorrupt("load image: invalid image JSON, no RootFS key")
            layers = [self._layer(name) for name in document.texts("Layers")]
            yield config, layers, [references.parse_tagged(name) for name in document.texts("RepoTags")]

    def _layer(self, name: str, expected: Digest | None = None) -> Descriptor:
        with self._open(name) as (file, size), self._blobs.writer(expected, size) as writer:
            head = b""
            while chunk := file.read(_CHUNK):
                head = head or chunk[:4]
                writer.write(chunk)
            digest = writer.commit()
        suffix = "+gzip" if head.startswith(_GZIP) else "+zstd" if head.startswith(_ZSTD) else ""
        return Descriptor(OCI_LAYER + suffix, digest, size)

    # --- docker save before 1.10: a directory a layer, whose configuration names the one below

    def _oldest(self) -> Iterator[Loaded]:
        repositories = Document.parse(self._small("repositories", MAX_MANIFEST), "repositories")
        names: dict[str, list[Reference]] = {}
        for name in repositories.members:
            for tag, id in repositories.mapping(name).items():
                names.setdefault(id, []).append(references.parse_tagged(f"{name}:{tag}"))
        for id, tags in names.items():
            chain = self._chain(id)
            layers = [self._layer(f"{one}/layer.tar") for one, _ in chain]
            diff_ids = [self._diff_id(f"{one}/layer.tar") for one, _ in chain]
            yield _of_today([document.members for _, document in chain], diff_ids), layers, tags

    def _chain(self, id: str) -> list[tuple[str, Document]]:
        """A layer and those below it, lowest first, each with its configuration."""
        chain: list[tuple[str, Document]] = []
        while id:
            if not _LAYER_ID.fullmatch(id) or len(chain) == _MOST_LAYERS:
                raise DataCorrupt(f"load image: layer {id[:80]!r} is none, or has more than {_MOST_LAYERS} with it")
            document = Document.parse(self._small(f"{id}/json", MAX_CONFIG), f"{id}/json")
            chain.append((id, document))
            id = document.text("parent")
        return chain[::-1]

    def _diff_id(self, name: str) -> Digest:
        hashed = hashlib.sha256()
        with self._open(name) as (file, _):
            for chunk in compression.chunks(file):
                hashed.update(chunk)
        return digests.parse(f"sha256:{hashed.hexdigest()}")

    # --- OCI layout

    def _layout(self) -> Iterator[Loaded]:
        index = descriptors.decode(self._small("index.json", MAX_MANIFEST), OCI_INDEX)
        if not isinstance(index, Index):
            raise DataCorrupt("load image: index.json is not an index")
        for entry in index.manifests:
            yield self._described(entry, _names(entry))

    def _described(self, entry: Descriptor, names: list[Reference]) -> Loaded:
        value = descriptors.decode(self._verified(entry, MAX_MANIFEST), entry.media_type)
        if isinstance(value, Index):
            place = platforms.choose([one.platform for one in value.manifests], self._platform)
            if place is None:
                raise InvalidInput(f"load image: nothing in the archive is for {self._platform}")
            return self._described(value.manifests[place], names)
        config = self._verified(value.config, MAX_CONFIG)
        layers = [
            Descriptor(layer.media_type, self._layer(_blob_path(layer.digest), layer.digest).digest, layer.size)
            for layer in value.layers
        ]
        return config, layers, names

    def _verified(self, blob: Descriptor, bound: int) -> bytes:
        content = self._small(_blob_path(blob.digest), bound)
        hashed = digests.hasher(blob.digest)
        hashed.update(content)
        if not digests.matches(blob.digest, hashed):
            raise DataCorrupt(f"load image: blob {blob.digest}: digest mismatch")
        return content

    # --- members

    def _small(self, name: str, bound: int) -> bytes:
        with self._open(name) as (file, size):
            if size > bound:
                raise DataCorrupt(f"load image: {name} has {size} bytes, the limit is {bound}")
            return file.read()

    @contextlib.contextmanager
    def _open(self, name: str) -> Iterator[tuple[IO[bytes], int]]:
        """A regular member; links inside the archive, which older tools write for equal layers, are followed."""
        path = posixpath.normpath(name)
        for _ in range(_MOST_LINKS):
            member = self._members.get(path)
            if member is None or not (member.issym() or member.islnk()):
                break
            above = posixpath.dirname(path) if member.issym() else ""
            path = posixpath.normpath(posixpath.join(above, member.linkname))
        file = self._tar.extractfile(member) if member is not None and member.isreg() else None
        if member is None or file is None or member.issparse():
            raise DataCorrupt(f"load image: {name or 'a member'} is not a file of the archive")
        with file:
            yield file, member.size


_LAYER_ID = re.compile("[0-9a-f]{64}")
_MOST_LAYERS = 125
_NOT_OF_TODAY = frozenset(("id", "parent", "parent_id", "layer_id", "Size", "throwaway"))


def _of_today(chain: Sequence[Mapping[str, Any]], diff_ids: Sequence[Digest]) -> bytes:
    """The configuration of an image, made from those of its layers, lowest first."""
    kept = {name: value for name, value in chain[-1].items() if name not in _NOT_OF_TODAY}
    history = [{name: one[name] for name in ("created", "author", "comment") if one.get(name)} for one in chain]
    return json.dumps({**kept, "rootfs": {"type": "layers", "diff_ids": diff_ids}, "history": history}).encode()


def _blob_path(digest: Digest) -> str:
    return "blobs/" + "/".join(digests.split(digest))


def _names(entry: Descriptor) -> list[Reference]:
    """The full name where containerd left it; else the OCI's, which is often a bare tag and then no name."""
    full = entry.annotation(_IMAGE_NAME)
    name = full or entry.annotation(_REF_NAME)
    if not name or (not full and not set(":/") & set(name)):
        return []
    try:
        return [references.parse_tagged(name)]
    except InvalidInput:
        return []


def write(images: Sequence[tuple[Image, Sequence[Reference]]], blobs: BlobStore) -> Iterator[bytes]:
    """The archive of some images: an OCI layout that also has ``docker save``'s manifest.json."""
    index, listed = [], []
    written: set[Digest] = set()
    for image, names in images:
        listed.append({
            "Config": _blob_path(image.id),
            "RepoTags": [name.familiar for name in names] or None,
            "Layers": [_blob_path(layer.digest) for layer in image.layers],
        })  # fmt: skip
        tags: list[Reference | None] = [*names] or [None]
        for tag in tags:
            annotations = {_IMAGE_NAME: str(tag), _REF_NAME: tag.tag} if tag else {}
            index.append({**image.manifest.encode(), **({"annotations": annotations} if annotations else {})})
        wanted = (image.manifest.digest, image.id, *(layer.digest for layer in image.layers))
        for digest in wanted:
            if digest not in written:
                written.add(digest)
                blob = functools.partial(blobs.chunks, digest)
                yield from _member(_blob_path(digest), blobs.size(digest), blob, max(0, image.created_unix))
    documents: dict[str, Any] = {
        "oci-layout": {"imageLayoutVersion": "1.0.0"},
        "index.json": {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": index},
        "manifest.json": listed,
    }
    for name, value in documents.items():
        content = json.dumps(value).encode()
        yield from _member(name, len(content), functools.partial(_once, content))
    yield bytes(2 * tarfile.BLOCKSIZE)


def _once(content: bytes) -> Iterator[bytes]:
    yield content


def _member(name: str, size: int, chunks: Callable[[], Iterator[bytes]], time: int = _EPOCH) -> Iterator[bytes]:
    """A file of the archive; ``time`` in seconds since the epoch: an image's parts are as old as it is."""
    header = tarfile.TarInfo(name)
    header.size, header.mtime, header.mode = size, time, 0o644
    yield header.tobuf(tarfile.PAX_FORMAT)
    yield from chunks()
    yield bytes(-size % tarfile.BLOCKSIZE)
