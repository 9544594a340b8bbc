"""The images of one data root: which there are, what they are called, which layers and blobs they need.

The tables are the truth; a copy of them in memory answers every question, so that resolving an image at the
start of a container costs no query. Blobs and layers are content: what no image needs is garbage. All methods
but :meth:`ImageStore.collect` belong to the thread that uses the database's connection.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import re
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from corten.errors import Conflict, CortenError, InvalidInput, NotFound
from corten.spec import descriptor as descriptors
from corten.spec import digest as digests
from corten.spec import image as image_spec
from corten.spec import reference as references
from corten.spec.descriptor import OCI_CONFIG, OCI_MANIFEST, Descriptor, Manifest
from corten.spec.digest import Digest
from corten.spec.document import Document
from corten.spec.image import Image
from corten.spec.reference import Reference
from corten.store import indexes
from corten.store.attention import Attention
from corten.store.blobs import BlobStore
from corten.store.layers import Coming, Layer, LayerStore

__all__ = ["Image", "ImageStore"]

_TABLES = """
CREATE TABLE IF NOT EXISTS images (
    id        TEXT PRIMARY KEY,
    config    BLOB NOT NULL,
    manifest  TEXT NOT NULL,
    tagged_at TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS image_layers (
    image_id   TEXT NOT NULL,
    position   INTEGER NOT NULL,
    descriptor TEXT NOT NULL,
    size       INTEGER NOT NULL,
    PRIMARY KEY (image_id, position)
) STRICT;
CREATE TABLE IF NOT EXISTS image_references (
    reference TEXT PRIMARY KEY,
    image_id  TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS image_origins (
    image_id     TEXT PRIMARY KEY,
    index_       TEXT NOT NULL,
    own_manifest INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS image_parents (
    image_id TEXT PRIMARY KEY,
    parent   TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS image_steps (
    image_id TEXT PRIMARY KEY,
    parent   TEXT NOT NULL
) STRICT;
"""
_ID = re.compile(r"(?:sha256:)?([a-f0-9]{1,64})", re.ASCII)


class ImageStore:
    """Images, their references, and through them the layers and blobs that are in use."""

    def __init__(
        self, root: Path, db: sqlite3.Connection, layers: LayerStore | None = None, *, keep_blobs: bool = True
    ) -> None:
        self.blobs = BlobStore(root)
        self.keep_blobs = keep_blobs
        """Whether compressed layers are kept beside those that are files, which hold their archive already."""
        self.layers = layers or LayerStore(root)
        self._db = db
        self._images: dict[Digest, Image] = {}
        self._references: dict[Reference, Digest] = {}
        self._parents: dict[str, str] = {}
        self._steps: dict[Digest, str] = {}
        self._origins: dict[str, tuple[Descriptor | None, bool]] = {}
        self._changed: set[Digest] = set()
        """The images of whom the transaction that goes on has written."""
        with self._durable():
            for statement in _TABLES.split(";"):
                db.execute(statement)
            self.attention = Attention(db)
        self._load()

    def keeps(self, coming: Coming | None) -> bool:
        """Whether the blob of a layer that comes in is kept: where only its files are left of it, it is."""
        return self.keep_blobs or coming is None or coming.form != "erofs"

    # --- asking

    def images(self) -> list[Image]:
        """All images, newest first."""
        return sorted(self._images.values(), key=lambda image: (-image.created_ns, image.id))

    def find(self, text: str) -> Image | None:
        """An image by ID, reference or the beginning of an ID, in that order; None when there is none.

        Raises InvalidInput for a malformed reference and for a beginning that several IDs share.
        """
        if (matched := _ID.fullmatch(text)) and len(matched[1]) == 64:
            return self._images.get(Digest(f"sha256:{matched[1]}"))
        if matched and text.startswith("sha256:"):
            return self._by_prefix(matched[1])
        reference = references.parse(text).tagged()
        image = self._images.get(self._referred(reference))
        return image if image or not matched else self._by_prefix(matched[1])

    def resolve(self, text: str) -> Image:
        """As :meth:`find`. Raises NotFound in Docker's words."""
        image = self.find(text)
        if image is None:
            shown = (
                text if _ID.fullmatch(text) and len(text) >= 64 else references.parse(text).tagged().familiar
            )
            raise NotFound(f"No such image: {shown}")
        return image

    def get(self, image_id: str) -> Image:
        """An image by its full ID. Raises NotFound."""
        try:
            return self._images[Digest(image_id)]
        except KeyError:
            raise NotFound(f"No such image: {image_id}") from None

    def by_id(self, image_id: str) -> Image | None:
        """An image by its full ID; None when there is none."""
        return self._images.get(Digest(image_id))

    def by_reference(self, reference: Reference) -> Image | None:
        """The image that a tag or digest names; None when there is none."""
        return self._images.get(self._referred(reference))

    def manifest(self, image: Image) -> bytes:
        """The image's manifest, to the byte. Raises NotFound, DataCorrupt."""
        if image.own_manifest and not self.blobs.has(image.manifest.digest):
            self.blobs.put(image.raw)
            self.blobs.put(manifest_of(image.raw, image.layers)[1])
        return self.blobs.read(image.manifest.digest, limit=descriptors.MAX_MANIFEST)

    def archive(self, chain_id: Digest) -> Iterator[bytes] | None:
        """The uncompressed archive of a layer, to the byte; None where only its files are kept."""
        return self.layers.archive(chain_id)

    # --- changing

    def add(
        self,
        manifest: Descriptor,
        config: bytes,
        layers: Sequence[tuple[Descriptor, Layer]],
        names: Iterable[Reference] = (),
        parent: str = "",
        *,
        index: Descriptor | None = None,
        own_manifest: bool = False,
    ) -> Image:
        """Record an image whose blobs and layers are in the store, and give it references; durable on return.

        An image that is there already keeps its references and takes the new manifest and index.
        """
        with self._durable():
            image_id = self._record(manifest, config, layers, parent, index=index, own_manifest=own_manifest)
            for name in names:
                self._write_reference(name, image_id)
        return self._images[image_id]

    def add_steps(self, steps: Sequence[tuple[bytes, Sequence[tuple[Descriptor, Layer]], str]]) -> list[Image]:
        """Record images of configuration, layers and parent ('' for none) that a build's steps made here, all or none;
        durable on return. One that is there already learns its parent. The manifests are written when somebody asks
        for them."""
        with self._durable():
            ids = [self._step(*step) for step in steps]
        return [self._images[id] for id in ids]

    def _step(self, config: bytes, layers: Sequence[tuple[Descriptor, Layer]], parent: str) -> Digest:
        image_id = digests.of(config)
        self._db.execute("REPLACE INTO image_steps VALUES (?, ?)", (image_id, parent))
        if image_id not in self._images:
            manifest, _ = manifest_of(config, [blob for blob, _ in layers])
            return self._record(manifest, config, layers, parent, own_manifest=True)
        if parent and not self._images[image_id].parent:
            self._db.execute("REPLACE INTO image_parents VALUES (?, ?)", (image_id, parent))
        self._changed.add(image_id)
        return image_id

    def _record(
        self, manifest: Descriptor, config: bytes, layers: Sequence[tuple[Descriptor, Layer]], parent: str, *,
        index: Descriptor | None = None, own_manifest: bool,
    ) -> Digest:  # fmt: skip
        image_id, db = digests.of(config), self._db
        rows = [
            (image_id, position, json.dumps(blob.encode()), layer.size)
            for position, (blob, layer) in enumerate(layers)
        ]
        db.execute(
            "INSERT INTO images VALUES (?, ?, ?, '') ON CONFLICT DO UPDATE SET manifest = excluded.manifest",
            (image_id, config, json.dumps(manifest.encode())),
        )
        db.execute("DELETE FROM image_layers WHERE image_id = ?", (image_id,))
        db.executemany("INSERT INTO image_layers VALUES (?, ?, ?, ?)", rows)
        origin = json.dumps(index.encode()) if index else ""
        db.execute("REPLACE INTO image_origins VALUES (?, ?, ?)", (image_id, origin, own_manifest))
        if parent:
            db.execute("REPLACE INTO image_parents VALUES (?, ?)", (image_id, parent))
        self.attention.used(image_id)
        self._changed.add(image_id)
        return image_id

    def repack(self, image_id: str, manifest: Descriptor, blobs: Sequence[Descriptor]) -> Image:
        """The same layers as other blobs, under another manifest of our own; durable on return."""
        with self._durable() as db:
            db.execute("UPDATE images SET manifest = ? WHERE id = ?", (json.dumps(manifest.encode()), image_id))
            db.executemany(
                "UPDATE image_layers SET descriptor = ? WHERE image_id = ? AND position = ?",
                [(json.dumps(blob.encode()), image_id, position) for position, blob in enumerate(blobs)],
            )
            self._changed.add(Digest(image_id))
        return self.get(image_id)

    def children(self, image_id: str) -> list[Image]:
        """The images that were made from one."""
        return [image for image in self._images.values() if image.parent == image_id]

    def steps_of(self, parent: str) -> list[Image]:
        """The images that steps of builds here made of one, or of none. What an archive says of its images' parents
        does not count: it would be taken for what a step has made (CVE-2024-24557)."""
        return [self._images[id] for id, of in self._steps.items() if of == parent]

    def tag(self, image_id: str, reference: Reference) -> Image:
        """Let a reference mean this image, and no longer the one it meant before; durable on return."""
        image = self.get(image_id)
        now = datetime.datetime.now(datetime.UTC).isoformat().replace("+00:00", "Z")
        with self._durable() as db:
            self._write_reference(reference, image.id)
            db.execute("UPDATE images SET tagged_at = ? WHERE id = ?", (now, image.id))
            self.attention.used(image.id)
        return self._images[image.id]

    def add_reference(self, image_id: str, reference: Reference) -> None:
        """One more name that is not a tag of the user's: the digest at a registry; durable on return."""
        with self._durable():
            self._write_reference(reference, self.get(image_id).id)

    def untag(self, reference: Reference) -> Image:
        """Take a reference away; the image as it is then. Raises NotFound."""
        image = self.by_reference(reference)
        if image is None:
            raise NotFound(f"No such image: {reference.familiar}")
        with self._durable() as db:
            db.execute("DELETE FROM image_references WHERE reference = ?", (str(reference),))
            self._changed.add(image.id)
        return self._images[image.id]

    def remove(self, image_id: str) -> list[Digest]:
        """Forget an image; the chain IDs of the layers that no other image has, highest first.

        Its content stays until :meth:`collect`: a container may still stand on it.
        """
        image = self.get(image_id)
        if image.references:
            raise Conflict(f"remove {digests.short(image.id)}: it has references")
        with self._durable() as db:
            for table, column in (
                ("image_layers", "image_id"), ("image_parents", "image_id"), ("image_origins", "image_id"),
                ("image_steps", "image_id"), ("images", "id"),
            ):  # fmt: skip
                db.execute(f"DELETE FROM {table} WHERE {column} = ?", (image.id,))  # noqa: S608
            self.attention.forget(image.id)
            self._changed.add(image.id)
        kept = {chain_id for other in self._images.values() for chain_id in other.chain_ids}
        return [chain_id for chain_id in reversed(image.chain_ids) if chain_id not in kept]

    # --- garbage

    def garbage(
        self, pinned: Iterable[str] = (), blobs: Iterable[Digest] = ()
    ) -> tuple[list[str], list[Digest]]:
        """Layers (short names) and blobs that neither an image nor ``pinned`` (short names) and ``blobs`` need."""
        needed = set(blobs)
        layers = set(pinned)
        for image in self._images.values():
            needed |= {image.id, image.manifest.digest, *(blob.digest for blob in image.layers)}
            needed |= indexes.content(self.blobs, image.index) if image.index else set()
            layers |= {LayerStore.short(chain_id) for chain_id in image.chain_ids}
        return (
            [short for short in self.layers.all() if short not in layers],
            [digest for digest in self.blobs.all() if digest not in needed],
        )

    def collect(self, layers: Iterable[str], blobs: Iterable[Digest]) -> int:
        """Delete garbage; the bytes that came free. May run in any thread; nothing may be added meanwhile."""
        unpacked = sum(self.layers.remove(short) for short in layers)
        return unpacked + sum(self.blobs.remove(digest) for digest in blobs)

    def size(self) -> int:
        """Bytes of all layers and blobs that are here. May run in any thread."""
        layers = {
            chain_id: size
            for image in list(self._images.values())
            for chain_id, size in zip(image.chain_ids, image.layer_sizes, strict=True)
        }
        return sum(layers.values()) + sum(self.blobs.size(digest) for digest in self.blobs.all())

    # --- inside

    def _referred(self, reference: Reference) -> Digest:
        """The image ID that a reference means; '' when it means none. ``name@ID`` is understood, too."""
        if not reference.digest:
            return self._references.get(reference, Digest(""))
        found = self._references.get(reference.with_digest(reference.digest))
        if found:
            return found
        image = self._images.get(reference.digest)
        named = image and any(one.name == reference.name for one in image.references)
        return image.id if image and named else Digest("")

    def _by_prefix(self, prefix: str) -> Image | None:
        found = [image for id, image in self._images.items() if digests.split(id)[1].startswith(prefix)]
        if len(found) > 1:
            raise InvalidInput(f"image {prefix}: the IDs of {len(found)} images begin so")
        return found[0] if found else None

    def _write_reference(self, reference: Reference, image_id: Digest) -> None:
        self._changed |= {image_id, self._references.get(reference, image_id)}
        self._db.execute("REPLACE INTO image_references VALUES (?, ?)", (str(reference), image_id))

    @contextlib.contextmanager
    def _durable(self) -> Iterator[sqlite3.Connection]:
        """A transaction that is on disk when it ends, whatever the connection's habit is."""
        (habit,) = self._db.execute("PRAGMA synchronous").fetchone()
        try:
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute("BEGIN IMMEDIATE")
            yield self._db
            self._db.execute("COMMIT")
            self._reload(self._changed)
        except sqlite3.Error as error:
            raise CortenError(f"write the table of images: {error}") from error
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            self._db.execute(f"PRAGMA synchronous = {habit}")
            self._changed = set()

    def _reload(self, ids: Collection[Digest]) -> None:
        """Read what has changed of some images: all of them would take long where a build leaves one for each step."""
        images = dict(self._images)
        self._references = {name: owner for name, owner in self._references.items() if owner not in ids}
        for id in ids:
            self._parents.pop(id, None)
            self._steps.pop(id, None)
            self._origins.pop(id, None)
            images.pop(id, None)
        self._read(ids)
        images.update((Digest(row[0]), self._image(*row)) for row in self._rows("images", "id", ids))
        self._images = images

    def _read(self, ids: Collection[str] | None = None) -> None:
        """What the other tables have of all images, or of some."""
        self._references |= {
            references.parse(text): Digest(image_id)
            for text, image_id in self._rows("image_references", "image_id", ids)
        }
        self._parents |= self._rows("image_parents", "image_id", ids)
        self._steps |= self._rows("image_steps", "image_id", ids)
        self._origins |= {
            id: (_descriptor(index) if index else None, bool(own))
            for id, index, own in self._rows("image_origins", "image_id", ids)
        }

    def _rows(self, table: str, column: str, ids: Collection[str] | None = None) -> list[Any]:
        query = f"SELECT * FROM {table}"  # noqa: S608
        if ids is None:
            return self._db.execute(query).fetchall()
        some = f"{query} WHERE {column} IN (SELECT value FROM json_each(?))"  # noqa: S608
        return self._db.execute(some, [json.dumps([*ids])]).fetchall()

    def _load(self) -> None:
        self._read()
        self._images = {Digest(row[0]): self._image(*row) for row in self._rows("images", "id")}

    def _image(self, image_id: str, config: bytes, manifest: str, tagged_at: str) -> Image:
        rows = self._db.execute(
            "SELECT descriptor, size FROM image_layers WHERE image_id = ? ORDER BY position", (image_id,)
        ).fetchall()
        index, own = self._origins.get(image_id, (None, False))
        return Image(
            id=Digest(image_id),
            document=image_spec.decode(config),
            raw=config,
            manifest=_descriptor(manifest),
            layers=tuple(_descriptor(text) for text, _ in rows),
            layer_sizes=tuple(size for _, size in rows),
            references=tuple(sorted(name for name, owner in self._references.items() if owner == image_id)),
            tagged_at=tagged_at,
            parent=self._parents.get(image_id, ""),
            index=index,
            own_manifest=own,
        )


def manifest_of(config: bytes, layers: Sequence[Descriptor]) -> tuple[Descriptor, bytes]:
    """The manifest that an image gets here."""
    about = Descriptor(OCI_CONFIG, digests.of(config), len(config))
    content = json.dumps(Manifest(OCI_MANIFEST, about, tuple(layers)).encode()).encode()
    return Descriptor(OCI_MANIFEST, digests.of(content), len(content)), content


def _descriptor(text: str) -> Descriptor:
    return descriptors.decode_descriptor(Document.parse(text.encode(), "stored descriptor"))
