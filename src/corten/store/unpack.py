"""Unpacking one layer in a process of its own: strangers' bytes are decompressed and parsed elsewhere.

:class:`Unpacking` is the engine's side. The process reads one :class:`Request` from its standard input, then how much
of the blob is there: a line with a number of bytes whenever it is more, and ``end`` when it is all. So it can work on
a blob that is still being downloaded. It answers with lines of JSON: ``{"read": bytes}`` as it goes, and at last
``{"diff_id": …, "size": …}`` or ``{"error": …, "message": …}``. When the engine dies it is told so by the end of its
input, or a broken pipe, and leaves.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import IO, Any, Protocol, Self

from corten.errors import CortenError, DataCorrupt
from corten.spec.digest import Digest

MAX_BYTES = 256 << 30
MAX_MEMBERS = 4_000_000
MOST_MEMORY = 4 << 30
"""Bytes of the process: names are held in memory, and a stranger says how many there are."""
_STEP = 1 << 19
_MOST_REPORTS = 1000
"""Of the progress of a blob: they have room in a pipe that nobody reads before the blob is there."""
_PROGRAM = "import sys; sys.path[:] = {path!r}; from corten.store.unpack import main; main()"
_KINDS = {"DataCorrupt": DataCorrupt}


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """One layer: its blob, what to fill, and in which form. ``lowest``: no layer is below."""

    blob: str
    target: str
    size: int
    """Bytes of the blob, when it is complete."""
    form: str = "overlay"
    lowest: bool = True
    user_xattrs: bool = False
    keep_owners: bool = True
    algorithm: str = "sha256"
    max_bytes: int = MAX_BYTES
    """Of the archive, decompressed: what a small bomb may grow to."""
    max_members: int = MAX_MEMBERS


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """The digest of the decompressed archive and its bytes, those of the files in it, how many had to change their
    owner, and the directories that it implies: path and place."""

    diff_id: Digest
    archive: int
    size: int
    disowned: int = 0
    implied: tuple[tuple[str, int], ...] = ()


class Unpacking:
    """A process that unpacks. Leaving the block without a result ends it."""

    def __init__(self, request: Request) -> None:
        self._request, self._is_over = request, False
        # Opened here: by the time that the process looks, it may have another name.
        blob = os.open(request.blob, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._process = self._run(blob)
        finally:
            os.close(blob)
        self._say(json.dumps({**dataclasses.asdict(request), "blob": f"/proc/self/fd/{blob}"}))

    def _run(self, blob: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-I", "-c", _PROGRAM.format(path=sys.path)]
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/", env={},
            start_new_session=True, pass_fds=(blob,),
        )  # fmt: skip

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # what it says at its end tells why
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()

    def there(self, size: int) -> None:
        """So many bytes of the blob are on disk."""
        self._say(str(size))

    def result(self, progress: Callable[[int], None]) -> Result:
        """The blob is complete: wait until it is unpacked. Raises DataCorrupt, CortenError.

        ``progress`` hears the bytes of the blob that have been read. An exception out of it ends the process: it is
        how a pull is cancelled.
        """
        self._say("end")
        answers, complaints = self._process.stdout, self._process.stderr
        assert answers is not None
        assert complaints is not None
        for line in answers:
            answer = json.loads(line)
            if "read" in answer:
                progress(answer["read"])
            elif "error" in answer:
                raise _KINDS.get(answer["error"], CortenError)(answer["message"])
            else:
                self._is_over = True
                return _result(answer)
        status, words = self._process.wait(), complaints.read().decode(errors="replace")
        raise CortenError(f"unpack {self._request.blob}: its process ended with status {status}: {words[-2000:]}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._is_over:
            self._process.kill()
        with self._process:  # closes the pipes, and waits
            pass


def _result(answer: dict[str, Any]) -> Result:
    implied = tuple((str(path), int(place)) for path, place in answer.pop("implied"))
    return Result(**answer, implied=implied)


def main() -> None:
    """The process: one request in, one answer out."""
    with contextlib.suppress(OSError, ValueError):  # a lower limit is there already
        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    request = Request(**json.loads(sys.stdin.buffer.readline()))
    try:
        answer = dataclasses.asdict(unpack(request, sys.stdin.buffer, lambda read: _say({"read": read})))
    except BrokenPipeError:
        os._exit(1)
    except CortenError as error:
        answer = {"error": type(error).__name__, "message": error.message}
    except MemoryError:
        answer = {"error": "DataCorrupt", "message": "unpack layer: it takes more memory than there is"}
    _say(answer)


def _say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


class Consumer(Protocol):
    """Makes a layer of an archive's bytes."""

    @property
    def size(self) -> int:
        """Bytes of the files, holes included."""

    @property
    def disowned(self) -> int:
        """Members whose owner could not be kept."""

    def take(self, data: bytes) -> None:
        """The next bytes. Raises DataCorrupt, CortenError."""

    def finish(self) -> list[tuple[tuple[bytes, ...], int]]:
        """There is no more. The implied directories, each with its place."""


def unpack(request: Request, orders: IO[bytes], progress: Callable[[int], None]) -> Result:
    """Unpack in this process; ``orders`` say how much of the blob is there."""
    from corten.store import compression

    os.umask(0)
    hashed, total = hashlib.new(request.algorithm), 0
    with open(request.blob, "rb") as blob, consumer(request) as taker:
        for chunk in compression.chunks(_Growing(blob, orders, request.size, progress)):
            total += len(chunk)
            if total > request.max_bytes:
                raise DataCorrupt(f"unpack layer: it grows beyond {request.max_bytes} bytes")
            hashed.update(chunk)
            taker.take(chunk)
        implied = tuple((os.fsdecode(b"/".join(parts)), place) for parts, place in taker.finish())
        diff_id = Digest(f"{hashed.name}:{hashed.hexdigest()}")
        return Result(diff_id, total, taker.size, taker.disowned, implied)


@contextlib.contextmanager
def consumer(request: Request) -> Iterator[Consumer]:
    """What the form asked for is made by; only its own code is loaded."""
    if request.form == "erofs":
        from corten.store.erofs import Writer

        descriptor = os.open(request.target, os.O_RDWR | os.O_CLOEXEC)
        try:
            yield Writer(descriptor, lowest=request.lowest, max_members=request.max_members)
        finally:
            os.close(descriptor)
        return
    from corten.store.extract import Directory, Policy

    policy = Policy(request.user_xattrs, request.keep_owners, plain=request.form == "copy")
    with Directory(request.target, policy, lowest=request.lowest, max_members=request.max_members) as directory:
        yield directory


class _Growing:
    """A file that is still being written; its reading is reported."""

    def __init__(self, file: IO[bytes], orders: IO[bytes], size: int, progress: Callable[[int], None]) -> None:
        self._file, self._orders, self._progress = file, orders, progress
        self._step = max(_STEP, size // _MOST_REPORTS)
        self._read = self._said = self._there = 0
        self._complete = False

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes, when there are some; b'' at the end."""
        while self._read >= self._there and not self._complete:
            self._hear()
        data = self._file.read(size if self._complete else min(size, self._there - self._read))
        self._read += len(data)
        if self._read - self._said >= self._step:
            self._said = self._read
            self._progress(self._read)
        return data

    def _hear(self) -> None:
        order = self._orders.readline().strip()
        if not order:  # whoever wanted it is gone
            os._exit(1)
        if order == b"end":
            self._complete = True
        else:
            self._there = int(order)
