"""Finding and making mount targets inside a root that is hostile: no symlink of the image leads out of it.

Every step is openat2(2) with RESOLVE_IN_ROOT from the root's own descriptor, so that what was looked at and what is
mounted upon are one and the same object (CVE-2021-30465 was a path that changed in between).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from corten.sys.paths import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, openat2

_RULES = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS


@contextlib.contextmanager
def opened(root: int, path: str, flags: int = os.O_PATH, *, plain: bool = False) -> Iterator[int]:
    """A descriptor of ``path`` inside ``root``; with ``plain`` no symlink may be on the way. Raises OSError."""
    rules = _RULES | (RESOLVE_NO_SYMLINKS if plain else 0)
    descriptor = openat2(root, _inside(path), flags, resolve=rules)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _inside(path: str) -> bytes:
    return os.fsencode(path.lstrip("/") or ".")


@contextlib.contextmanager
def target(root: int, path: str, *, directory: bool, plain: bool = False) -> Iterator[int]:
    """A descriptor of a mount point inside ``root``, which is made where it is missing. Raises OSError."""
    try:
        with opened(root, path, plain=plain) as found:
            yield found
            return
    except FileNotFoundError:
        make(root, path, directory=directory)
    with opened(root, path, plain=plain) as made:
        yield made


def make(root: int, path: str, *, directory: bool) -> None:
    """Make a directory or an empty file at ``path`` inside ``root``, with all that is missing above it."""
    names = [name for name in path.split("/") if name not in ("", ".")]
    for depth, name in enumerate(names, 1):
        at_end = depth == len(names)
        with opened(root, "/".join(names[: depth - 1]), os.O_PATH | os.O_DIRECTORY) as above:
            with contextlib.suppress(FileExistsError):
                if at_end and not directory:
                    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
                    os.close(os.open(name, flags, 0o755, dir_fd=above))
                else:
                    os.mkdir(name, 0o755, dir_fd=above)


def link(descriptor: int) -> str:
    """The path of an open descriptor, for system calls that take only paths; of the host's /proc, before pivot."""
    return f"/proc/self/fd/{descriptor}"
