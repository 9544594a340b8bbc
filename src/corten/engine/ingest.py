"""From blobs that are in the store to an image: layers unpacked, the image recorded. The end of every way in."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from corten.errors import DataCorrupt
from corten.spec import digest as digests
from corten.spec import image as image_spec
from corten.spec.descriptor import OCI_LAYER, Descriptor
from corten.spec.digest import Digest
from corten.spec.image import Image
from corten.spec.reference import Reference
from corten.store.images import ImageStore, manifest_of
from corten.store.layers import Coming, Layer

Report = Callable[[dict[str, Any]], None]
"""Takes progress in the form of Docker's JSON stream. May be called from any thread."""
_REPORT_EVERY = 1 << 20
"""Bytes of a blob between two lines of progress."""


_AT_ONCE = 4
"""Layers that are unpacked at the same time, each by a process."""


class Cancelled(Exception):
    """The client is gone: the threads of a transfer stop at their next chunk."""


def progress_of(
    blob: Descriptor, status: str, report: Report, cancelled: threading.Event | None
) -> Callable[[int], None]:
    """Takes the bytes that are done of a blob, and reports them now and then. It raises Cancelled."""
    told = 0

    def progress(done: int) -> None:
        nonlocal told
        if cancelled is not None and cancelled.is_set():
            raise Cancelled
        if done - told >= _REPORT_EVERY or done == blob.size:
            told = done
            detail = {"current": done, "total": blob.size}
            report({"status": status, "progressDetail": detail, "id": digests.short(blob.digest)})

    return progress


def report_extracting(blob: Descriptor, report: Report, cancelled: threading.Event) -> Callable[[int], None]:
    """Takes the bytes of a blob that have been unpacked, and reports them now and then. It raises Cancelled."""
    return progress_of(blob, "Extracting", report, cancelled)


def report_owners(layer: Layer, blob: Descriptor, report: Report) -> None:
    """Say so when a layer's files could not be given to whom they belong."""
    if layer.disowned:
        report({"status": f"{layer.disowned} files of other owners are root's here: this user has a single id",
                "id": digests.short(blob.digest), "progressDetail": {}})  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """An image that a step of a build made of its ``parent``, '' for none."""

    config: bytes
    blobs: Sequence[Descriptor]
    diff_ids: Sequence[Digest]
    parent: str

    def layers(self, known: Mapping[Digest, Layer]) -> list[tuple[Descriptor, Layer]]:
        """Its layers, of those that are known by their chain IDs."""
        return [(blob, known[one]) for blob, one in zip(self.blobs, digests.chain_ids(self.diff_ids), strict=True)]


class Ingest:
    """Unpacks and records. Layers are unpacked side by side; those of an image get their names in order."""

    def __init__(self, store: ImageStore) -> None:
        self._store = store

    def layer(self, blob: Descriptor, diff_id: Digest, parent: Layer | None, report: Report) -> Layer:
        """Unpack one layer's blob. Blocks; call it in a thread. Raises DataCorrupt."""
        name = digests.short(blob.digest)

        def progress(done: int) -> None:
            report({"status": "Extracting", "id": name, "progressDetail": {"current": done, "total": blob.size}})

        layer = self._store.layers.unpack(self._store.blobs.path(blob.digest), diff_id, parent, progress)
        report_owners(layer, blob, report)
        return layer

    async def image(
        self, config: bytes, blobs: Sequence[Descriptor], names: Iterable[Reference], report: Report,
        parent_image: str = "", manifest: Descriptor | None = None, index: Descriptor | None = None,
    ) -> Image:  # fmt: skip
        """Record an image made of blobs that are here, under the ``manifest`` that it came with, or one of Corten's
        own. Raises DataCorrupt."""
        document = image_spec.decode(config)
        if len(document.diff_ids) != len(blobs):
            raise DataCorrupt(f"load image: {len(blobs)} layers, {len(document.diff_ids)} diff IDs")
        layers = await asyncio.to_thread(self._layers, blobs, document.diff_ids, report)
        await asyncio.to_thread(self._store.layers.sync)
        own = manifest is None or any(blob.media_type == OCI_LAYER for blob in blobs)
        if manifest is None:
            manifest = await asyncio.to_thread(self._manifest, config, blobs)
        return self._store.add(manifest, config, layers, names, parent_image, index=index, own_manifest=own)

    async def steps(self, steps: Sequence[Step]) -> list[Image]:
        """Record images of layers that are here, unpacked, each after the one that it was made from."""
        await asyncio.to_thread(self._store.layers.sync)
        known: dict[Digest, Layer] = {}
        for step in steps:
            new = [one for one in digests.chain_ids(step.diff_ids) if one not in known]
            known |= {one: self._store.layers.record(one) for one in new}
        return self._store.add_steps([(step.config, step.layers(known), step.parent) for step in steps])

    def _layers(
        self, blobs: Sequence[Descriptor], diff_ids: Sequence[Digest], report: Report
    ) -> list[tuple[Descriptor, Layer]]:
        chain = digests.chain_ids(diff_ids)
        largest_first = sorted(range(len(blobs)), key=lambda place: -blobs[place].size)
        layers: list[tuple[Descriptor, Layer]] = []
        with contextlib.ExitStack() as left, _threads() as pool:
            coming = {
                place: pool.submit(self._unpacked, left, blobs[place], diff_ids[place], report, lowest=place == 0)
                for place in largest_first
                if not self._store.layers.has(chain[place])
            }
            for place, blob in enumerate(blobs):
                parent = layers[-1][1] if layers else None
                arrived = coming[place].result() if place in coming else None
                layer = arrived.publish(parent) if arrived else self._store.layers.record(chain[place])
                report_owners(layer, blob, report)
                layers.append((blob, layer))
        return layers

    def _unpacked(
        self, left: contextlib.ExitStack, blob: Descriptor, diff_id: Digest, report: Report, *, lowest: bool
    ) -> Coming:
        path = self._store.blobs.path(blob.digest)
        coming = left.enter_context(self._store.layers.coming(path, blob.size, diff_id, lowest=lowest))
        coming.finish(progress_of(blob, "Extracting", report, None))
        return coming

    def _manifest(self, config: bytes, blobs: Sequence[Descriptor]) -> Descriptor:
        self._store.blobs.put(config)
        manifest, content = manifest_of(config, blobs)
        self._store.blobs.put(content)
        return manifest


@contextlib.contextmanager
def _threads() -> Iterator[concurrent.futures.ThreadPoolExecutor]:
    """What has not begun when the block is left does not begin any more."""
    pool = concurrent.futures.ThreadPoolExecutor(_AT_ONCE)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
