"""Pushing: the store opens blobs, the registry client sends those that are not there yet."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import threading
from collections.abc import Mapping

from corten.engine.ingest import Report, progress_of
from corten.engine.pull import credentials_of
from corten.registry.upload import Uploads
from corten.spec import digest as digests
from corten.spec import reference as references
from corten.spec.descriptor import Descriptor
from corten.spec.image import Image
from corten.spec.reference import Reference
from corten.store.images import ImageStore

_UPLOADS = 4


class Pusher:
    """Pushes images out of one store."""

    def __init__(self, store: ImageStore) -> None:
        self._store = store

    async def push(
        self, image: Image, reference: Reference, auth: Mapping[str, str] | None, report: Report
    ) -> None:
        """Send an image under a tag. Raises AccessDenied, Unavailable, CortenError."""
        cancelled = threading.Event()
        try:
            await asyncio.to_thread(self._push, image, reference, auth, report, cancelled)
        finally:
            cancelled.set()

    def _push(
        self, image: Image, reference: Reference, auth: Mapping[str, str] | None, report: Report,
        cancelled: threading.Event,
    ) -> None:  # fmt: skip
        content = self._store.manifest(image)
        with Uploads(reference, credentials_of(auth)) as uploads:
            uploads.ping()
            for layer in image.layers:
                report({"status": "Preparing", "progressDetail": {}, "id": digests.short(layer.digest)})
            with concurrent.futures.ThreadPoolExecutor(_UPLOADS) as pool:
                send = functools.partial(self._layer, uploads, report=report, cancelled=cancelled)
                try:
                    # A layer that occurs twice is sent once.
                    list(pool.map(send, {layer.digest: layer for layer in image.layers}.values()))
                except BaseException:
                    cancelled.set()
                    raise
            config = Descriptor("", image.id, len(image.raw))
            if not uploads.has(config):
                uploads.blob(config, lambda: self._store.blobs.open(image.id), lambda _: None)
            uploads.manifest(reference.tag, content, image.manifest.media_type)
        digest, size = image.manifest.digest, len(content)
        report({"status": f"{reference.tag}: digest: {digest} size: {size}"})
        report({"progressDetail": {}, "aux": {"Tag": reference.tag, "Digest": digest, "Size": size}})

    def _layer(self, uploads: Uploads, blob: Descriptor, *, report: Report, cancelled: threading.Event) -> None:
        name = digests.short(blob.digest)
        if uploads.has(blob):
            report({"status": "Layer already exists", "progressDetail": {}, "id": name})
            return
        progress = progress_of(blob, "Pushing", report, cancelled)
        uploads.blob(blob, lambda: self._store.blobs.open(blob.digest), progress)
        report({"status": "Pushed", "progressDetail": {}, "id": name})


def chosen(image_of: Mapping[Reference, Image], name: str, tag: str) -> list[tuple[Reference, Image]]:
    """What a push of a name means: the tag that it or the client names, or all tags of the repository. Raises
    InvalidInput."""
    reference = references.parse(name)
    if tag:
        reference = reference.with_tag(tag)
    if reference.tag:
        return [(reference, image_of[reference])] if reference in image_of else []
    return sorted((one, image) for one, image in image_of.items() if one.name == reference.name and one.tag)
