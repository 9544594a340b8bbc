"""Roots that are copies: where overlay cannot be mounted, a container has the files of all its image's layers for
itself.

The layers are stacked here, by their names, as overlay would: a name is that of the highest layer which has it, and a
directory has what the layers show in it down to the first that is opaque there. What hides something is a mark of
overlay's or the archive's (:mod:`corten.store.marks`): layers of every form can be copied.

A copy is whole when its stamp is there, a file whose time of change no file of the copy has reached: whatever is
younger was changed, or moved, since. That time is the kernel's own, which nothing in a container can set but who may
set the machine's clock. What is older may have come with a directory above it that was moved: the stamp tells which
directory was made at which path. One that is another now has nothing of the image's in it, as under overlay, where a
directory of the image's is moved by copying all of it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator, Sequence

from corten.spawner import trees
from corten.sys import paths
from corten.sys.removal import remove_tree

_WHITEOUT, _META, _OPAQUE = ".wh.", ".wh..wh.", ".wh..wh..opq"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_BELOW = paths.RESOLVE_BENEATH | paths.RESOLVE_NO_SYMLINKS | paths.RESOLVE_NO_MAGICLINKS
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
Inodes = dict[str, int]
"""The inode numbers of directories, by their paths, which begin with a slash."""
STAMP = ".copied"
"""What is put after a copy's name for that of its stamp, beside it."""


@dataclasses.dataclass(slots=True)
class _Entry:
    """A name: where its file is, the layers whose directories it shows, and whether lower ones may add to those."""

    layer: int
    status: os.stat_result
    layers: list[int]
    is_open: bool


@dataclasses.dataclass(frozen=True, slots=True)
class _Shown:
    """A directory as the layers show it; ``opened`` are its descriptors by layer."""

    entries: dict[str, _Entry]
    opened: dict[int, int]


class _Stack:
    """Layers, highest first, by descriptors of their roots."""

    def __init__(self, roots: Sequence[int]) -> None:
        self._roots = roots

    def opened(self, layer: int, path: str) -> contextlib.AbstractContextManager[int]:
        """A directory of one layer."""
        return _opened(self._roots[layer], path)

    @contextlib.contextmanager
    def directory(self, path: str, layers: Sequence[int]) -> Iterator[_Shown]:
        """A directory that these layers have, all of them."""
        shown, hidden = _Shown({}, {}), set[str]()
        with contextlib.ExitStack() as stack:
            for layer in layers:
                descriptor = stack.enter_context(_opened(self._roots[layer], path))
                shown.opened[layer] = descriptor
                if _add(shown.entries, layer, descriptor, hidden):
                    break
            yield shown


def _add(entries: dict[str, _Entry], layer: int, directory: int, hidden: set[str]) -> bool:
    """What one layer has in a directory, below what the higher ones have, and ``hidden`` by them; whether it hides all
    below itself."""
    marked, is_opaque = set[str](), _has_opaque(directory)
    for name in os.listdir(directory):
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if name.startswith(_WHITEOUT) and stat.S_ISREG(status.st_mode):
            is_opaque |= name == _OPAQUE
            if not name.startswith(_META):
                marked.add(name.removeprefix(_WHITEOUT))
        elif trees.is_whiteout(status):
            marked.add(name)
        elif name not in hidden:
            _show(entries, name, layer, status)
    hidden |= marked
    for name in marked & entries.keys():
        entries[name].is_open = False
    return is_opaque


def _show(entries: dict[str, _Entry], name: str, layer: int, status: os.stat_result) -> None:
    found, is_directory = entries.get(name), stat.S_ISDIR(status.st_mode)
    if found is None:
        entries[name] = _Entry(layer, status, [layer] if is_directory else [], is_directory)
    elif found.is_open and is_directory:
        found.layers.append(layer)
    else:
        found.is_open = False


def _has_opaque(directory: int) -> bool:
    for name in ("trusted.overlay.opaque", "user.overlay.opaque"):
        with contextlib.suppress(OSError):
            if os.getxattr(directory, name) == b"y":
                return True
    return False


@contextlib.contextmanager
def _opened(root: int, path: str) -> Iterator[int]:
    """A directory below another one. Raises OSError."""
    name = path.lstrip("/").encode("utf-8", "surrogateescape") or b"."
    descriptor = paths.openat2(root, name, _DIRECTORY, resolve=_BELOW)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _stacked(lowers: Sequence[str]) -> Iterator[_Stack]:
    with contextlib.ExitStack() as stack:
        roots = [os.open(lower, _DIRECTORY) for lower in lowers]
        for root in roots:
            stack.callback(os.close, root)
        yield _Stack(roots)


# --- a copy


def make(lowers: Sequence[str], target: str) -> None:
    """Copy what layers show, highest first, into a directory, unless that was done; who does it at the same time is
    waited for, what is left of one who was killed is removed. Raises OSError."""
    home = os.open(os.path.dirname(target), _DIRECTORY)
    try:
        fcntl.flock(home, fcntl.LOCK_EX)
        if os.path.exists(target + STAMP):
            return
        with contextlib.suppress(FileNotFoundError):
            remove_tree(target)
        os.mkdir(target, 0o755)
        try:
            _stamp(target + STAMP, _copy(lowers, target))
        except BaseException:
            with contextlib.suppress(OSError):
                remove_tree(target)
            raise
    finally:
        os.close(home)


def _copy(lowers: Sequence[str], target: str) -> Inodes:
    """Which directories were made, by their paths."""
    made_as: Inodes = {}
    top = os.open(target, _DIRECTORY)
    try:
        with _stacked(lowers) as stack:
            copy = trees.Copy(top)
            made = list[tuple[str, int]]()
            pending = [("", list(range(len(lowers))))]
            while pending:
                path, layers = pending.pop()
                with stack.directory(path, layers) as shown, _opened(top, path) as directory:
                    for name, entry in shown.entries.items():
                        below = f"{path}/{name}".lstrip("/")
                        if entry.layers:
                            os.mkdir(name, 0o700, dir_fd=directory)
                            pending.append((below, entry.layers))
                            made.append((below, entry.layer))
                        else:
                            copy.entry(shown.opened[entry.layer], directory, name, below, entry.status)
            for path, layer in reversed(made):  # the times of a directory last: writing into it changes them
                with stack.opened(layer, path) as source, _opened(top, path) as directory:
                    trees.copy_attributes(source, directory)
                    made_as[f"/{path}"] = os.fstat(directory).st_ino
    finally:
        os.close(top)
    return made_as


def _stamp(path: str, made_as: Inodes) -> None:
    """Return when the kernel's clock for files has gone on: no change from now on has the stamp's time."""
    other = f"{path}-"
    _write(other, b"".join(b"%d%s\0" % (inode, os.fsencode(name)) for name, inode in made_as.items()))
    os.rename(other, path)
    stamped = os.stat(path).st_ctime_ns
    while True:
        _write(other, b"")
        later = os.stat(other).st_ctime_ns
        os.unlink(other)
        if later > stamped:
            return
        time.sleep(0.001)


def _write(path: str, content: bytes) -> None:
    """Over what one who was killed may have left."""
    with open(path, "wb") as file:
        file.write(content)


def _stamped(path: str) -> Inodes | None:
    """What a stamp tells; None of one that was made when they told nothing."""
    with open(path, "rb") as file:
        content = file.read()
    if not content:
        return None
    found: Inodes = {}
    for one in content.split(b"\0")[:-1]:
        inode, slash, name = one.partition(b"/")
        found[os.fsdecode(slash + name)] = int(inode)
    return found


# --- differences


def changes(root: str, lowers: Sequence[str]) -> list[tuple[str, int]]:
    """(path, kind) of what differs between a copy and the layers it was made of, with every directory above it, in the
    order of the paths. Raises OSError."""
    comparing = _Comparing(os.stat(root + STAMP).st_ctime_ns, _stamped(root + STAMP), {})
    with _stacked(lowers) as stack, contextlib.ExitStack() as opened:
        top = os.open(root, _DIRECTORY)
        opened.callback(os.close, top)
        pending = [_Both("", list(range(len(lowers))), is_other=False)]
        while pending:
            both = pending.pop()
            try:
                with stack.directory(both.path, both.layers) as shown, _opened(top, both.path) as directory:
                    pending += comparing.compare(both, directory, shown)
            except OSError as error:  # gone meanwhile: the container runs
                if error.errno not in _GONE:
                    raise
    found = comparing.found
    above = {path[:at] for path in found for at, char in enumerate(path) if char == "/" and at}
    return sorted({**dict.fromkeys(above, trees.MODIFIED), **found}.items())


@dataclasses.dataclass(frozen=True, slots=True)
class _Both:
    """A directory of the copy, and the layers that have one of that path; whether it is another than was made there."""

    path: str
    layers: list[int]
    is_other: bool


@dataclasses.dataclass(frozen=True, slots=True)
class _Comparing:
    """What has been found; what is not younger than ``since`` was not written to, nor moved itself."""

    since: int
    made_as: Inodes | None
    found: dict[str, int]

    def compare(self, both: _Both, directory: int, shown: _Shown) -> Iterator[_Both]:
        """Note the differences of one directory; those below it that are to be looked at."""
        path, names = both.path, os.listdir(directory)
        gone = shown.entries.keys() - set(names)
        self.found.update(dict.fromkeys((f"{path}/{name}" for name in gone), trees.DELETED))
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                status = os.stat(name, dir_fd=directory, follow_symlinks=False)
                entry, below = shown.entries.get(name), f"{path}/{name}"
                is_other = self._is_other(below, status, both)
                if entry is None:
                    self.found[below] = trees.ADDED
                elif is_other or self._differs(status, entry.status):
                    self.found[below] = trees.MODIFIED
                if stat.S_ISDIR(status.st_mode):
                    yield _Both(below, entry.layers if entry is not None else [], is_other)

    def _is_other(self, path: str, status: os.stat_result, above: _Both) -> bool:
        """Whether something is not what was made at its path."""
        if status.st_ctime_ns <= self.since:  # it is where it was in the directory above it
            return above.is_other
        is_directory = stat.S_ISDIR(status.st_mode)
        return is_directory and self.made_as is not None and self.made_as.get(path) != status.st_ino

    def _differs(self, status: os.stat_result, image: os.stat_result) -> bool:
        if status.st_ctime_ns > self.since:
            return True
        # Of stamps that tell of no directories: what was not written to can have been moved here with one.
        same = (status.st_mode, status.st_uid, status.st_gid) == (image.st_mode, image.st_uid, image.st_gid)
        if stat.S_ISDIR(status.st_mode):
            return not same
        return not same or (status.st_size, status.st_mtime_ns) != (image.st_size, image.st_mtime_ns)
