"""Works that make a layer of a build. Its archive and its form on disk come about together, in one process and from the
same bytes: no second one has to start and read the archive again.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import hashlib
import io
import json
import os
import resource
import select
import tarfile
from collections.abc import Callable, Sequence
from typing import Any

from corten.build.indexing import Row, uncarried, write_at
from corten.spawner import archives, layers, trees
from corten.store import unpack

Arguments = dict[str, Any]
_BUFFER = 1 << 20


def _making(fill: Callable[[Arguments, list[int], tarfile.TarFile], None]) -> Callable[[Arguments, list[int]], int]:
    """A work that writes an archive to the second descriptor, and makes of it what ``arguments["layer"]`` asks for (see
    :class:`corten.store.unpack.Request`). The answer has the archive's digest and size, and of the layer what
    :class:`corten.store.unpack.Result` has."""

    def act(arguments: Arguments, descriptors: list[int]) -> dict[str, Any]:
        with contextlib.suppress(OSError, ValueError):  # a lower limit is there already
            resource.setrlimit(resource.RLIMIT_AS, (unpack.MOST_MEMORY, unpack.MOST_MEMORY))
        umask = os.umask(0)
        with unpack.consumer(unpack.Request(**arguments["layer"])) as consumer:
            target = _Target(descriptors[0], descriptors[1], consumer)
            output = io.BufferedWriter(target, _BUFFER)
            with tarfile.TarFile(fileobj=output, mode="w", format=tarfile.PAX_FORMAT, copybufsize=_BUFFER) as archive:
                fill(arguments, descriptors, archive)
            output.flush()
            implied = [(os.fsdecode(b"/".join(parts)), place) for parts, place in consumer.finish()]
        os.umask(umask)
        os.fsync(descriptors[1])
        return {
            "digest": target.digest, "size": target.size, "files": consumer.size, "disowned": consumer.disowned,
            "implied": implied,
        }  # fmt: skip

    return archives.outside(act)


class _Target(io.RawIOBase):
    """Where the archive's bytes go: a file, a digest, and who makes a layer of them; for as long as somebody waits for
    the ``report``."""

    def __init__(self, report: int, descriptor: int, consumer: unpack.Consumer) -> None:
        super().__init__()
        self._waiting = select.poll()
        self._waiting.register(report, 0)  # poll(2): that nobody reads a pipe is told unasked
        self._descriptor, self._consumer = descriptor, consumer
        self._hash = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.size

    def write(self, data: Any, /) -> int:
        if self._waiting.poll(0):
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
        content = bytes(data)
        self._hash.update(content)
        write_at(self._descriptor, content, self.size)
        self._consumer.take(content)
        self.size += len(content)
        return len(content)

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"


# --- what a command changed


def _changed(arguments: Arguments, descriptors: list[int], archive: tarfile.TarFile) -> None:
    """The differences between a container and what it stands on; of ``places``, which were made to mount something on,
    there is nothing, nor of files that are as they were, and no file is newer than ``epoch``, in seconds since 1970."""
    view = arguments["view"]
    changes = _without(view, _touched(view, archives.changes_of(view)), arguments["places"])
    layers.add_changes(archive, view["copy"] or view["upper"], changes, arguments["epoch"])


def _touched(view: Arguments, changes: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """Without what overlay has copied up for nothing: locks, as of /etc/passwd, are opened to be written; and the
    directories above."""
    if view["copy"]:
        return changes
    left, needed = list[tuple[str, int]](), set[str]()
    for path, kind in reversed(changes):  # what is in a directory comes first
        if path not in needed and kind == trees.MODIFIED and trees.is_unchanged(view["upper"], view["lowers"], path):
            continue
        left.append((path, kind))
        needed.update(_above(path))
    return left[::-1]


def _above(path: str) -> list[str]:
    """The directories that a path goes through."""
    return [path[:at] for at, char in enumerate(path) if char == "/" and at]


def _is_own(view: Arguments, changes: list[tuple[str, int]], directory: str) -> bool:
    return (directory, trees.MODIFIED) in changes and archives.retouched(view, directory)


def _without(view: Arguments, changes: list[tuple[str, int]], places: Sequence[str]) -> list[tuple[str, int]]:
    """Without places that were made to mount something on, and directories that were made, or differ, for those
    alone."""
    left = [(path, kind) for path, kind in changes if not (path in places and kind == trees.ADDED)]
    above = {directory for place in places for directory in _above(place)}
    for directory in sorted(above, key=len, reverse=True):
        if not any(path.startswith(f"{directory}/") for path, _ in left) and not _is_own(view, left, directory):
            left = [(path, kind) for path, kind in left if path != directory or kind == trees.DELETED]
    return left


# --- what is copied


def _composed(arguments: Arguments, descriptors: list[int], archive: tarfile.TarFile) -> None:
    """The rows of a JSON file, the third descriptor; their content is in the spools, which are the others."""
    with open(descriptors[2], "rb", closefd=False) as listed:
        rows = json.load(listed)
    for path, row in rows:
        entry = _tar_entry(uncarried(path), row)
        if entry is not None:
            content = _Spooled(descriptors[3 + row[12]], row[6], row[5]) if row[0] == "file" else None
            archive.addfile(entry, content)


def _tar_entry(path: str, row: Row) -> tarfile.TarInfo | None:
    kind, mode, uid, gid, mtime, size, _, _, link, major, minor, xattrs = row[:12]
    types = {
        "file": tarfile.REGTYPE, "directory": tarfile.DIRTYPE, "symlink": tarfile.SYMTYPE, "char": tarfile.CHRTYPE,
        "block": tarfile.BLKTYPE, "fifo": tarfile.FIFOTYPE,
    }  # fmt: skip
    if kind not in types:
        return None
    entry = tarfile.TarInfo(path)
    entry.type, entry.uid, entry.gid = types[kind], uid, gid
    entry.mode = 0o777 if kind == "symlink" else mode  # it has no other
    entry.mtime, entry.size = mtime // 10**9, size if kind == "file" else 0
    entry.linkname, entry.devmajor, entry.devminor = uncarried(link), major, minor
    entry.pax_headers = {
        f"SCHILY.xattr.{name}": base64.b64decode(value).decode("utf-8", "surrogateescape") for name, value in xattrs
    }
    return entry


class _Spooled:
    """A file's content in a spool."""

    def __init__(self, descriptor: int, offset: int, size: int) -> None:
        self._descriptor, self._at, self._end = descriptor, offset, offset + size

    def read(self, size: int = 1 << 62, /) -> bytes:
        data = os.pread(self._descriptor, min(size, self._end - self._at), self._at)
        self._at += len(data)
        return data


WORKS = {"changed": _making(_changed), "compose": _making(_composed)}
