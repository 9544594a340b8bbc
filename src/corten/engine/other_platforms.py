"""The rest of an index: what it names for other platforms than the one that was pulled, and beside its images, kept as
it came, to the byte; of indexes in it as well.

Nothing of it is unpacked. It is there to be pushed, saved and served whole; with the index, the images of other
platforms stay and go.
"""

from __future__ import annotations

import concurrent.futures
import functools
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

from corten.engine.ingest import Report, progress_of
from corten.engine.pull import bring_index
from corten.errors import DataCorrupt, Unsupported
from corten.spec import descriptor as descriptors
from corten.spec import digest as digests
from corten.spec import nesting
from corten.spec.descriptor import INDEXES, Descriptor, Index
from corten.store.blobs import BlobStore
from corten.store.indexes import Package

if TYPE_CHECKING:
    from corten.registry.client import Repository

_AT_ONCE = 4
"""Blobs that come at the same time, each over a connection of its own."""


def bring(
    blobs: BlobStore, repository: Repository, index: Index, report: Report, cancelled: threading.Event
) -> None:
    """Bring all that an index names and is not here. Raises NotFound, DataCorrupt, Unavailable."""
    wanted: dict[str, Descriptor] = {}
    for entry in nesting.unfold(index, functools.partial(bring_index, blobs, repository)):
        if entry.media_type not in INDEXES:
            wanted.update((blob.digest, blob) for blob in _named(blobs, repository, entry))
    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        coming = [pool.submit(_blob, blobs, repository, blob, report, cancelled)
                  for blob in sorted(wanted.values(), key=lambda blob: -blob.size)]  # fmt: skip
        try:
            for one in coming:
                one.result()
        except BaseException:
            cancelled.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _named(blobs: BlobStore, repository: Repository, entry: Descriptor) -> Iterable[Descriptor]:
    """Bring a manifest of an index; what it names."""
    found = repository.manifest(entry.digest)
    if len(found.content) != entry.size:
        raise DataCorrupt(f"manifest {entry.digest}: {len(found.content)} bytes, the index says {entry.size}")
    blobs.put(found.content)
    try:
        value = descriptors.decode_any(found.content, found.media_type)
    except Unsupported:  # of a kind that names no blob that we know of
        return ()
    if isinstance(value, Index):
        raise DataCorrupt(f"index {entry.digest}: the one around it calls it something else")
    return Package(entry, found.content, value).blobs


def _blob(
    blobs: BlobStore, repository: Repository, blob: Descriptor, report: Report, cancelled: threading.Event
) -> None:
    short = digests.short(blob.digest)
    if blobs.has(blob.digest):
        report({"status": "Already exists", "id": short, "progressDetail": {}})
        return
    with blobs.download(blob.digest, blob.size) as writer:
        repository.blob(blob, writer, progress_of(blob, "Downloading", report, cancelled))
        writer.commit()
    report({"status": "Download complete", "id": short, "progressDetail": {}})
