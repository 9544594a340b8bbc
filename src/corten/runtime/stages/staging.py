"""The tree of an init that stands by: what was mounted ahead, and of the host nothing but the data root.

::

    /proc              of the container's own pid namespace, for the runtime's eyes
    /ahead/proc …      what was mounted ahead, to be moved into the container's root
    <data root>        where the layers are, and the container's root once it is mounted

The host's tree is let go of, so that an idle init neither keeps a disk busy that the host unmounts nor knows of one
that it mounted before: bind sources are looked up by the monitor, which sees the host as it is.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeGuard

from corten.runtime.ahead import closed
from corten.runtime.operations.files import Mount
from corten.runtime.operations.paths import link, make, opened, target
from corten.runtime.operations.root import PivotRoot
from corten.runtime.stages.context import LaunchContext
from corten.spec.operation import Operation
from corten.sys import mounts
from corten.sys.mounts import mount

_OPTIONS = "mode=700,size=1m"


class Staging:
    """Built with :meth:`build`, left with :meth:`enter`, emptied with :meth:`place`."""

    def __init__(self, base: str, steps: Sequence[Operation]) -> None:
        self._base = base
        self._steps = steps
        trees = [closed(step.target) for step in steps if isinstance(step, Mount)]
        self._tops = {path for path in trees if not any(path.startswith(tree) and path != tree for tree in trees)}
        self._top = self._ahead = -1

    def build(self) -> int:
        """Make the tree; the descriptor of the directory that stands for the container's root. Raises OSError."""
        data = _tree(self._base)
        try:
            mount("tmpfs", self._base, "tmpfs", mounts.MS_NOSUID | mounts.MS_NODEV, _OPTIONS)
            self._top = os.open(self._base, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            make(self._top, "/ahead", directory=True)
            with target(self._top, self._base, directory=True) as place:
                mounts.move_mount(data, place)
            with target(self._top, "/proc", directory=True) as place:
                mount("proc", link(place), "proc", mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC)
        finally:
            os.close(data)
        with opened(self._top, "/ahead") as root:
            self._ahead = os.dup(root)
        return self._ahead

    def enter(self) -> None:
        """Make it the root, and let go of the host's tree. Raises OSError."""
        context = LaunchContext()
        context.root = self._top
        PivotRoot().run(context)

    def place(self, step: Operation, root: int) -> None:
        """Move into the container's root what ``step`` had mounted; what lies below another tree goes with that.
        Raises OSError."""
        if self._is_top(step):
            with opened(self._ahead, step.target) as tree, step.place(root) as place:
                mounts.move_mount(tree, place)

    def place_all(self, root: int) -> None:
        """Place what every step had mounted. Raises OSError."""
        for step in self._steps:
            self.place(step, root)

    def take_back(self, root: int) -> None:
        """Undo :meth:`place_all`, and let go of ``root``: it is not what is wanted. Raises OSError."""
        for step in filter(self._is_top, self._steps):
            with opened(root, step.target) as tree, opened(self._ahead, step.target) as place:
                mounts.move_mount(tree, place)
        mounts.umount(link(root), mounts.MNT_DETACH)
        os.close(root)

    def _is_top(self, step: Operation) -> TypeGuard[Mount]:
        return isinstance(step, Mount) and closed(step.target) in self._tops


def _tree(path: str) -> int:
    descriptor = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return mounts.open_tree(descriptor, recursive=True)
    finally:
        os.close(descriptor)
