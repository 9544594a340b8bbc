"""How a layer that is a directory says what it hides of the layers below.

Overlay wants devices and attributes. A layer that is only ever copied keeps the names that the archive has for it, as
plain files: every file system takes them, and no image has a file of such a name.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import stat
from typing import Protocol

from corten.errors import DataCorrupt
from corten.store.members import LONGEST_NAME, OPAQUE, WHITEOUT, shown

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Marks(Protocol):
    """Marks in the directories of one layer; all of it raises OSError."""

    def hide(self, parent: int, name: bytes) -> None:
        """Hide a name of the layers below, which this layer has not."""

    def lift(self, parent: int, name: bytes, found: os.stat_result | None) -> bool:
        """Take the mark from a name, at which ``found`` is; whether there was one."""

    def make_opaque(self, directory: int) -> None:
        """Hide all that the layers below have in a directory."""


@dataclasses.dataclass(frozen=True, slots=True)
class OverlayMarks:
    """The kernel's: a character device 0:0, an attribute (overlayfs.rst, "whiteouts and opaque directories")."""

    user_xattrs: bool

    @property
    def opaque(self) -> str:
        """The attribute."""
        return "user.overlay.opaque" if self.user_xattrs else "trusted.overlay.opaque"

    def hide(self, parent: int, name: bytes) -> None:
        """See :class:`Marks`."""
        os.mknod(name, stat.S_IFCHR, os.makedev(0, 0), dir_fd=parent)

    def lift(self, parent: int, name: bytes, found: os.stat_result | None) -> bool:
        """See :class:`Marks`."""
        if found is None or not stat.S_ISCHR(found.st_mode) or found.st_rdev:
            return False
        os.unlink(name, dir_fd=parent)
        return True

    def make_opaque(self, directory: int) -> None:
        """See :class:`Marks`."""
        os.setxattr(directory, self.opaque, b"y")


class NameMarks:
    """The archive's own: empty files called ``.wh.NAME`` and ``.wh..wh..opq``."""

    def hide(self, parent: int, name: bytes) -> None:
        """See :class:`Marks`. Raises DataCorrupt where a directory has the mark's name."""
        self._make(parent, WHITEOUT + name)

    def lift(self, parent: int, name: bytes, found: os.stat_result | None) -> bool:
        """See :class:`Marks`."""
        if found is not None or len(WHITEOUT + name) > LONGEST_NAME:  # what is here has no mark
            return False
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):
            os.unlink(WHITEOUT + name, dir_fd=parent)
            return True
        return False

    def make_opaque(self, directory: int) -> None:
        """See :class:`Marks`. Raises DataCorrupt where a directory has the mark's name."""
        self._make(directory, OPAQUE)

    def _make(self, parent: int, name: bytes) -> None:
        try:
            os.close(os.open(name, _NEW, 0o600, dir_fd=parent))
        except FileExistsError:
            if not stat.S_ISREG(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                raise DataCorrupt(f"unpack {shown(name)}: a whiteout, and a directory of the same name") from None
