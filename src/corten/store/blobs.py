"""Blobs by digest: what is in the store has been verified, and what has not been verified cannot be seen.

A blob is written to ``staging``, hashed while it is written, and linked into ``blobs/<algorithm>/`` by rename
after its digest and size were found right and its bytes are on disk. A reader hashes again: a disk may lie.

One that is downloaded is written to ``partial``, under its digest. What broke off there, or was killed, is gone on with
by the next who wants the blob, until it is too old.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO

from corten.errors import CortenError, DataCorrupt, NotFound
from corten.spec import digest as digests
from corten.spec.digest import Digest
from corten.store.leases import Leases

_CHUNK = 1 << 18
_LONGEST_WAIT = 24 * 3600.0
"""Seconds that what broke off is kept."""


class BlobWriter:
    """A blob on its way in. Nothing is kept unless :meth:`commit` returns."""

    def __init__(
        self, store: BlobStore, staged: IO[bytes], path: Path, expected: Digest | None, size: int | None
    ) -> None:
        self._store = store
        self._staged = staged
        self._path = path
        self._expected = expected
        self._size = size
        self._hash = _hasher(expected)
        self.written = self.resumed = 0

    @property
    def path(self) -> Path:
        """Where it is written."""
        return self._path

    def resume(self) -> None:
        """Go on after what the file holds already."""
        while (chunk := self._staged.read(_CHUNK)) and (self._size is None or self.written < self._size):
            self._hash.update(chunk)
            self.written += len(chunk)
        if self._size is not None and self.written > self._size:
            self.restart()
        self.resumed = self.written

    def write(self, data: bytes) -> None:
        """Append. Raises DataCorrupt as soon as there is more than the stated size."""
        self.written += len(data)
        if self._size is not None and self.written > self._size:
            raise DataCorrupt(f"blob {self._name()}: more than the {self._size} bytes it should have")
        self._hash.update(data)
        with self._naming("write"):
            self._staged.write(data)

    def restart(self) -> None:
        """Forget what was written: a peer that cannot resume begins anew. Who reads along keeps what there was until it
        is written over."""
        self._staged.seek(0)
        self._hash = _hasher(self._expected)
        self.written = self.resumed = 0

    def flush(self) -> None:
        """Let what was written be seen by who reads along. Raises CortenError."""
        with self._naming("write"):
            self._staged.flush()

    def commit(self) -> Digest:
        """Verify, sync and make visible. Raises DataCorrupt."""
        found = self.verify()
        with self._naming("commit"):
            os.fchmod(self._staged.fileno(), 0o444)
            os.fsync(self._staged.fileno())
            self._store.publish(self._path, found)
        return found

    def verify(self) -> Digest:
        """The digest of what was written, which is all. Raises DataCorrupt."""
        if self._size is not None and self.written != self._size:
            raise DataCorrupt(f"blob {self._name()}: truncated at {self.written} of {self._size} bytes")
        found = Digest(f"{self._hash.name}:{self._hash.hexdigest()}")
        if self._expected and found != self._expected:
            raise DataCorrupt(f"blob {self._name()}: digest mismatch: its content is {found}")
        self.flush()
        with self._naming("write"):
            self._staged.truncate(self.written)
        return found

    @contextlib.contextmanager
    def _naming(self, operation: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise CortenError.from_os(operation, f"blob {self._name()}", error) from error

    def _name(self) -> str:
        return self._expected or "of unknown digest"


class BlobStore:
    """The blobs of one data root."""

    def __init__(self, root: Path) -> None:
        self._blobs = root / "blobs"
        self.leases = Leases()
        self._staging = root / "staging"
        self._partial = root / "partial"
        self._staging.mkdir(mode=0o700, parents=True, exist_ok=True)

    @property
    def directory(self) -> Path:
        """Where they are, by algorithm and hex."""
        return self._blobs

    def path(self, digest: Digest) -> Path:
        """Where a blob is, or would be."""
        return self._blobs.joinpath(*digests.split(digest))

    def has(self, digest: Digest) -> bool:
        """Whether the blob is here; while content is brought in, it stays then."""
        self.leases.touch(digest)
        return self.path(digest).exists()

    def size(self, digest: Digest) -> int:
        """Bytes of a blob. Raises NotFound."""
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError:
            raise NotFound(f"blob {digest}: not in the store") from None

    def read(self, digest: Digest, *, limit: int) -> bytes:
        """A whole small blob, verified. Raises NotFound, and DataCorrupt beyond ``limit`` bytes."""
        if self.size(digest) > limit:
            raise DataCorrupt(f"blob {digest}: {self.size(digest)} bytes are over the limit of {limit}")
        return b"".join(self.chunks(digest))

    def chunks(self, digest: Digest) -> Iterator[bytes]:
        """A blob's bytes; the last chunk is given out only when the digest is right. Raises DataCorrupt."""
        hashed = digests.hasher(digest)
        pending = b""
        with self._open(digest) as file:
            while chunk := file.read(_CHUNK):
                hashed.update(chunk)
                if pending:
                    yield pending
                pending = chunk
        if not digests.matches(digest, hashed):
            raise DataCorrupt(f"blob {digest}: damaged on disk", hint="remove the image and pull it again")
        if pending:
            yield pending

    def open(self, digest: Digest) -> BinaryIO:
        """A blob's file, not verified: for a peer that verifies it. Raises NotFound."""
        return self._open(digest)

    def put(self, content: bytes) -> Digest:
        """Store some bytes."""
        digest = digests.of(content)
        if not self.has(digest):
            with self.writer(digest, len(content)) as writer:
                writer.write(content)
                writer.commit()
        return digest

    @contextlib.contextmanager
    def writer(self, digest: Digest | None = None, size: int | None = None) -> Iterator[BlobWriter]:
        """A writer for a blob of this digest and size (None: not known before). Raises CortenError."""
        try:
            descriptor, name = tempfile.mkstemp(dir=self._staging, prefix="blob-")
        except OSError as error:
            raise CortenError.from_os("create", f"a file in {self._staging}", error) from error
        try:
            with open(descriptor, "wb") as staged:
                yield BlobWriter(self, staged, Path(name), digest, size)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)

    @contextlib.contextmanager
    def download(self, digest: Digest, size: int) -> Iterator[BlobWriter]:
        """A writer for a blob that is to be downloaded, which has what an earlier attempt left; what is not complete
        when the block is left stays for the next, unless it is found to be wrong. Raises CortenError."""
        path = self._partial / digest.replace(":", "-")
        try:
            descriptor = self._locked(path)
        except OSError as error:
            raise CortenError.from_os("create", f"a file in {self._partial}", error) from error
        with open(descriptor, "r+b") as file:
            writer = BlobWriter(self, file, path, digest, size)
            writer.resume()
            try:
                yield writer
            except DataCorrupt:
                path.unlink(missing_ok=True)
                raise

    def _locked(self, path: Path) -> int:
        """The file, which nobody else writes to; one that was given its name as a blob meanwhile is not it. Raises
        OSError."""
        self._partial.mkdir(mode=0o700, exist_ok=True)
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), path.lstat()):
                    return descriptor
            os.close(descriptor)

    def discard(self, digest: Digest) -> None:
        """Forget what a download has left."""
        (self._partial / digest.replace(":", "-")).unlink(missing_ok=True)

    def expire(self) -> None:
        """Forget what broke off too long ago."""
        with contextlib.suppress(FileNotFoundError):
            for path in self._partial.iterdir():
                if time.time() - path.stat().st_mtime > _LONGEST_WAIT:
                    path.unlink()

    def publish(self, staged: Path, digest: Digest) -> None:
        """Give a verified, synced file its name."""
        self.leases.touch(digest)
        target = self.path(digest)
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.rename(staged, target)
        _sync_directory(target.parent)

    def remove(self, digest: Digest) -> int:
        """Forget a blob; its size, 0 when it was not there, or is being brought in."""
        path = self.path(digest)
        with self.leases.unless_kept(digest) as free:
            try:
                size = path.stat().st_size if free else 0
                if free:
                    path.unlink()
            except FileNotFoundError:
                return 0
        return size

    def age(self, digest: Digest) -> float:
        """Seconds since a blob came; 0 for one that is not here."""
        try:
            return max(0.0, time.time() - self.path(digest).stat().st_mtime)
        except FileNotFoundError:
            return 0.0

    def all(self) -> Iterator[Digest]:
        """Every blob that is here."""
        for algorithm in sorted(self._blobs.iterdir()) if self._blobs.exists() else ():
            for path in sorted(algorithm.iterdir()):
                yield Digest(f"{algorithm.name}:{path.name}")

    def _open(self, digest: Digest) -> BinaryIO:
        try:
            return self.path(digest).open("rb")
        except FileNotFoundError:
            raise NotFound(f"blob {digest}: not in the store") from None


def _hasher(digest: Digest | None) -> hashlib._Hash:
    return digests.hasher(digest) if digest else hashlib.sha256()


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
