"""Images in tar archives, read: ``docker save``'s own forms and OCI layouts; of an archive that is both, the layout.

An archive is a stranger's: names are only compared, never opened on the host; sizes are bounded; every blob is
verified on its way into the store. What a layout's manifests and indexes say is kept to the byte.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import posixpath
import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

from corten.errors import DataCorrupt, InvalidInput, NotFound, Unsupported
from corten.spec import descriptor as descriptors
from corten.spec import digest as digests
from corten.spec import image as image_spec
from corten.spec import nesting
from corten.spec import platform as platforms
from corten.spec import reference as references
from corten.spec.descriptor import MAX_CONFIG, MAX_MANIFEST, OCI_INDEX, OCI_LAYER, Descriptor, Index, Manifest
from corten.spec.digest import Digest
from corten.spec.document import Document
from corten.spec.platform import Platform
from corten.spec.reference import Reference
from corten.store import compression, indexes
from corten.store.blobs import BlobStore
from corten.store.images import ImageStore

_CHUNK = 1 << 18
_MOST_MEMBERS = 100_000
_MOST_LINKS = 8
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
REF_NAME, IMAGE_NAME = "org.opencontainers.image.ref.name", "io.containerd.image.name"
SINCE, SINCE_NAME = "dev.corten.since", "dev.corten.since.name"
"""Annotations of the index of an archive that lacks what an image has: that image's ID, and how it was called."""


@dataclasses.dataclass(frozen=True, slots=True)
class Loaded:
    """An image of an archive. Its layers are blobs of the store now; so are its ``manifest`` and the ``index`` around
    it, where it came with them."""

    config: bytes
    layers: list[Descriptor]
    names: list[Reference]
    manifest: Descriptor | None = None
    index: Descriptor | None = None
    parent: str = ""
    """The ID of the image that it was made from, where the archive tells."""

    @property
    def id(self) -> str:
        """The image's ID."""
        return digests.of(self.config)


def parent_of(loaded: Loaded, store: ImageStore) -> str:
    """The ID of whom an image was made from, if that is here, and the layers say the same; else ''."""
    parent = store.by_id(loaded.parent) if loaded.parent else None
    below = tuple(parent.diff_ids) if parent else ()
    return parent.id if parent and image_spec.decode(loaded.config).diff_ids[: len(below)] == below else ""


def moves(loaded: Loaded, store: ImageStore) -> Iterator[str]:
    """What dockerd says of names that another image has until now."""
    for name in loaded.names:
        if (old := store.by_reference(name)) is not None and old.id != loaded.id:
            yield f"The image {name.familiar} already exists, renaming the old one with ID {old.id} to empty string"


class ArchiveReader:
    """The images of an uncompressed tar file that can be sought in.

    ``wanted`` is the platform that must be there; ``own`` the machine's, taken where an index offers it. ``known`` are
    layers of the store by diff ID: an archive may lack them (``save --since``).
    """

    def __init__(
        self, file: IO[bytes], blobs: BlobStore, own: Platform, wanted: Platform | None = None,
        known: Mapping[Digest, Descriptor] | None = None,
    ) -> None:  # fmt: skip
        self._blobs, self._own, self._wanted, self._known = blobs, own, wanted, known or {}
        self._since = ""
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

    def images(self) -> list[Loaded]:
        """Every image, after the one that it was made from. Raises DataCorrupt, InvalidInput; NotFound where the base
        of a part is not here."""
        parents = self._parents()
        found = [dataclasses.replace(one, parent=parents.get(one.id, "")) for one in self._images()]
        return sorted(found, key=lambda one: _ancestors(one.id, parents))

    def _images(self) -> Iterator[Loaded]:
        if "index.json" in self._members:
            yield from self._layout()
        elif "manifest.json" in self._members:
            yield from self._docker()
        elif "repositories" in self._members:
            yield from self._oldest()
        else:
            raise InvalidInput(
                "load image: neither manifest.json nor index.json is in the archive, nor repositories",
                hint="corten import reads the archive of a plain file system",
            )

    # --- docker save

    def _docker(self) -> Iterator[Loaded]:
        for document in self._listed():
            config = self._small(document.text("Config"), MAX_CONFIG)
            if not Document.parse(config, "the image's configuration").child("rootfs").members:
                raise DataCorrupt("load image: invalid image JSON, no RootFS key")
            self._check_platform(config)
            layers = [self._layer(name) for name in document.texts("Layers")]
            yield Loaded(config, layers, [named(name) for name in document.texts("RepoTags")])

    def _listed(self) -> Sequence[Document]:
        # Wrapped, since the parser of strangers' documents takes objects.
        content = b'{"manifests": ' + self._small("manifest.json", MAX_MANIFEST) + b"}"
        return Document.parse(content, "manifest.json").children("manifests")

    def _check_platform(self, config: bytes) -> None:
        """Raises InvalidInput for an image that is not of the platform asked for."""
        if self._wanted and platforms.choose([image_spec.decode(config).platform], self._wanted) is None:
            raise InvalidInput(f"load image: nothing in the archive is for {self._wanted}")

    def _layer(self, name: str, expected: Digest | None = None, stated: int | None = None) -> Descriptor:
        with self._open(name) as (file, size), self._blobs.writer(expected, stated) as writer:
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
                names.setdefault(id, []).append(named(f"{name}:{tag}"))
        for id, tags in names.items():
            chain = self._chain(id)
            layers = [self._layer(f"{one}/layer.tar") for one, _ in chain]
            diff_ids = [self._diff_id(f"{one}/layer.tar") for one, _ in chain]
            yield Loaded(_of_today([document.members for _, document in chain], diff_ids), layers, tags)

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
        content = self._small("index.json", MAX_MANIFEST)
        index = descriptors.decode(content, OCI_INDEX)
        if not isinstance(index, Index):
            raise DataCorrupt("load image: index.json is not an index")
        told = Document.parse(content, "index.json").child("annotations")
        if since := told.text(SINCE):
            self._since = f"{told.text(SINCE_NAME)[:200]} ({digests.short(since)})"
        listed = self._names_of_docker()
        names: dict[Digest, list[Reference]] = {}
        for entry in index.manifests:
            names.setdefault(entry.digest, []).extend(_names(entry))
        for entry in {one.digest: one for one in index.manifests}.values():
            loaded = self._described(entry, names[entry.digest])
            if not loaded.names:
                loaded = dataclasses.replace(loaded, names=listed.get(loaded.id, []))
            yield loaded

    def _names_of_docker(self) -> dict[str, list[Reference]]:
        """What a manifest.json beside the index calls its images, by their IDs."""
        if "manifest.json" not in self._members:
            return {}
        return {
            digests.of(self._small(one.text("Config"), MAX_CONFIG)): [named(name) for name in one.texts("RepoTags")]
            for one in self._listed()
        }

    def _parents(self) -> dict[str, str]:
        """What a manifest.json tells of whom its images were made from, by their IDs."""
        if "manifest.json" not in self._members:
            return {}
        told = [(one.text("Parent"), one.text("Config")) for one in self._listed()]
        return {digests.of(self._small(config, MAX_CONFIG)): parent for parent, config in told if parent}

    def _described(self, entry: Descriptor, names: list[Reference]) -> Loaded:
        content = self._verified(entry, MAX_MANIFEST)
        value = descriptors.decode(content, entry.media_type)
        manifest = dataclasses.replace(entry, media_type=value.media_type, platform=None, annotations=())
        if isinstance(value, Manifest):
            return self._image(manifest, content, value, names, checked=True)
        images, entries = {}, nesting.images(value, self._index_inside)
        for place, one in enumerate(entries):
            if self._is_whole(one) and (inner := self._inner(one)):
                images[place] = self._image(one, *inner, names)
        offered = [one.platform if place in images else None for place, one in enumerate(entries)]
        chosen = platforms.choose(offered, self._wanted or self._own)
        if chosen is None and not self._wanted and len(images) == 1:
            (chosen,) = images
        if chosen is None:
            raise InvalidInput(f"load image: nothing in the archive is for {self._wanted or self._own}")
        self._blobs.put(content)
        return dataclasses.replace(images[chosen], index=manifest)

    def _index_inside(self, entry: Descriptor) -> Index | None:
        """An index that another one names; None where it is neither in the archive nor here."""
        if blob_path(entry.digest) not in self._members and not self._blobs.has(entry.digest):
            return None
        content = self._verified(entry, MAX_MANIFEST)
        value = descriptors.decode(content, entry.media_type)
        self._blobs.put(content)
        return value if isinstance(value, Index) else None

    def _is_whole(self, entry: Descriptor) -> bool:
        """Whether a manifest is in the archive, or here with all that it names."""
        if blob_path(entry.digest) in self._members:
            return True
        part = indexes.part(self._blobs, entry)
        return part is not None and not part.missing(self._blobs)

    def _inner(self, entry: Descriptor) -> tuple[bytes, Manifest] | None:
        """A manifest inside an index; None for one that is not of an image, and is kept as it is."""
        content = self._verified(entry, MAX_MANIFEST)
        try:
            value = descriptors.decode(content, entry.media_type)
        except Unsupported:
            self._keep(entry, content)
            return None
        if isinstance(value, Index):
            raise DataCorrupt(f"load image: index {entry.digest} is called something else by the one around it")
        return content, value

    def _keep(self, entry: Descriptor, content: bytes) -> None:
        """An attestation, a signature: with what the archive has of it."""
        self._blobs.put(content)
        part = indexes.part(self._blobs, entry)
        for blob in part.blobs if part else ():
            if blob_path(blob.digest) in self._members:
                self._layer(blob_path(blob.digest), blob.digest, blob.size)

    def _image(
        self, entry: Descriptor, content: bytes, value: Manifest, names: list[Reference], *, checked: bool = False
    ) -> Loaded:
        config = self._verified(value.config, MAX_CONFIG)
        if checked:
            self._check_platform(config)
        diff_ids = image_spec.decode(config).diff_ids
        if len(diff_ids) != len(value.layers):
            raise DataCorrupt(f"load image: {len(value.layers)} layers, {len(diff_ids)} diff IDs")
        layers = [self._brought(*one) for one in zip(value.layers, diff_ids, strict=True)]
        if tuple(layers) != value.layers:  # what is here stands in for a layer that the archive lacks
            return Loaded(config, layers, names)
        self._blobs.put(config)
        digest = self._blobs.put(content)
        return Loaded(config, layers, names, Descriptor(value.media_type, digest, len(content)))

    def _brought(self, layer: Descriptor, diff_id: Digest) -> Descriptor:
        """A layer of the archive; or what is here: the blob itself, or the same layer of an image. Raises NotFound."""
        if blob_path(layer.digest) in self._members:
            self._layer(blob_path(layer.digest), layer.digest, layer.size)
            return layer
        if self._blobs.has(layer.digest):
            if self._blobs.size(layer.digest) != layer.size:
                raise DataCorrupt(f"load image: blob {layer.digest} has not the {layer.size} bytes that it should have")
            return layer
        if diff_id not in self._known:
            base = f"that of its base {self._since}" if self._since else "which the archive lacks"
            raise NotFound(
                f"load image: layer {digests.short(diff_id)}, {base}, is not here",
                hint="load the base first" if self._since else "",
            )
        return self._known[diff_id]

    def _verified(self, blob: Descriptor, bound: int) -> bytes:
        """A small blob; of this store where the archive lacks what is here."""
        if blob_path(blob.digest) not in self._members and self._blobs.has(blob.digest):
            return self._blobs.read(blob.digest, limit=bound)
        content = self._small(blob_path(blob.digest), bound)
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
def _ancestors(id: str, parents: Mapping[str, str]) -> int:
    """How many images are above one; a circle is a stranger's, and ends."""
    seen = {id}
    while (id := parents.get(id, "")) and id not in seen:
        seen.add(id)
    return len(seen)


_NOT_OF_TODAY = frozenset(("id", "parent", "parent_id", "layer_id", "Size", "throwaway"))


def _of_today(chain: Sequence[Mapping[str, Any]], diff_ids: Sequence[Digest]) -> bytes:
    """The configuration of an image, made from those of its layers, lowest first."""
    kept = {name: value for name, value in chain[-1].items() if name not in _NOT_OF_TODAY}
    history = [{name: one[name] for name in ("created", "author", "comment") if one.get(name)} for one in chain]
    return json.dumps({**kept, "rootfs": {"type": "layers", "diff_ids": diff_ids}, "history": history}).encode()


def blob_path(digest: Digest) -> str:
    return "blobs/" + "/".join(digests.split(digest))


def _names(entry: Descriptor) -> list[Reference]:
    """The full name where containerd left it; else the OCI's, which is often a bare tag and then no name."""
    full = entry.annotation(IMAGE_NAME)
    name = full or entry.annotation(REF_NAME)
    if not name or (not full and not set(":/") & set(name)):
        return []
    try:
        return [named(name)]
    except InvalidInput:
        return []


def named(text: str) -> Reference:
    """A name that an archive gives. Raises InvalidInput, also for one that reads like a digest."""
    reference = references.parse_tagged(text)
    if reference.familiar_name in ("sha256", "sha384", "sha512"):
        raise InvalidInput("refusing to create an ambiguous tag using digest algorithm as name")
    return reference
