"""Works of a build: indexing an archive without unpacking it, looking into a root file system, taking files out of it,
and laying files out. Those that make a layer are in :mod:`corten.spawner.making`.

Names in an archive and in a root are strangers'. An archive's are only written down; a root's are looked at by a
process whose root it is.
"""

from __future__ import annotations

import json
import os
import stat
import sys
import tarfile
from collections.abc import Iterator
from typing import Any, BinaryIO

from corten.build import globs
from corten.build.indexing import Indexer, Row, carried, uncarried, write_at
from corten.errors import InvalidInput
from corten.runtime import accounts
from corten.spawner import trees
from corten.spec.runtime import User
from corten.sys import paths
from corten.wire import tar

Arguments = dict[str, Any]

_STEP = 1 << 18
_KINDS = {
    stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink", stat.S_IFCHR: "char",
    stat.S_IFBLK: "block", stat.S_IFIFO: "fifo", stat.S_IFSOCK: "socket",
}  # fmt: skip

# --- indexing


def index(arguments: Arguments, descriptors: list[int]) -> dict[str, Any]:
    """Read an archive, compressed or not, from the second descriptor: its files' content goes to the spool, the third,
    one after the other; the answer is a row for each, in the form of ``corten.build.files.Entry``."""
    sys.path[:] = arguments["path"]  # the spawner itself has no third party's modules in reach
    from corten.store import compression

    indexer = Indexer(descriptors[2], int(arguments.get("offset", 0)))
    reader = tar.Reader()
    source = _Limited(descriptors[1], int(arguments.get("size", -1)))
    for chunk in compression.chunks(source):
        for event in reader.receive(chunk):
            indexer.receive(event)
    reader.close()
    indexer.finish()
    while source.read(_STEP):
        continue
    return {"rows": indexer.rows, "end": indexer.end}


class _Limited:
    """Up to so many bytes of a descriptor; -1 is all."""

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor, self._left = descriptor, size

    def read(self, size: int, /) -> bytes:
        if self._left < 0:
            return os.read(self._descriptor, size)
        data = os.read(self._descriptor, min(size, self._left))
        self._left -= len(data)
        return data


# --- looking into a root


def look(arguments: Arguments, data: int) -> dict[str, Any]:
    """What is at a destination: see ``corten.build.copying.Found``; and whose ``--chown`` is meant."""
    real = os.path.realpath("/" + uncarried(arguments["path"]).lstrip("/"))
    answer: dict[str, Any] = {"real": carried(real), "kind": "", "above": [], "there": []}
    for above in _above(real):
        answer["above"].append([carried(above.strip("/")), _row(above)])
    try:
        answer["kind"] = _KINDS[stat.S_IFMT(os.lstat(real).st_mode)]
    except FileNotFoundError:
        pass
    except NotADirectoryError:
        raise InvalidInput(f"cannot copy to non-directory: {real}") from None
    if answer["kind"] == "directory":
        for name in arguments["names"]:
            try:
                answer["there"].append([name, _row(os.path.join(real, uncarried(name)))])
            except (FileNotFoundError, NotADirectoryError):
                continue
    if arguments["owner"]:
        answer["owner"] = _owner(arguments["owner"])
    return answer


def _above(path: str) -> Iterator[str]:
    """The directories on the way that are there, with the path itself if it is one."""
    parts = [part for part in path.split("/") if part]
    for depth in range(1, len(parts) + 1):
        above = "/" + "/".join(parts[:depth])
        if not os.path.isdir(above):
            return
        yield above


def _row(path: str) -> Row:
    status = os.lstat(path)
    kind = _KINDS[stat.S_IFMT(status.st_mode)]
    return [kind, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, int(status.st_mtime) * 10**9]


def _owner(text: str) -> tuple[int, int]:
    """``user[:group]``; a number without a group is the group, too."""
    account = accounts.look_up(User(name=text))
    alone = ":" not in text and text.isascii() and text.isdigit()
    return account.uid, account.uid if alone else account.gid


# --- taking files out of it


def gather(output: BinaryIO, arguments: Arguments) -> None:
    """An archive of everything that the sources name, under the names by which they are named."""
    links: trees.Links = {}
    seen: set[str] = set()
    with tarfile.open(fileobj=output, mode="w|", format=tarfile.PAX_FORMAT, errorlevel=2) as archive:
        for source in map(uncarried, arguments["sources"]):
            for path in _named(source):
                _add(archive, path, seen, links)


def _named(source: str) -> list[str]:
    pattern = source.lstrip("/").replace("/./", "/").removeprefix("./")
    if not globs.is_pattern(pattern):
        path = "/" + os.path.normpath("/" + pattern).lstrip("/")
        return [path] if os.path.exists(path) else []
    fixed = pattern.split("/")
    while fixed and globs.is_pattern("/".join(fixed)):
        fixed.pop()
    start = "/" + "/".join(fixed)
    depth = None if "**" in pattern else pattern.count("/") + 1
    found = []
    for directory, names, files in os.walk(start):
        below = directory.strip("/")
        found += [
            path for name in sorted(names + files)
            if globs.matches(pattern, (path := f"{below}/{name}" if below else name))
        ]  # fmt: skip
        if depth is not None and below.count("/") + bool(below) + 1 >= depth:
            names.clear()
    return [f"/{path}" for path in sorted(found) if os.path.exists(f"/{path}")]


def _add(archive: tarfile.TarFile, path: str, seen: set[str], links: trees.Links) -> None:
    """A path with the directories above it; the last symbolic link is followed, those in a directory are kept."""
    for above in _above(os.path.dirname(path)):
        if above not in seen:
            seen.add(above)
            trees.add(archive, above, above.strip("/"), os.stat(above), links)
    real = os.path.realpath(path)
    pending = [(real, path.strip("/"), os.lstat(real))]
    while pending:
        source, name, status = pending.pop()
        if name and name not in seen:
            seen.add(name)
            trees.add(archive, source, name, status, links)
        if stat.S_ISDIR(status.st_mode):
            pending += reversed(list(trees.children(source, name)))


# --- laying files out


def lay_out(arguments: Arguments, descriptors: list[int]) -> dict[str, Any]:
    """Make the files of the rows of a JSON file, the second descriptor, in the empty directory that is the third; their
    content is in the spool, the fourth. No link of theirs is followed."""
    with open(descriptors[1], "rb", closefd=False) as listed:
        rows = json.load(listed)
    os.umask(0)
    for path, row in rows:
        parent, _, name = uncarried(path).rpartition("/")
        above = paths.openat2(
            descriptors[2], parent.encode("utf-8", "surrogateescape") or b".", os.O_PATH | os.O_DIRECTORY,
            resolve=paths.RESOLVE_BENEATH | paths.RESOLVE_NO_SYMLINKS,
        )  # fmt: skip
        try:
            _make(name, row, above, descriptors[3])
        finally:
            os.close(above)
    return {}


def _make(name: str, row: Row, above: int, spool: int) -> None:
    """One of them. Devices are left out."""
    kind, mode, uid, gid, mtime, size, offset = row[:7]
    if kind == "directory":
        os.mkdir(name, mode, dir_fd=above)
    elif kind == "symlink":
        os.symlink(uncarried(row[8]), name, dir_fd=above)
    elif kind == "file":
        target = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=above)
        try:
            while size and (data := os.pread(spool, min(size, _STEP), offset)):
                write_at(target, data, offset - row[6])
                offset, size = offset + len(data), size - len(data)
            os.fchmod(target, mode)
        finally:
            os.close(target)
    else:
        return
    if os.geteuid() == 0 and (uid or gid):
        os.chown(name, uid, gid, dir_fd=above, follow_symlinks=False)
        if kind == "file":
            os.chmod(name, mode, dir_fd=above)
    os.utime(name, ns=(mtime, mtime), dir_fd=above, follow_symlinks=False)
