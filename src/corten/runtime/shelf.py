"""Where layers that are files are mounted: once an engine, for all its containers.

The shelf is a mount namespace in which nobody lives: a descriptor holds it, which the spawner has and its forks
inherit. Its root is an empty tmpfs with a directory for each layer, and the layer is mounted there. Who needs one takes
a copy of the mount, which shares its superblock, and attaches it where its own tree wants it. The host's table of
mounts gains nothing; when the last process with the descriptor ends, however it ends, the kernel takes all of it down.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence

from corten.sys import mounts, process
from corten.sys.process import CLONE_NEWNS

descriptor = -1
"""The engine's shelf; -1 in a process that is not of its spawner, or has let go of it."""

_OPTIONS = "mode=700,size=4m"
_PATH = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


def build(base: str) -> None:
    """Make the shelf, for this process and those it forks. ``base`` is any directory. Raises OSError; without the right
    to it there is none."""
    global descriptor
    home, here = _namespace(), os.getcwd()
    try:
        process.unshare(CLONE_NEWNS)
        try:
            shelf = _namespace()
            _empty(base)
        finally:
            process.setns(home, CLONE_NEWNS)
            os.chdir(here)
    finally:
        os.close(home)
    descriptor = shelf


def _namespace() -> int:
    return os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)


def _empty(base: str) -> None:
    """Let go of the host's tree: an idle shelf keeps no disk busy."""
    mounts.mount("", "/", flags=mounts.MS_REC | mounts.MS_PRIVATE)
    mounts.mount("tmpfs", base, "tmpfs", mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC, _OPTIONS)
    os.chdir(base)
    mounts.pivot_root(".", ".")
    mounts.umount(".", mounts.MNT_DETACH)


def let_go() -> None:
    """Close this process's descriptor of it."""
    global descriptor
    if descriptor >= 0:
        os.close(descriptor)
        descriptor = -1


def put(shelf: int, name: str, file: str, *, direct: bool) -> None:
    """Mount a layer's file under a name, unless it is there; ``direct``: past the cache of the file system that it is
    on, which would hold each page a second time. Raises OSError."""
    options = {"source": file, "ro": "", **({"directio": ""} if direct else {})}
    tree = mounts.file_system("erofs", options, mounts.MOUNT_ATTR_RDONLY)
    try:
        with process.visiting(shelf, CLONE_NEWNS), contextlib.suppress(FileExistsError):
            os.mkdir(f"/{name}", 0o700)
            with _opened(f"/{name}") as place:
                mounts.move_mount(tree, place)
    finally:
        os.close(tree)


def remove(shelf: int, names: Sequence[str]) -> None:
    """Take layers down; what shows one goes on showing it. Raises OSError."""
    with process.visiting(shelf, CLONE_NEWNS):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                with contextlib.suppress(OSError):  # nothing is mounted there
                    mounts.umount(f"/{name}", mounts.MNT_DETACH)
                os.rmdir(f"/{name}")


def attach(shelf: int, places: Sequence[tuple[str, str]]) -> None:
    """Mount layers in this process's own tree: (name, directory), relative to the current one. Raises OSError."""
    with contextlib.ExitStack() as opened:
        targets = [opened.enter_context(_opened(place)) for _, place in places]
        here = opened.enter_context(_opened("."))
        trees = list[int]()
        with process.visiting(shelf, CLONE_NEWNS):
            for name, _ in places:
                with _opened(f"/{name}") as found:
                    trees.append(mounts.open_tree(found, recursive=False))
                opened.callback(os.close, trees[-1])
        os.fchdir(here)  # who comes back from another tree is at the root of his own
        for tree, target in zip(trees, targets, strict=True):
            mounts.move_mount(tree, target)


@contextlib.contextmanager
def _opened(path: str) -> Iterator[int]:
    found = os.open(path, _PATH)
    try:
        yield found
    finally:
        os.close(found)
