"""Images: bringing them in, naming them, letting them go."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import datetime
import fnmatch
import hashlib
import io
import json
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import IO, Any

from corten.engine import image_archive, image_changes, push
from corten.engine.events import Events
from corten.engine.filters import check_filters, has_labels, is_true
from corten.engine.ingest import Ingest, Report
from corten.engine.pull import Puller
from corten.engine.timestamps import parse_timestamp
from corten.errors import Conflict, CortenError, InvalidInput, NotFound, Unavailable
from corten.spec import digest as digests
from corten.spec import platform as platforms
from corten.spec import reference as references
from corten.spec.descriptor import OCI_LAYER, Descriptor
from corten.spec.digest import Digest
from corten.spec.image import Image
from corten.spec.platform import Platform
from corten.spec.reference import DOCKER_HUB, Reference
from corten.store import compression
from corten.store.images import ImageStore
from corten.store.layers import LayerStore

Filters = Mapping[str, Sequence[str]]
_CHUNK = 1 << 18
_ALGORITHMS = ("sha256", "sha384", "sha512")
_SHIPPED = "library/hello-world"
Told = Callable[[str], None]
Row = dict[str, str]
Rows = list[Row]
Found = list[Image]
Paths = list[str]
Shared = list[tuple[Image, int]]
Archived = list[image_archive.Loaded]
Pins = tuple[set[str], set[Digest]]
User = tuple[str, str, bool]
"""A container that stands on an image: (image ID, container ID, whether it runs)."""


class Images:
    """The images of one engine. A ``ref`` is a reference, an ID or the beginning of one."""

    def __init__(self, store: ImageStore, events: Events, staging: Path) -> None:
        self._store, self._events, self._staging = store, events, staging
        self._ingest = Ingest(store)
        self._puller = Puller(store, self._ingest)
        self._pusher = push.Pusher(store)
        self._platform = platforms.of_machine(os.uname().machine)
        self._changing = asyncio.Lock()
        """Held while content is added or collected: garbage is what nobody is just about to need."""
        self._collecting = asyncio.Lock()
        self.pins: Callable[[], Pins] = lambda: (set(), set())
        """Layers (short names) and blobs that are needed by no image's sake; set by the composition."""

    # --- asking

    def resolve(self, ref: str) -> Image:
        """An image. Raises NotFound ``No such image: …``."""
        return self._store.resolve(ref)

    def find(self, id: str) -> Image | None:
        """An image by its full ID; None when it is not here any more."""
        return self._store.by_id(id)

    def find_named(self, ref: str) -> Image | None:
        """As :meth:`resolve`; None when there is none."""
        try:
            return self._store.find(ref)
        except InvalidInput:
            return None

    async def inspect(self, ref: str) -> Image:
        """As :meth:`resolve`."""
        return self._store.resolve(ref)

    def count(self) -> int:
        """How many there are."""
        return len(self._store.images())

    def layer_directories(self, image: Image) -> Paths:
        """Where its layers are unpacked, highest first."""
        return [str(self._store.layers.path(chain_id)) for chain_id in reversed(image.chain_ids)]

    async def list(self, filters: Filters | None = None, all: bool = False) -> Found:
        """Images that pass (reference, label, dangling, before, since, until), newest first."""
        wanted = dict(filters or {})
        check_filters(wanted, ("reference", "label", "label!", "dangling", "before", "since", "until"))
        found = [image for image in self._store.images() if self._passes(image, wanted)]
        return [_narrowed(image, wanted.get("reference", ())) for image in found]

    def _passes(self, image: Image, filters: Filters) -> bool:
        tests = {
            "reference": lambda value: any(_matches(name, value) for name in image.references),
            "label": lambda value: _has_label(image, value),
            "label!": lambda value: not _has_label(image, value),
            "dangling": lambda value: (value in ("1", "true")) == (not image.repo_tags),
            "before": lambda value: image.created_ns < self._store.resolve(value).created_ns,
            "since": lambda value: image.created_ns > self._store.resolve(value).created_ns,
            "until": lambda value: image.created_ns < parse_timestamp(value),
        }
        return all(
            (all if name.startswith(("label", "until")) else any)(tests[name](value) for value in values)
            for name, values in filters.items()
        )

    # --- in

    async def pull(self, name: str, platform: str, auth: Mapping[str, str] | None, report: Report) -> Image:
        """Bring an image from its registry. ``hello-world`` comes with Corten, and is taken from there when no
        registry answers. Raises NotFound, AccessDenied, Unavailable, DataCorrupt, InvalidInput."""
        reference = references.parse(name).tagged()
        wanted = platforms.parse(platform, self._platform) if platform else self._platform
        async with self._changing:
            try:
                image = await self._puller.pull(reference, wanted, auth, report)
            except Unavailable as error:
                if not _is_shipped(reference):
                    raise
                image = await self._load_shipped(reference, wanted, error, report)
        self._events.publish("image", "pull", reference.familiar, {"name": reference.familiar_name})
        return image

    async def _load_shipped(
        self, reference: Reference, platform: Platform, error: CortenError, report: Report
    ) -> Image:
        report({"status": f"{error.message}"})
        report({"status": "Using the hello-world image that Corten ships"})
        content = resources.files("corten").joinpath("images/hello-world.tar").read_bytes()
        reader = image_archive.ArchiveReader(io.BytesIO(content), self._store.blobs, platform)
        (config, layers, _), *_ = await asyncio.to_thread(lambda: list(reader.images()))
        return await self._ingest.image(config, layers, [reference], report)

    async def load(self, chunks: AsyncIterator[bytes], report: Report) -> Found:
        """Take the images of an archive, compressed or not. Raises DataCorrupt, InvalidInput; of a bad archive
        nothing is kept."""
        images = []
        with self._spooled() as file:
            await self._spool(chunks, file)
            async with self._changing:
                loaded = await asyncio.to_thread(self._read_archive, file)
                for config, layers, names in loaded:
                    image = await self._ingest.image(config, layers, names, report)
                    images.append(image)
                    shown = [f"Loaded image: {name.familiar}" for name in names] or [f"Loaded image ID: {image.id}"]
                    for line in shown:
                        report({"stream": f"{line}\n"})
                    self._events.publish("image", "load", image.id, {"name": image.id})
        return images

    def _read_archive(self, file: IO[bytes]) -> Archived:
        with self._spooled() as plain:
            file.seek(0)
            for chunk in compression.chunks(file):
                plain.write(chunk)
            plain.seek(0)
            try:
                return list(image_archive.ArchiveReader(plain, self._store.blobs, self._platform).images())
            except ValueError as error:  # a JSON document of the archive is none
                raise InvalidInput(f"load image: {error}") from error

    async def import_(
        self, chunks: AsyncIterator[bytes], repo: str, tag: str, changes: Sequence[str], message: str,
        platform: str = "",
    ) -> Image:  # fmt: skip
        """Make an image of one layer from the archive of a file system, for this machine or for ``platform``.
        Raises InvalidInput, DataCorrupt."""
        config = image_changes.apply(changes)
        made_for = platforms.parse(platform, self._platform) if platform else self._platform
        if made_for.os != self._platform.os:
            raise InvalidInput(f"import for {made_for}: operating system is not supported")
        name = [references.parse_tagged(f"{repo}:{tag}" if tag else repo)] if repo else []
        with self._spooled() as file:
            await self._spool(chunks, file)
            async with self._changing:
                blob, diff_id = await asyncio.to_thread(self._import_layer, file)
                document = _imported(config, diff_id, message, made_for)
                image = await self._ingest.image(document, [blob], name, lambda _: None)
        self._events.publish("image", "import", image.id, {"name": name[0].familiar if name else image.id})
        return image

    def _import_layer(self, file: IO[bytes]) -> tuple[Descriptor, Digest]:
        file.seek(0)
        hashed = hashlib.sha256()
        for chunk in compression.chunks(file):
            hashed.update(chunk)
        file.seek(0)
        with self._store.blobs.writer() as writer:
            head = b""
            while chunk := file.read(_CHUNK):
                head = head or chunk[:2]
                writer.write(chunk)
            blob = Descriptor(OCI_LAYER + ("+gzip" if head == b"\x1f\x8b" else ""), writer.commit(), writer.written)
        return blob, digests.parse(f"sha256:{hashed.hexdigest()}")

    async def add_layer(
        self, base: Image, layer: AsyncIterator[bytes] | None, document: Callable[[Digest | None], bytes],
        name: Reference | None,
    ) -> Image:  # fmt: skip
        """An image made from another here: with one more layer, or none. ``document`` makes its configuration."""
        async with self._changing:
            added: list[Descriptor] = []
            diff_id = None
            if layer is not None:
                with self._spooled() as file:
                    await self._spool(layer, file)
                    blob, diff_id = await asyncio.to_thread(self._import_layer, file)
                added = [blob]
            names = [name] if name else []
            image = await self._ingest.image(
                document(diff_id), [*base.layers, *added], names, lambda _: None, parent_image=base.id
            )
        if name is not None:
            self._events.publish("image", "tag", image.id, {"name": name.familiar})
        return image

    @contextlib.contextmanager
    def _spooled(self) -> Iterator[IO[bytes]]:
        try:
            with tempfile.TemporaryFile(dir=self._staging) as file:
                yield file
        except OSError as error:
            raise CortenError.from_os("write", f"a temporary file in {self._staging}", error) from error

    async def _spool(self, chunks: AsyncIterator[bytes], file: IO[bytes]) -> None:
        async for chunk in chunks:
            await asyncio.to_thread(file.write, chunk)

    # --- out

    async def save(self, refs: Sequence[str]) -> AsyncIterator[bytes]:
        """The archive of images. Raises NotFound before the first byte."""
        images = [chosen for ref in refs for chosen in self._chosen(ref)]
        if not images:
            raise InvalidInput("save images: none is named")
        return _in_threads(image_archive.write(images, self._store.blobs))

    def _chosen(self, ref: str) -> Sequence[tuple[Image, Sequence[Reference]]]:
        """The image of a name or ID, or all of a repository without a tag, with their names. Raises NotFound."""
        repository = _repository(ref)
        found = [(image, [name for name in image.references if name.tag and name.name == repository])
                 for image in self._store.images()]  # fmt: skip
        found = [(image, names) for image, names in found if names]
        if found:
            return found
        image = self._store.resolve(ref)
        return [(image, _names_of(image, ref))]

    async def push(self, name: str, tag: str, auth: Mapping[str, str] | None, report: Report) -> None:
        """Send an image, or all tags of a repository, to its registry. Raises NotFound, AccessDenied, Unavailable."""
        named = {reference: image for image in self._store.images() for reference in image.references}
        wanted = push.chosen(named, name, tag)
        reference = references.parse(name)
        report({"status": f"The push refers to repository [{reference.name}]"})
        if not wanted:
            raise NotFound(f"An image does not exist locally with the tag: {reference.familiar_name}")
        for one, image in wanted:
            await self._pusher.push(image, one, auth, report)
            by_digest = one.with_digest(image.manifest.digest)
            if by_digest not in image.references:
                self._store.add_reference(image.id, by_digest)
            self._events.publish("image", "push", one.familiar, {"name": one.familiar_name})

    def shared(self) -> Shared:
        """Every image and the bytes of its layers that others have, too."""
        images = self._store.images()
        owners = collections.Counter(chain_id for image in images for chain_id in set(image.chain_ids))
        return [
            (image, sum(size for chain_id, size in zip(image.chain_ids, image.layer_sizes, strict=True)
                        if owners[chain_id] > 1))
            for image in images
        ]  # fmt: skip

    # --- names

    async def tag(self, ref: str, name: str) -> Image:
        """Give an image one more name, taken from another if need be. Raises NotFound, InvalidInput."""
        reference = references.parse_tagged(name)
        if reference.familiar_name in _ALGORITHMS:
            raise InvalidInput("refusing to create an ambiguous tag using digest algorithm as name")
        image = self._store.tag(self._store.resolve(ref).id, reference)
        self._events.publish("image", "tag", image.id, {"name": reference.familiar})
        return image

    async def remove(
        self, ref: str, *, force: bool = False, noprune: bool = False, users: Sequence[User] = ()
    ) -> Rows:
        """Untag, and delete with the last name: Docker's rows ``{"Untagged": …}`` and ``{"Deleted": …}``.

        Raises NotFound; Conflict when containers use it, or when it is named by its ID and has several names.
        """
        image = self._store.resolve(ref)
        by_name = self._name_in(image, ref)
        going = _with_digests(image, by_name) if by_name is not None else []
        if by_name is not None and len(image.references) > len(going):
            return self._untag(image, going)
        self._check_unused(image, ref, force, users, by_name)
        children = bool(self._store.children(image.id))
        if by_name is None:
            self._check_forced(image, force, has_children=children)
        rows = self._untag(image, image.references)
        if children or any(id == image.id for id, _, _ in users):
            return rows
        return [*rows, *await self._delete(image, users, parents=not noprune)]

    def _check_forced(self, image: Image, force: bool, *, has_children: bool) -> None:
        """What stands against deleting an image by its ID."""
        short = digests.short(image.id)
        if has_children:
            raise Conflict(
                f"conflict: unable to delete {short} (cannot be forced) - image has dependent child images"
            )
        if len({name.name for name in image.references}) > 1 and not force:
            raise Conflict(
                f"conflict: unable to delete {short} (must be forced) - image is referenced in multiple repositories"
            )

    def _name_in(self, image: Image, ref: str) -> Reference | None:
        with contextlib.suppress(InvalidInput):
            reference = references.parse(ref).tagged()
            if reference.digest:
                reference = reference.with_digest(reference.digest)
            if reference in image.references:
                return reference
        return None

    def _check_unused(
        self, image: Image, ref: str, force: bool, users: Sequence[User], by_name: Reference | None
    ) -> None:
        for id, container, running in users:
            if id != image.id or (force and not running):
                continue
            short = container[:12]
            if by_name is not None and not force:
                raise Conflict(
                    f'conflict: unable to remove repository reference "{ref}" (must force) - container {short} '
                    f"is using its referenced image {digests.short(image.id)}"
                )
            if by_name is None or running:
                kind = "running container" if running else "stopped container"
                how = "cannot be forced" if running else "must be forced"
                raise Conflict(
                    f"conflict: unable to delete {digests.short(image.id)} ({how}) - image is being used by "
                    f"{kind} {short}"
                )

    def _untag(self, image: Image, names: Sequence[Reference]) -> Rows:
        rows = []
        for name in names:
            self._store.untag(name)
            self._events.publish("image", "untag", image.id, {"name": image.id})
            rows.append({"Untagged": name.familiar})
        return rows

    async def _delete(self, image: Image, users: Sequence[User], *, parents: bool) -> Rows:
        """Delete an image and, with ``parents``, those it was made from that nothing else needs."""
        in_use = {id for id, _, _ in users}
        rows = self._forget(image)
        above = self._store.by_id(image.parent) if parents else None
        while above and not (above.references or above.id in in_use or self._store.children(above.id)):
            rows += self._forget(above)
            above = self._store.by_id(above.parent)
        await self.collect(id for id, _, _ in users)
        return rows

    def _forget(self, image: Image) -> Rows:
        gone = self._store.remove(image.id)
        self._events.publish("image", "delete", image.id, {"name": image.id})
        return [{"Deleted": image.id}, *({"Deleted": str(chain_id)} for chain_id in gone)]

    async def collect(self, used: Iterable[str]) -> int:
        """Delete content that no image, no container (``used``: their images) and no build needs; the bytes."""
        pinned = set()
        for id in used:
            with contextlib.suppress(NotFound):
                pinned |= {LayerStore.short(chain_id) for chain_id in self._store.get(id).chain_ids}
        async with self._changing, self._collecting:
            layers, blobs = self.pins()
            return await asyncio.to_thread(self._store.collect, *self._store.garbage(pinned | layers, blobs))

    async def settled(self) -> None:
        """Return when what was being collected is gone: what is pinned by now stays."""
        await self._collecting.acquire()
        self._collecting.release()

    async def add_built(self, config: bytes, blobs: Sequence[Descriptor], names: Sequence[Reference]) -> Image:
        """Record an image whose layers are here, and name it."""
        async with self._changing:
            image = await self._ingest.image(config, blobs, (), lambda _: None)
            for name in names:
                image = self._store.tag(image.id, name)
        for name in names:
            self._events.publish("image", "tag", image.id, {"name": name.familiar})
        return image

    async def prune(
        self, filters: Filters | None = None, used: Collection[str] = (), told: Told = lambda _: None
    ) -> tuple[Rows, int]:
        """Remove images that no container uses and none was made from: those without a name, with ``dangling=false``
        all. Filters: dangling, label, label!, until. The rows, and the bytes that came free."""
        wanted = check_filters(filters, ("dangling", "label", "label!", "until"))
        every = not is_true(wanted, "dangling", default=True)
        before = min((parse_timestamp(text) for text in wanted.get("until") or ()), default=None)
        rows: Rows = []
        for image in self._store.images():
            old = before is None or image.created_ns < before
            chosen = old and has_labels(image.config.labels, wanted) and (every or not image.repo_tags)
            if chosen and image.id not in used and not self._store.children(image.id):
                rows += self._untag(image, image.references)
                rows += self._forget(image)
                told(image.id)
        reclaimed = await self.collect(used)
        self._events.publish("image", "prune", "", {"reclaimed": str(reclaimed)})
        return rows, reclaimed


def _with_digests(image: Image, name: Reference) -> list[Reference]:
    """A name that goes, and the digests of its repository, which mean nothing without a tag there."""
    others = [one for one in image.references if one.name == name.name and one != name]
    return [name] if name.digest or any(one.tag for one in others) else [name, *others]


def _is_shipped(reference: Reference) -> bool:
    return reference.domain == DOCKER_HUB and reference.path == _SHIPPED and reference.tag == "latest"


def _matches(name: Reference, pattern: str) -> bool:
    """Docker's pattern of ``reference=``: on the familiar name, with or without its tag."""
    return _globs(name.familiar_name, pattern) or _globs(name.familiar, pattern)


def _globs(name: str, pattern: str) -> bool:
    """As Go's path.Match: a star does not reach over a slash."""
    parts, patterns = name.split("/"), pattern.split("/")
    return len(parts) == len(patterns) and all(map(fnmatch.fnmatchcase, parts, patterns))


def _narrowed(image: Image, patterns: Sequence[str]) -> Image:
    """With only the names that were asked for, as Docker lists it."""
    if not patterns:
        return image
    names = tuple(name for name in image.references if any(_matches(name, one) for one in patterns))
    return dataclasses.replace(image, references=names)


def _has_label(image: Image, wanted: str) -> bool:
    key, equals, value = wanted.partition("=")
    return key in image.config.labels and (not equals or image.config.labels[key] == value)


def _repository(ref: str) -> str:
    """The name of a repository, where a reference is that and no more; else ''."""
    try:
        reference = references.parse(ref)
    except InvalidInput:
        return ""
    return "" if reference.tag or reference.digest else reference.name


def _names_of(image: Image, ref: str) -> list[Reference]:
    """The names that an archive keeps: the one asked for; of a whole repository all its tags; of an ID none."""
    try:
        reference = references.parse(ref)
    except InvalidInput:
        return []
    tagged = [name for name in image.references if name.tag and name.name == reference.name]
    return [name for name in tagged if not reference.tag or name.tag == reference.tag]


def _imported(config: dict[str, Any], diff_id: Digest, message: str, platform: Platform) -> bytes:
    now = datetime.datetime.now(datetime.UTC).isoformat().replace("+00:00", "Z")
    document: dict[str, Any] = {
        "created": now,
        "architecture": platform.architecture,
        **({"variant": platform.variant} if platform.variant else {}),
        "os": platform.os,
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [{"created": now, "comment": message or "Imported from -"}],
    }
    return json.dumps(document).encode()


async def _in_threads(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Chunks that take reading from disk, without holding up the event loop."""
    end = object()
    while (chunk := await asyncio.to_thread(next, chunks, end)) is not end:
        yield chunk  # type: ignore[misc]
