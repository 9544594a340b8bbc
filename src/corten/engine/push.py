"""Pushing: the store opens blobs, the registry client sends those that are not there yet.

What came with a manifest is pushed under that, to the byte, and under the index that it came in where all of that is
here or there already. A manifest that was written here (load of a docker archive, import, commit) names uncompressed
layers: they are compressed first, reproducibly, and the image stands under the new manifest from then on.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import functools
import threading
from collections.abc import Mapping, Sequence

from corten.engine.ingest import Report, progress_of
from corten.engine.outgoing import Outgoing
from corten.engine.pull import credentials_of
from corten.registry.upload import Uploads
from corten.spec import digest as digests
from corten.spec import reference as references
from corten.spec.descriptor import Descriptor
from corten.spec.digest import Digest
from corten.spec.image import Image
from corten.spec.reference import Reference
from corten.store import indexes
from corten.store.images import ImageStore
from corten.store.indexes import Package, Part

_UPLOADS = 4
_MOST_SOURCES = 3


@dataclasses.dataclass(frozen=True, slots=True)
class _Push:
    """One push under way; ``sources`` are repositories that have a blob, by its digest."""

    uploads: Uploads
    report: Report
    cancelled: threading.Event
    sources: Mapping[Digest, Sequence[str]]


class Pusher:
    """Pushes images out of one store."""

    def __init__(self, store: ImageStore) -> None:
        self._store = store
        self._outgoing = Outgoing(store)

    async def push(
        self, image: Image, reference: Reference, auth: Mapping[str, str] | None, report: Report, *, alone: bool = False
    ) -> Digest:
        """Send an image under a tag, ``alone`` without the index that it came in; the digest that the tag has there.
        Raises AccessDenied, Unavailable, CortenError."""
        sources = self._sources(reference)
        known = self._outgoing.compressed()
        package = await asyncio.to_thread(self._outgoing.packed, image, known, report)
        if package.manifest.digest != image.manifest.digest:
            image = self._store.repack(image.id, package.manifest, package.value.layers)
        cancelled = threading.Event()
        try:
            return await asyncio.to_thread(
                self._push, image, package, reference, auth, report, cancelled, sources, alone
            )
        finally:
            cancelled.set()

    def _sources(self, reference: Reference) -> Mapping[Digest, Sequence[str]]:
        """The repositories of the same registry from which, or to which, blobs that are here went."""
        found: dict[Digest, list[str]] = {}
        for image in self._store.images():
            paths = {one.path for one in image.references if one.domain == reference.domain and one.digest}
            for layer in image.layers:
                found.setdefault(layer.digest, []).extend(sorted(paths - {reference.path}))
        return {digest: list(dict.fromkeys(paths))[:_MOST_SOURCES] for digest, paths in found.items()}

    # --- in a thread

    def _push(
        self, image: Image, package: Package, reference: Reference, auth: Mapping[str, str] | None, report: Report,
        cancelled: threading.Event, sources: Mapping[Digest, Sequence[str]], alone: bool,
    ) -> Digest:  # fmt: skip
        wanted = {blob.digest for blob in package.blobs}
        paths = sorted({path for digest, paths in sources.items() if digest in wanted for path in paths})
        with Uploads(reference, credentials_of(auth), sources=paths) as uploads:
            uploads.ping()
            push = _Push(uploads, report, cancelled, sources)
            index = None if alone or image.index is None else self._index(push, image.index)
            if index is None:
                self._blobs(push, package)
                return self._name(push, reference, package.manifest, package.content)
            content, parts = index
            for one in parts:
                self._blobs(push, one)
                uploads.manifest(one.manifest.digest, one.content, one.manifest.media_type)
            assert image.index is not None
            return self._name(push, reference, image.index, content)

    def _index(self, push: _Push, index: Descriptor) -> tuple[bytes, list[Part]] | None:
        """An index, and what of it must be sent, in that order; None when a part is neither here nor there."""
        blobs = self._store.blobs
        content, _ = indexes.read(blobs, index)
        parts = list[Part]()
        for entry in indexes.unfold(blobs, index):
            part = indexes.part(blobs, entry)
            if part is not None and not part.missing(blobs):
                parts.append(part)
            elif not push.uploads.has_manifest(entry):
                push.report({"status": (
                    f"Not all platforms of {digests.short(index.digest)} are here: "
                    "the image of this platform is pushed alone"
                )})  # fmt: skip
                return None
        return content, parts

    def _blobs(self, push: _Push, part: Part) -> None:
        layers = part.blobs[:-1]
        for layer in layers:
            push.report({"status": "Preparing", "progressDetail": {}, "id": digests.short(layer.digest)})
        with concurrent.futures.ThreadPoolExecutor(_UPLOADS) as pool:
            try:
                # A layer that occurs twice is sent once.
                list(pool.map(functools.partial(self._layer, push), {one.digest: one for one in layers}.values()))
            except BaseException:
                push.cancelled.set()
                raise
        for config in part.blobs[-1:]:
            if not push.uploads.has(config):
                push.uploads.blob(config, functools.partial(self._store.blobs.open, config.digest), lambda _: None)

    def _name(self, push: _Push, reference: Reference, manifest: Descriptor, content: bytes) -> Digest:
        push.uploads.manifest(reference.tag, content, manifest.media_type)
        digest, size = manifest.digest, len(content)
        push.report({"status": f"{reference.tag}: digest: {digest} size: {size}"})
        push.report({"progressDetail": {}, "aux": {"Tag": reference.tag, "Digest": digest, "Size": size}})
        return digest

    def _layer(self, push: _Push, blob: Descriptor) -> None:
        name = digests.short(blob.digest)
        if push.uploads.has(blob):
            push.report({"status": "Layer already exists", "progressDetail": {}, "id": name})
            return
        progress = progress_of(blob, "Pushing", push.report, push.cancelled)
        mounted = push.uploads.blob(
            blob, lambda: self._store.blobs.open(blob.digest), progress, push.sources.get(blob.digest, ())
        )
        push.report({"status": f"Mounted from {mounted}" if mounted else "Pushed", "progressDetail": {}, "id": name})


def chosen(image_of: Mapping[Reference, Image], name: str, tag: str) -> list[tuple[Reference, Image]]:
    """What a push of a name means: the tag that it or the client names, or all tags of the repository. Raises
    InvalidInput."""
    reference = references.parse(name)
    if tag:
        reference = reference.with_tag(tag)
    if reference.tag:
        return [(reference, image_of[reference])] if reference in image_of else []
    return sorted((one, image) for one, image in image_of.items() if one.name == reference.name and one.tag)
