"""Finding and making mount targets inside a root that is hostile: no symlink of the image leads out of it.

Every step is openat2(2) with RESOLVE_IN_ROOT from the root's own descriptor, so that what was looked at and what is
mounted upon are one and the same object (CVE-2021-30465 was a path that changed in between).
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator

from corten.sys.paths import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, openat2

_RULES = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
_MOST_LINKS = 40
"""As the kernel: path_resolution(7)."""


@contextlib.contextmanager
def opened(root: int, path: str, flags: int = os.O_PATH, *, plain: bool = False) -> Iterator[int]:
    """A descriptor of ``path`` inside ``root``; with ``plain`` no symlink may be on the way. Raises OSError."""
    rules = _RULES | (RESOLVE_NO_SYMLINKS if plain else 0)
    descriptor = openat2(root, _inside(path), flags, resolve=rules)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def exists(root: int, path: str, *, plain: bool = False) -> bool:
    """Whether something is at ``path`` inside ``root``. Raises OSError for a way that does not lead there."""
    try:
        with opened(root, path, plain=plain):
            return True
    except FileNotFoundError:
        return False


def _inside(path: str) -> bytes:
    return os.fsencode(path.lstrip("/") or ".")


@contextlib.contextmanager
def target(root: int, path: str, *, directory: bool, plain: bool = False) -> Iterator[int]:
    """A descriptor of a mount point inside ``root``, which is made where it is missing. Raises OSError."""
    if not exists(root, path, plain=plain):
        make(root, path, directory=directory)
    with opened(root, path, plain=plain) as made:
        yield made


def make(root: int, path: str, *, directory: bool) -> None:
    """Make a directory or an empty file at ``path`` inside ``root``, with all that is missing on the way.

    A symlink whose end is missing (/etc/resolv.conf of many images) is followed, as its end seen from the root.
    """
    left, at, links = path.split("/"), list[str](), 0
    while left:
        name = left.pop(0)
        if name in ("", ".", ".."):
            at = at[:-1] if name == ".." else at
            continue
        with opened(root, "/".join(at), os.O_PATH | os.O_DIRECTORY) as above:
            to = _link_or_new(above, name, directory=directory or any(left))
        if to is None:
            at.append(name)
            continue
        links += 1
        if links > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        at = [] if to.startswith("/") else at
        left = [*to.split("/"), *left]


def _link_or_new(above: int, name: str, *, directory: bool) -> str | None:
    """Where the link ``name`` leads; None for anything else, which is made where it is missing."""
    try:
        return os.readlink(name, dir_fd=above)
    except FileNotFoundError:
        with contextlib.suppress(FileExistsError):
            _new(above, name, directory=directory)
    except OSError as error:
        if error.errno != errno.EINVAL:  # it is no link
            raise
    return None


def _new(above: int, name: str, *, directory: bool) -> None:
    """A directory or an empty file. The time of the directory above stays: it is the image's, and would else be that of
    this start in a layer that a build makes of it."""
    times = os.stat(above)
    if directory:
        os.mkdir(name, 0o755, dir_fd=above)
    else:
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        os.close(os.open(name, flags, 0o755, dir_fd=above))
    with contextlib.suppress(OSError):  # another user's: that a name could be made in it is enough
        os.utime(".", ns=(times.st_atime_ns, times.st_mtime_ns), dir_fd=above)


def resolved(root: int, place: int) -> str:
    """The path of an open descriptor as seen from ``root``."""
    return os.readlink(link(place)).removeprefix(os.readlink(link(root)).rstrip("/")) or "/"


def link(descriptor: int) -> str:
    """The path of an open descriptor, for system calls that take only paths; of the host's /proc, before pivot."""
    return f"/proc/self/fd/{descriptor}"
