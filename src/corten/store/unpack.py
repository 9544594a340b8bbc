"""Unpacking one layer in a process of its own: strangers' bytes are decompressed and parsed elsewhere.

:func:`run` is the engine's side. The process reads one :class:`Request` from its standard input and answers
with lines of JSON: ``{"read": bytes}`` as it goes, and at last ``{"diff_id": …, "size": …}`` or
``{"error": …, "message": …}``. When the engine dies it is told so by a broken pipe, and leaves.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import IO, Any

from corten.errors import CortenError, DataCorrupt
from corten.spec.digest import Digest
from corten.store import compression
from corten.store.extract import Extractor, Policy
from corten.wire import tar

MAX_BYTES = 256 << 30
MAX_MEMBERS = 4_000_000
_STEP = 1 << 19
_PROGRAM = "import sys; sys.path[:] = {path!r}; from corten.store.unpack import main; main()"


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """One layer: its blob, the empty directory to fill, the directories of the layers below, top first."""

    blob: str
    target: str
    lowers: tuple[str, ...] = ()
    user_xattrs: bool = False
    keep_owners: bool = True
    algorithm: str = "sha256"
    max_bytes: int = MAX_BYTES
    """Of the archive, decompressed: what a small bomb may grow to."""
    max_members: int = MAX_MEMBERS


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """The digest of the decompressed archive, the bytes of the files in it, and how many had to change their owner."""

    diff_id: Digest
    size: int
    disowned: int = 0


def run(request: Request, progress: Callable[[int], None]) -> Result:
    """Unpack in a new process. Raises what it raises: DataCorrupt, CortenError.

    An exception out of ``progress`` ends the process: it is how a pull is cancelled.
    """
    command = [sys.executable, "-I", "-c", _PROGRAM.format(path=sys.path)]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd="/",
        env={},
        start_new_session=True,
    ) as process:
        try:
            return _follow(process, request, progress)
        except BaseException:
            process.kill()
            raise


def _follow(process: subprocess.Popen[bytes], request: Request, progress: Callable[[int], None]) -> Result:
    requests, answers, complaints = process.stdin, process.stdout, process.stderr
    if requests is None or answers is None or complaints is None:
        raise CortenError("unpack: its process has no pipes")
    requests.write(json.dumps(dataclasses.asdict(request)).encode())
    requests.close()
    for line in answers:
        answer = json.loads(line)
        if "read" in answer:
            progress(answer["read"])
        elif "error" in answer:
            raise (DataCorrupt if answer["error"] == "DataCorrupt" else CortenError)(answer["message"])
        else:
            return Result(**answer)
    status, words = process.wait(), complaints.read().decode(errors="replace")
    raise CortenError(f"unpack {request.blob}: its process ended with status {status}: {words[-2000:]}")


def main() -> None:
    """The process: one request in, one answer out."""
    request = Request(**json.load(sys.stdin))
    try:
        answer = dataclasses.asdict(unpack(request, lambda read: _say({"read": read})))
    except BrokenPipeError:
        os._exit(1)
    except CortenError as error:
        answer = {"error": type(error).__name__, "message": error.message}
    _say(answer)


def _say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


def unpack(request: Request, progress: Callable[[int], None]) -> Result:
    """Unpack in this process."""
    os.umask(0)
    hashed = hashlib.new(request.algorithm)
    root = os.open(request.target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        policy = Policy(request.user_xattrs, request.keep_owners)
        with open(request.blob, "rb") as blob, Extractor(root, request.lowers, policy) as extractor:
            for event in _events(_bounded(_Counted(blob, progress), hashed, request.max_bytes), request):
                extractor.receive(event)
            extractor.finish()
            return Result(Digest(f"{hashed.name}:{hashed.hexdigest()}"), extractor.size, extractor.disowned)
    finally:
        os.close(root)


def _bounded(blob: _Counted, hashed: hashlib._Hash, limit: int) -> Iterator[bytes]:
    total = 0
    for chunk in compression.chunks(blob):
        total += len(chunk)
        if total > limit:
            raise DataCorrupt(f"unpack layer: it grows beyond {limit} bytes")
        hashed.update(chunk)
        yield chunk


def _events(chunks: Iterator[bytes], request: Request) -> Iterator[tar.Event]:
    reader, members = tar.Reader(), 0
    for chunk in chunks:
        for event in reader.receive(chunk):
            members += isinstance(event, tar.Member)
            if members > request.max_members:
                raise DataCorrupt(f"unpack layer: it has more than {request.max_members} members")
            yield event
    reader.close()


class _Counted:
    """A file whose reading is reported."""

    def __init__(self, file: IO[bytes], progress: Callable[[int], None]) -> None:
        self._file = file
        self._progress = progress
        self._read = self._said = 0

    def read(self, size: int, /) -> bytes:
        data = self._file.read(size)
        self._read += len(data)
        if self._read - self._said >= _STEP:
            self._said = self._read
            self._progress(self._read)
        return data
