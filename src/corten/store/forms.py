"""The forms that a layer can have on disk: what differs between them, apart from how an archive becomes one.

A layer is unpacked by a process of its own, into a directory of its own, without a look at the layers below, so that
those of an image can be unpacked side by side. What has to be known of the layers below is put right afterwards, in
their order: how a directory looks that the archive implies and does not describe. Then the layer gets its name.

===========  =====================================================  ========================
form         in the layer's directory                               when
===========  =====================================================  ========================
``erofs``    ``layer.erofs``, one file, mounted at ``fs``           root, Linux 6.12
``overlay``  ``fs``, the files, with overlay's marks of deletions   nearly everywhere else
``copy``     ``fs``, the files, with the archive's own such marks   overlay cannot be mounted
===========  =====================================================  ========================

A layer remembers its form: a data root may have layers of several, and an image may stand on them. Containers of an
image that has a layer of the last form get a copy of all its files (:mod:`corten.engine.copies`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from corten.store.members import OPAQUE, WHITEOUT, Parts, path_of
from corten.sys.paths import RESOLVE_IN_ROOT, RESOLVE_NO_SYMLINKS, openat2

FILE, PLAIN = "layer.erofs", "layer.copy"
"""What tells a layer's form at a glance: the file itself, an empty one."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_PLAIN = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS


class Look(NamedTuple):
    """How a directory looks."""

    mode: int
    uid: int
    gid: int
    mtime_ns: int


class Hidden(Exception):
    """Something is there that is no directory, and hides whatever is below."""


Implied = tuple[Parts, int]
"""A directory that no member has spoken of, and where the form finds it."""
LookUp = Callable[[Parts], Look | None]
"""How the layers below show a directory; None where they have none."""


class Form(Protocol):
    """What is done with a layer's directory, by form."""

    @property
    def name(self) -> str:
        """What the layers of this form are told by."""

    def begin(self, directory: Path) -> Path:
        """Make what a process is to fill, in an empty directory. Raises OSError."""

    def settle(self, directory: Path, implied: Iterable[Implied], below: LookUp) -> None:
        """Let implied directories look as those below do. Raises OSError, CortenError."""

    def look(self, directory: Path, parts: Parts) -> Look | None:
        """How a directory looks in a layer; None where it has nothing. Raises Hidden, OSError."""


@dataclasses.dataclass(frozen=True, slots=True)
class OverlayForm:
    """Files in a directory."""

    keep_owners: bool
    name: str = "overlay"

    def begin(self, directory: Path) -> Path:
        """See :class:`Form`."""
        target = directory / "fs"
        target.mkdir(mode=0o755)
        return target

    def settle(self, directory: Path, implied: Iterable[Implied], below: LookUp) -> None:
        """See :class:`Form`."""
        with _opened(directory / "fs") as root:
            for parts, inode in implied:
                if look := below(parts):
                    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                        self._resemble(root, parts, inode, look)

    def _resemble(self, root: int, parts: Parts, inode: int, look: Look) -> None:
        try:
            descriptor = openat2(root, path_of(parts), _DIRECTORY, resolve=_PLAIN)
        except OSError as error:
            if error.errno == errno.ELOOP:  # a later entry took its place
                return
            raise
        try:
            if os.fstat(descriptor).st_ino == inode:
                if self.keep_owners:
                    os.fchown(descriptor, look.uid, look.gid)
                os.fchmod(descriptor, stat.S_IMODE(look.mode))
                os.utime(descriptor, ns=(look.mtime_ns, look.mtime_ns))
        finally:
            os.close(descriptor)

    def look(self, directory: Path, parts: Parts) -> Look | None:
        """See :class:`Form`."""
        with _opened(directory / "fs") as root:
            try:
                descriptor = openat2(root, path_of(parts), os.O_PATH | os.O_NOFOLLOW, resolve=_PLAIN)
            except FileNotFoundError:
                return None
            except (NotADirectoryError, OSError) as error:
                if error.errno in (errno.ENOTDIR, errno.ELOOP):
                    raise Hidden from None
                raise
        try:
            found = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        if not stat.S_ISDIR(found.st_mode):
            raise Hidden
        return Look(found.st_mode, found.st_uid, found.st_gid, found.st_mtime_ns)


@dataclasses.dataclass(frozen=True, slots=True)
class CopyForm(OverlayForm):
    """Files in a directory that is never mounted, only copied from."""

    name: str = "copy"

    def begin(self, directory: Path) -> Path:
        """See :class:`Form`."""
        (directory / PLAIN).touch(mode=0o600)
        return OverlayForm.begin(self, directory)

    def look(self, directory: Path, parts: Parts) -> Look | None:
        """See :class:`Form`."""
        if (found := OverlayForm.look(self, directory, parts)) is None:
            with _opened(directory / "fs") as root:
                if any(_is_hidden(root, parts[:depth], parts[depth]) for depth in range(len(parts))):
                    raise Hidden
        return found


def _is_hidden(root: int, above: Parts, name: bytes) -> bool:
    for mark in (WHITEOUT + name, OPAQUE):
        with contextlib.suppress(OSError):  # there is no such directory, or no such mark
            os.close(openat2(root, path_of((*above, mark)), os.O_PATH | os.O_NOFOLLOW, resolve=_PLAIN))
            return True
    return False


@dataclasses.dataclass(frozen=True, slots=True)
class ErofsForm:
    """One file. Beside it is the empty directory that it is mounted at, in the tree of who needs it."""

    name: str = "erofs"

    def begin(self, directory: Path) -> Path:
        """See :class:`Form`."""
        (directory / "fs").mkdir(mode=0o755)
        target = directory / FILE
        target.touch(mode=0o600)
        return target

    def settle(self, directory: Path, implied: Iterable[Implied], below: LookUp) -> None:
        """See :class:`Form`."""
        from corten.store import erofs
        from corten.wire.erofs import Inode

        descriptor = os.open(directory / FILE, os.O_RDWR | os.O_CLOEXEC)
        try:
            for parts, place in implied:
                if look := below(parts):
                    own = Inode(look.mode, look.uid, look.gid, 0, look.mtime_ns, 0)
                    erofs.resemble(descriptor, place, own)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def look(self, directory: Path, parts: Parts) -> Look | None:
        """See :class:`Form`."""
        from corten.store import erofs

        descriptor = os.open(directory / FILE, os.O_RDONLY | os.O_CLOEXEC)
        try:
            way = erofs.names(descriptor).way(parts)
        finally:
            os.close(descriptor)
        if any(not inode.is_directory for inode in way):
            raise Hidden
        if len(way) <= len(parts):
            return None
        return Look(way[-1].mode, way[-1].uid, way[-1].gid, way[-1].mtime_ns)


def looked_up(layers: Iterable[tuple[Form, Path]]) -> LookUp:
    """How layers show a directory, the highest that has something there deciding."""
    stack = list(layers)

    def look(parts: Parts) -> Look | None:
        try:
            return next((found for form, directory in stack if (found := form.look(directory, parts))), None)
        except Hidden:
            return None

    return look


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, _DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)

