"""The layers of a pull on their way in: each streams from its socket into its blob, and from there, while that grows,
into a process of its own that decompresses and unpacks it. They come side by side; only names are given in order."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from corten.engine.ingest import Report, progress_of, report_extracting, report_owners
from corten.errors import DataCorrupt
from corten.spec import digest as digests
from corten.spec.descriptor import Descriptor
from corten.spec.digest import Digest
from corten.store.blobs import BlobWriter
from corten.store.images import ImageStore
from corten.store.layers import Coming, Layer

if TYPE_CHECKING:
    from corten.registry.client import Repository

_AT_ONCE = 4
"""Layers that come at the same time: connections, and processes."""
_STEP = 1 << 18
"""Bytes of a blob between two words to the process that reads along."""

Publish = Callable[[Layer | None], Layer]
"""Gives a layer its name on top of its parent."""


@dataclasses.dataclass(frozen=True, slots=True)
class Wanted:
    """A layer that an image needs."""

    blob: Descriptor
    diff_id: Digest
    chain_id: Digest


class Delivery:
    """Brings layers from one repository. Leaving the block forgets what has arrived and got no name."""

    def __init__(
        self, store: ImageStore, repository: Repository, report: Report, cancelled: threading.Event
    ) -> None:
        self._store, self._repository = store, repository
        self._report, self._cancelled = report, cancelled
        self._left = contextlib.ExitStack()
        self._pool = concurrent.futures.ThreadPoolExecutor(_AT_ONCE)
        self._turns: dict[Digest, threading.Lock] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=kind is not None)
        self._left.close()

    def is_here(self, one: Wanted) -> bool:
        """Whether nothing of it is to be brought."""
        return self._store.layers.has(one.chain_id) and self._is_complete(one)

    def order(self, wanted: Sequence[Wanted]) -> list[concurrent.futures.Future[Publish]]:
        """Have them brought, the largest first; what comes of each, in the order of ``wanted``. A result raises what
        stopped it."""
        self._turns = {one.blob.digest: threading.Lock() for one in wanted}
        places = sorted(range(len(wanted)), key=lambda place: -wanted[place].blob.size)
        futures = {place: self._pool.submit(self._bring, wanted[place], lowest=place == 0) for place in places}
        return [futures[place] for place in range(len(wanted))]

    # --- in a thread of its own

    def _bring(self, one: Wanted, *, lowest: bool) -> Publish:
        if self.is_here(one):
            return lambda _: self._store.layers.record(one.chain_id)
        with self._turns[one.blob.digest]:  # an image may have the same blob twice
            if not self._store.blobs.has(one.blob.digest):
                return self._download(one, lowest=lowest)
        self._tell("Already exists", one)
        path = self._store.blobs.path(one.blob.digest)
        return self._unpack(one, self._coming(one, path, lowest=lowest))

    def _is_complete(self, one: Wanted) -> bool:
        return not self._store.keep_blobs or self._store.blobs.has(one.blob.digest)

    def _download(self, one: Wanted, *, lowest: bool) -> Publish:
        resumed: list[int] = []
        try:
            return self._attempt(one, resumed, lowest=lowest)
        except DataCorrupt:
            if not any(resumed):
                raise
        return self._attempt(one, [], lowest=lowest)  # what an earlier attempt has left was wrong, and is gone

    def _attempt(self, one: Wanted, resumed: list[int], *, lowest: bool) -> Publish:
        progress = progress_of(one.blob, "Downloading", self._report, self._cancelled)
        with self._store.blobs.download(one.blob.digest, one.blob.size) as writer:
            resumed.append(writer.resumed)
            coming = None
            if not self._store.layers.has(one.chain_id):
                coming = self._coming(one, writer.path, lowest=lowest)
            self._repository.blob(one.blob, _Shared(writer, coming), progress)
            self._tell("Verifying Checksum", one)
            if self._store.keeps(coming):
                writer.commit()
            else:
                writer.verify()
            self._tell("Download complete", one)
            publish = self._unpack(one, coming)
        if not self._store.keeps(coming):
            self._store.blobs.discard(one.blob.digest)
        return publish

    def _coming(self, one: Wanted, path: Path, *, lowest: bool) -> Coming:
        return self._left.enter_context(
            self._store.layers.coming(path, one.blob.size, one.diff_id, lowest=lowest)
        )

    def _unpack(self, one: Wanted, coming: Coming | None) -> Publish:
        if coming is not None:
            coming.finish(report_extracting(one.blob, self._report, self._cancelled))

        def publish(parent: Layer | None) -> Layer:
            if coming is None or self._store.layers.has(one.chain_id):
                return self._store.layers.record(one.chain_id)
            layer = coming.publish(parent)
            report_owners(layer, one.blob, self._report)
            return layer

        return publish

    def _tell(self, status: str, one: Wanted) -> None:
        self._report({"status": status, "id": digests.short(one.blob.digest), "progressDetail": {}})


class _Shared:
    """Where a download goes: into the blob, and word of it to who reads along."""

    def __init__(self, writer: BlobWriter, coming: Coming | None) -> None:
        self._writer, self._coming = writer, coming
        self._told = 0
        self._tell()

    @property
    def written(self) -> int:
        """Bytes that are there, those of an earlier attempt, too."""
        return self._writer.written

    def write(self, data: bytes) -> None:
        """Append. Raises DataCorrupt, CortenError."""
        self._writer.write(data)
        if self.written - self._told >= _STEP:
            self._tell()

    def restart(self) -> None:
        """Forget what was written."""
        self._writer.restart()

    def _tell(self) -> None:
        if self._coming is not None and self.written > self._told:
            self._writer.flush()
            self._told = self.written
            self._coming.there(self.written)
