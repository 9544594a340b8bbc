"""Images: bringing them in, naming them, letting them go."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import io
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import IO

from corten.engine import image_archive, image_changes, image_names, importing, layer_forms, push
from corten.engine.archive_writer import ArchiveWriter, in_threads
from corten.engine.events import Events
from corten.engine.filters import check_filters, has_labels, is_true
from corten.engine.ingest import Ingest, Report, Step
from corten.engine.offers import Offerings
from corten.engine.pull import Mirrors, Puller
from corten.engine.timestamps import parse_timestamp
from corten.engine.upkeep import Upkeep
from corten.errors import Conflict, CortenError, InvalidInput, NotFound, Unavailable
from corten.spec import digest as digests
from corten.spec import platform as platforms
from corten.spec import reference as references
from corten.spec.descriptor import Descriptor
from corten.spec.digest import Digest
from corten.spec.image import Image
from corten.spec.platform import Platform
from corten.spec.reference import DOCKER_HUB, Reference
from corten.store import compression
from corten.store.images import ImageStore

Filters = Mapping[str, Sequence[str]]
_SPOOLED_AT_ONCE = 1 << 21
"""Bytes of an archive between two writes: a write is another thread's, and its turn takes time."""
_ALGORITHMS = ("sha256", "sha384", "sha512")
_SHIPPED = "library/hello-world"
Told = Callable[[str], None]
Row = dict[str, str]
Rows = list[Row]
Found = list[Image]
Paths = list[str]
Shared = list[tuple[Image, int]]
Archived = list[image_archive.Loaded]
Layers = Mapping[Digest, Descriptor]
"""Layers of the store as blobs, by diff ID."""
User = tuple[str, str, bool]
"""A container that stands on an image: (image ID, container ID, whether it runs)."""


class Images:
    """The images of one engine. A ``ref`` is a reference, an ID or the beginning of one."""

    def __init__(self, store: ImageStore, events: Events, staging: Path, mirrors: Mirrors | None = None) -> None:
        self._store, self._events, self._staging = store, events, staging
        self._ingest = Ingest(store)
        self._puller = Puller(store, mirrors)
        self._pusher = push.Pusher(store)
        self._platform = platforms.of_machine(os.uname().machine)
        self.upkeep = Upkeep(store, self._evict)
        self.offerings = Offerings(store)

    # --- asking

    def resolve(self, ref: str) -> Image:
        """An image. Raises NotFound ``No such image: …``."""
        return self._store.resolve(ref)

    def find(self, id: str) -> Image | None:
        """An image by its full ID; None when it is not here any more."""
        return self._store.by_id(id)

    def children(self, id: str) -> Collection[str]:
        """The IDs of the images that were made from one."""
        return [image.id for image in self._store.children(id)]

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

    def layer_paths(self, of: Image | Sequence[str]) -> tuple[str, Paths]:
        """Of an image's layers, or of layers by their short names, lowest first: Docker's name for how they are kept,
        and where they are, highest first."""
        layers = self._store.layers
        shorts = [layers.short(chain_id) for chain_id in of.chain_ids] if isinstance(of, Image) else of
        files, root = layers.files(shorts), layers.directory
        form = "copy" if layers.are_copied(shorts) else "erofs" if files else "overlay"
        return layer_forms.driver(form), [
            str(root / short / ("layer.erofs" if f"layers/{short}/layer.erofs" in files else "fs"))
            for short in reversed(shorts)
        ]

    async def list(self, filters: Filters | None = None, all: bool = False) -> Found:
        """Images that pass (reference, label, dangling, before, since, until), newest first; unless ``all`` are asked
        for, not those without a name that others were made from."""
        wanted = dict(filters or {})
        check_filters(wanted, ("reference", "label", "label!", "dangling", "before", "since", "until"))
        shown = [one for one in self._store.images() if all or one.references or not self._store.children(one.id)]
        found = [image for image in shown if self._passes(image, wanted)]
        return [image_names.narrowed(image, wanted.get("reference", ())) for image in found]

    def _passes(self, image: Image, filters: Filters) -> bool:
        tests = {
            "reference": lambda value: any(image_names.matches(name, value) for name in image.references),
            "label": lambda value: image_names.has_label(image, value),
            "label!": lambda value: not image_names.has_label(image, value),
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

    async def pull(
        self, name: str, platform: str, auth: Mapping[str, str] | None, report: Report, *, whole: bool = False
    ) -> Image:
        """Bring an image from its registry; with the ``whole`` of its index, if that is asked. ``hello-world`` comes
        with Corten, and is taken from there when no registry answers. Raises NotFound, AccessDenied, Unavailable,
        DataCorrupt, InvalidInput."""
        reference = references.parse(name).tagged()
        wanted = platforms.parse(platform, self._platform) if platform else self._platform
        async with self.upkeep.adding() as added:
            try:
                image = await self._puller.pull(reference, wanted, auth, report, whole=whole)
            except Unavailable as error:
                if not _is_shipped(reference):
                    raise
                image = await self._load_shipped(reference, wanted, error, report)
            added.append(image)
        self._tell("pull", image, reference.familiar_name, actor=reference.familiar)
        return image

    async def offered(self, name: str, auth: Mapping[str, str] | None) -> Sequence[str]:
        """The references that pulling a name means: with neither tag nor digest, all tags that the registry has.
        Raises as :meth:`pull`."""
        reference = references.parse(name)
        if reference.tag or reference.digest:
            return [name]
        try:
            tags = await self._puller.tags(reference, auth)
        except Unavailable:
            if not _is_shipped(reference.tagged()):
                raise
            tags = ["latest"]
        return [f"{name}:{tag}" for tag in tags]

    async def _load_shipped(
        self, reference: Reference, platform: Platform, error: CortenError, report: Report
    ) -> Image:
        report({"status": f"{error.message}"})
        report({"status": "Using the hello-world image that Corten ships"})
        content = resources.files("corten").joinpath("images/hello-world.tar").read_bytes()
        reader = image_archive.ArchiveReader(io.BytesIO(content), self._store.blobs, platform)
        (loaded,) = await asyncio.to_thread(reader.images)
        return await self._loaded(dataclasses.replace(loaded, names=[reference]), report)

    async def load(self, chunks: AsyncIterator[bytes], report: Report, platform: Platform | None = None) -> Found:
        """Take the images of an archive, compressed or not; of an index those for ``platform``, or for this machine.
        Raises DataCorrupt, InvalidInput, NotFound; of a bad archive nothing is kept."""
        with self._spooled() as file:
            await self._spool(chunks, file)
            async with self.upkeep.adding(whole=True) as images:
                known = {
                    diff_id: layer
                    for image in self._store.images()
                    for diff_id, layer in zip(image.diff_ids, image.layers, strict=True)
                }
                for loaded in await asyncio.to_thread(self._read_archive, file, platform, known):
                    for line in image_archive.moves(loaded, self._store):
                        report({"stream": f"{line}\n"})
                    image = await self._loaded(loaded, report)
                    images.append(image)
                    shown = [f"Loaded image: {name.familiar}" for name in loaded.names]
                    for line in shown or [f"Loaded image ID: {image.id}"]:
                        report({"stream": f"{line}\n"})
                    self._tell("load", image, image.id)
        return images

    async def _loaded(self, loaded: image_archive.Loaded, report: Report) -> Image:
        return await self._ingest.image(
            loaded.config, loaded.layers, loaded.names, report, image_archive.parent_of(loaded, self._store),
            manifest=loaded.manifest, index=loaded.index,
        )  # fmt: skip

    def _read_archive(self, file: IO[bytes], platform: Platform | None, known: Layers) -> Archived:
        with self._spooled() as decompressed:
            file.seek(0)
            plain = file
            if compression.is_compressed(file.read(compression.HEAD)):
                file.seek(0)
                plain = decompressed
                for chunk in compression.chunks(file):
                    plain.write(chunk)
            plain.seek(0)
            reader = image_archive.ArchiveReader(plain, self._store.blobs, self._platform, platform, known)
            return reader.images()

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
            async with self.upkeep.adding(whole=True) as added:
                blob, diff_id = await asyncio.to_thread(importing.layer, self._store.blobs, file)
                document = importing.document(config, diff_id, message, made_for)
                image = await self._ingest.image(document, [blob], name, lambda _: None)
                added.append(image)
        self._tell("import", image, name[0].familiar if name else image.id)
        return image

    async def add_layer(
        self, base: Image, layer: AsyncIterator[bytes] | None, document: Callable[[Digest | None], bytes],
        name: Reference | None,
    ) -> Image:  # fmt: skip
        """An image made from another here: with one more layer, or none. ``document`` makes its configuration."""
        async with self.upkeep.adding(whole=True) as images:
            added: list[Descriptor] = []
            diff_id = None
            if layer is not None:
                with self._spooled() as file:
                    await self._spool(layer, file)
                    blob, diff_id = await asyncio.to_thread(importing.layer, self._store.blobs, file)
                added = [blob]
            names = [name] if name else []
            image = await self._ingest.image(
                document(diff_id), [*base.layers, *added], names, lambda _: None, parent_image=base.id
            )
            images.append(image)
        if name is not None:
            self._tell("tag", image, name.familiar)
        return image

    @contextlib.contextmanager
    def _spooled(self) -> Iterator[IO[bytes]]:
        try:
            with tempfile.TemporaryFile(dir=self._staging) as file:
                yield file
        except OSError as error:
            raise CortenError.from_os("write", f"a temporary file in {self._staging}", error) from error

    async def _spool(self, chunks: AsyncIterator[bytes], file: IO[bytes]) -> None:
        pending, size = list[bytes](), 0
        async for chunk in chunks:
            pending.append(chunk)
            size += len(chunk)
            if size >= _SPOOLED_AT_ONCE:  # another thread's turn takes as long as a small write
                await asyncio.to_thread(file.writelines, pending)
                pending, size = [], 0
        await asyncio.to_thread(file.writelines, pending)

    # --- out

    async def save(
        self, refs: Sequence[str], platform: Platform | None = None, since: str = ""
    ) -> AsyncIterator[bytes]:
        """The archive of images: those for one platform alone, without the layers that ``since`` has, if that is asked.
        Raises NotFound, InvalidInput before the first byte."""
        chosen: dict[Digest, dict[Reference, None]] = {}
        for image, names in (one for ref in refs for one in self._chosen(ref)):
            chosen.setdefault(image.id, {}).update(dict.fromkeys(names))
        if not chosen:
            raise InvalidInput("save images: none is named")
        for id in chosen:
            self._tell("save", self._store.get(id), id)
        writer = ArchiveWriter(self._store, self._store.resolve(since) if since else None, platform)
        async with self.upkeep.adding():
            whole = [(await self.offerings.whole(self._store.get(id)), list(names)) for id, names in chosen.items()]
        parts = writer.plan(whole)
        return in_threads(writer.write(parts))

    def _chosen(self, ref: str) -> Sequence[tuple[Image, Sequence[Reference]]]:
        """The image of a name or ID, or all of a repository without a tag, with their names. Raises NotFound."""
        repository = image_names.repository_of(ref)
        found = [(image, [name for name in image.references if name.tag and name.name == repository])
                 for image in self._store.images()]  # fmt: skip
        found = [(image, names) for image, names in found if names]
        if found:
            return found
        image = self._store.resolve(ref)
        return [(image, image_names.names_of(image, ref))]

    async def push(
        self, name: str, tag: str, auth: Mapping[str, str] | None, report: Report, *, alone: bool = False
    ) -> None:
        """Send an image, or all tags of a repository, to its registry; ``alone`` without the index that it came in.
        Raises NotFound, AccessDenied, Unavailable."""
        named = {reference: image for image in self._store.images() for reference in image.references}
        wanted = push.chosen(named, name, tag)
        reference = references.parse(name)
        report({"status": f"The push refers to repository [{reference.name}]"})
        if not wanted:
            raise NotFound(f"An image does not exist locally with the tag: {reference.familiar_name}")
        for one, image in wanted:
            async with self.upkeep.adding():
                by_digest = one.with_digest(await self._pusher.push(image, one, auth, report, alone=alone))
            if by_digest not in image.references:
                self._store.add_reference(image.id, by_digest)
            self._tell("push", image, one.familiar_name, actor=one.familiar)

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
        self._tell("tag", image, reference.familiar)
        return image

    async def remove(
        self, ref: str, *, force: bool = False, noprune: bool = False, users: Sequence[User] = ()
    ) -> Rows:
        """Untag, and delete with the last name: Docker's rows ``{"Untagged": …}`` and ``{"Deleted": …}``.

        Raises NotFound; Conflict when containers use it, or when it is named by its ID and has several names.
        """
        image = self._store.resolve(ref)
        by_name = self._name_in(image, ref)
        going = image_names.with_digests(image, by_name) if by_name is not None else []
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

    def _tell(self, action: str, image: Image, name: str, *, actor: str = "") -> None:
        """An event, which has the image's labels, as dockerd's do."""
        self._events.publish("image", action, actor or image.id, {**image.config.labels, "name": name})

    def _untag(self, image: Image, names: Sequence[Reference]) -> Rows:
        rows = []
        for name in names:
            self._store.untag(name)
            self._tell("untag", image, image.id)
            rows.append({"Untagged": name.familiar})
        return rows

    async def _delete(self, image: Image, users: Sequence[User], *, parents: bool) -> Rows:
        """Delete an image and, with ``parents``, those it was made from that nothing else needs."""
        rows = self._forget(image)
        if parents:
            rows += self._forget_parents(image, {id for id, _, _ in users})
        await self.upkeep.collect(id for id, _, _ in users)
        return rows

    def _forget_parents(self, image: Image, in_use: Collection[str]) -> Rows:
        """Those that an image was made from which nothing needs, now that it is gone."""
        rows: Rows = []
        above = self._store.by_id(image.parent)
        while above and not (above.references or above.id in in_use or self._store.children(above.id)):
            rows += self._forget(above)
            above = self._store.by_id(above.parent)
        return rows

    def _forget(self, image: Image) -> Rows:
        gone = self._store.remove(image.id)
        self._events.publish("image", "delete", image.id, {"name": image.id})
        return [{"Deleted": image.id}, *({"Deleted": str(chain_id)} for chain_id in gone)]

    async def add_built(self, config: bytes, blobs: Sequence[Descriptor], names: Sequence[Reference]) -> Image:
        """Record an image whose layers are here, and name it."""
        async with self.upkeep.adding() as added:
            image = await self._ingest.image(config, blobs, (), lambda _: None)
            for name in names:
                image = self._store.tag(image.id, name)
            added.append(image)
        for name in names:
            self._tell("tag", image, name.familiar)
        return image

    async def add_steps(self, steps: Sequence[Step]) -> None:
        """Record the images of a build's steps, whose layers are here: all or none."""
        async with self.upkeep.adding() as added:
            added += await self._ingest.steps(steps)

    def steps_of(self, id: str) -> Sequence[Image]:
        """The images that steps of builds here made of one; of '' those that they made of none."""
        return self._store.steps_of(id)

    def _evict(self, image: Image) -> None:
        self._untag(image, image.references)
        self._forget(image)

    async def prune(
        self, filters: Filters | None = None, used: Collection[str] = (), told: Told = lambda _: None
    ) -> tuple[Rows, int]:
        """Remove images that no container uses and none was made from: those without a name, with ``dangling=false``
        all. Filters: dangling, label, label!, until. The rows, and the bytes that came free."""
        wanted = check_filters(filters, ("dangling", "label", "label!", "until"))
        every = not is_true(wanted, "dangling", default=True)
        before = min((parse_timestamp(text) for text in wanted.get("until") or ()), default=None)
        rows: Rows = []
        kept = {*used, *(image.id for image in self.upkeep.pinned())}
        for image in self._store.images():
            if self._store.by_id(image.id) is None:  # it went with one that was made from it
                continue
            old = before is None or image.created_ns < before
            chosen = old and has_labels(image.config.labels, wanted) and (every or not image.repo_tags)
            if chosen and image.id not in kept and not self._store.children(image.id):
                rows += self._untag(image, image.references)
                rows += self._forget(image)
                rows += self._forget_parents(image, kept)
                told(image.id)
        reclaimed = await self.upkeep.collect(used)
        self._events.publish("image", "prune", "", {"reclaimed": str(reclaimed)})
        return rows, reclaimed


def _is_shipped(reference: Reference) -> bool:
    return reference.domain == DOCKER_HUB and reference.path == _SHIPPED and reference.tag == "latest"
