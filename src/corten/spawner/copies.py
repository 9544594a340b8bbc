"""Roots that are copies: where overlay cannot be mounted, a container has the files of all its image's layers for
itself.

The layers are stacked here, by their names, as overlay would: a name is that of the highest layer which has it, and a
directory has what the layers show in it down to the first that is opaque there. What hides something is a mark of
overlay's or the archive's (:mod:`corten.store.marks`): layers of every form can be copied.

A copy is whole when its stamp is there, a file whose time of change no file of the copy has reached: whatever is
younger was changed since. That time is the kernel's own, which nothing in a container can set.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import os
import shutil
import stat
import time
from collections.abc import Iterator, Sequence

from corten.spawner import trees
from corten.sys import paths

_WHITEOUT, _META, _OPAQUE = ".wh.", ".wh..wh.", ".wh..wh..opq"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_BELOW = paths.RESOLVE_BENEATH | paths.RESOLVE_NO_SYMLINKS | paths.RESOLVE_NO_MAGICLINKS
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
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
            shutil.rmtree(target)
        os.mkdir(target, 0o755)
        try:
            _copy(lowers, target)
            _stamp(target + STAMP)
        except BaseException:
            shutil.rmtree(target, ignore_errors=True)
            raise
    finally:
        os.close(home)


def _copy(lowers: Sequence[str], target: str) -> None:
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
    finally:
        os.close(top)


def _stamp(path: str) -> None:
    """Return when the kernel's clock for files has gone on: no change from now on has the stamp's time."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        stamped = os.fstat(descriptor).st_ctime_ns
        other = f"{path}-"
        while True:
            os.close(os.open(other, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            later = os.stat(other).st_ctime_ns
            os.unlink(other)
            if later > stamped:
                return
            time.sleep(0.001)
    finally:
        os.close(descriptor)


# --- differences


def changes(root: str, lowers: Sequence[str]) -> list[tuple[str, int]]:
    """(path, kind) of what differs between a copy and the layers it was made of, with every directory above it, in the
    order of the paths. Raises OSError."""
    since, found = os.stat(root + STAMP).st_ctime_ns, dict[str, int]()
    with _stacked(lowers) as stack, contextlib.ExitStack() as opened:
        top = os.open(root, _DIRECTORY)
        opened.callback(os.close, top)
        pending = [("", list(range(len(lowers))))]
        while pending:
            path, layers = pending.pop()
            try:
                with stack.directory(path, layers) as shown, _opened(top, path) as directory:
                    pending += _compare(found, path, directory, shown, since)
            except OSError as error:  # gone meanwhile: the container runs
                if error.errno not in _GONE:
                    raise
    above = {path[:at] for path in found for at, char in enumerate(path) if char == "/" and at}
    return sorted({**dict.fromkeys(above, trees.MODIFIED), **found}.items())


def _compare(
    found: dict[str, int], path: str, directory: int, shown: _Shown, since: int
) -> Iterator[tuple[str, list[int]]]:
    """Note the differences of one directory; those below it that are to be looked at."""
    names = os.listdir(directory)
    found.update(dict.fromkeys((f"{path}/{name}" for name in shown.entries.keys() - set(names)), trees.DELETED))
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            status = os.stat(name, dir_fd=directory, follow_symlinks=False)
            entry, below = shown.entries.get(name), f"{path}/{name}"
            if entry is None:
                found[below] = trees.ADDED
            elif _differs(status, entry.status, since):
                found[below] = trees.MODIFIED
            if stat.S_ISDIR(status.st_mode):
                yield below, entry.layers if entry is not None else []


def _differs(status: os.stat_result, image: os.stat_result, since: int) -> bool:
    if status.st_ctime_ns > since:
        return True
    # What was not written to can have been moved here, below a directory that was.
    same = (status.st_mode, status.st_uid, status.st_gid) == (image.st_mode, image.st_uid, image.st_gid)
    if stat.S_ISDIR(status.st_mode):
        return not same
    return not same or (status.st_size, status.st_mtime_ns) != (image.st_size, image.st_mtime_ns)
