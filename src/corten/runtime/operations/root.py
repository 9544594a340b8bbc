"""Operations on the container's root: overlay or directory, and the final pivot."""

from __future__ import annotations

import dataclasses
import errno
import os
from collections.abc import Sequence
from typing import ClassVar

from corten.errors import CortenError
from corten.runtime import shelf
from corten.runtime.operations.options import parse
from corten.spec.operation import Context, Operation, operation
from corten.sys import mounts
from corten.sys.mounts import mount

_GROUP = "file system"
_LONGEST = 4095
"""Bytes of mount(2)'s options, with a NUL a page: what is longer is cut off, and names other files."""
_TOO_DEEP = "an image of fewer layers is needed: in a Dockerfile, each RUN, COPY and ADD makes one"
_NO_UPPER = (
    "overlay takes a writable layer from a local file system with extended attributes, not from NFS or another "
    "overlay: place the data root elsewhere with --root; an image that is pulled anew there gets roots that are copies"
)


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class PrivateMounts(Operation):
    """Cut the ties between this mount namespace and the host's."""

    kind: ClassVar[str] = "mount.private"
    group: ClassVar[str] = _GROUP

    slave: bool = False

    def what(self) -> str:
        return "/"

    def why(self) -> str:
        return "A new mount namespace is a copy, still tied to the original: without this, mounts would show outside."

    def shell(self) -> str:
        return f"mount --make-{'rslave' if self.slave else 'rprivate'} /"

    def ahead(self) -> bool:
        return True

    def run(self, context: Context) -> None:
        mount("", "/", flags=mounts.MS_REC | (mounts.MS_SLAVE if self.slave else mounts.MS_PRIVATE))


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class OverlayMount(Operation):
    """Stack the image's layers, and a directory for what the container writes on top of them.

    Paths are relative to ``base``: the options of mount(2) must fit one page, 127 layers included.
    """

    kind: ClassVar[str] = "root.overlay"
    group: ClassVar[str] = _GROUP

    base: str
    lowers: tuple[str, ...]
    """Highest first, as overlay wants them."""
    upper: str
    """'' is an overlay that nothing is written to."""
    work: str
    merged: str
    user_xattrs: bool = False
    files: tuple[str, ...] = ()
    """Of the layers, those that are one file each: ``layers/NAME/FILE``, to be mounted at ``layers/NAME/fs``."""

    def what(self) -> str:
        return f"{self.base}/{self.merged}"

    def why(self) -> str:
        return (
            f"The image's {len(self.lowers)} layer(s) are read-only and shared by all its containers"
            f"{', each of which is a file that is mounted once for all of them' if self.files else ''}; "
            "what this one writes goes to a directory of its own."
        )

    def _options(self) -> str:
        options = f"lowerdir={':'.join(self.lowers)}"
        if self.upper:
            options += f",upperdir={self.upper},workdir={self.work}"
        # Layers that are file systems of their own: without xino, each of their files would be on another device than
        # the directory that it is in (overlayfs.rst, "Inode properties"), and tar --one-file-system leave it out.
        return options + ",xino=on" * bool(self.files) + ",userxattr" * self.user_xattrs

    def shell(self) -> str:
        layers = "".join(f"mount -t erofs -o ro {file} {place(file)} && " for file in self.files)
        return f"cd {self.base} && {layers}mount -t overlay overlay -o {self._options()} {self.merged}"

    def foreseen(self, own: str) -> bool:
        return True

    @property
    def own(self) -> str:
        """The container's own directory."""
        return f"{self.base}/{os.path.dirname(self.upper)}"

    def rehearse(self, context: Context) -> None:
        self._options()

    def run(self, context: Context) -> None:
        options = self._options()
        if len(os.fsencode(options)) > _LONGEST:
            cause = f"max depth exceeded: {len(self.lowers)} layers are more than the options of a mount can name"
            raise CortenError(cause, hint=_TOO_DEEP)
        os.chdir(self.base)
        mount_files(self.files, context)
        try:
            mount("overlay", self.merged, "overlay", 0, options)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            raise CortenError("invalid argument", hint=_NO_UPPER) from error
        context.root = os.open(self.merged, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def mount_files(files: Sequence[str], context: Context) -> None:
    """Show layers that are files where an overlay looks for them, below the current directory. Raises OSError."""
    if files and context.shelf < 0:
        raise CortenError("its layers are files, and nobody has mounted them here")
    if files:
        shelf.attach(context.shelf, [(file.split("/")[-2], place(file)) for file in files])


def place(file: str) -> str:
    """Where a layer's file is mounted."""
    return f"{os.path.dirname(file)}/fs"


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class DirectoryRoot(Operation):
    """Use a directory as it is: a bind mount of it onto itself, since only a mount can become a root."""

    kind: ClassVar[str] = "root.directory"
    group: ClassVar[str] = _GROUP
    of_host: ClassVar[bool] = True

    path: str

    def what(self) -> str:
        return self.path

    def why(self) -> str:
        return "The bundle brings its own root; pivot_root wants a mount, so the directory is mounted on itself."

    def shell(self) -> str:
        return f"mount --rbind {self.path} {self.path}"

    def run(self, context: Context) -> None:
        mount(self.path, self.path, flags=mounts.MS_BIND | mounts.MS_REC)
        context.root = os.open(self.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class CopiedRoot(DirectoryRoot):
    """Use a directory that has a copy of all files of the image, and is the container's own."""

    kind: ClassVar[str] = "root.copy"

    def why(self) -> str:
        return (
            "Overlay cannot be mounted where the data root is, or was not asked for: this container has a copy of its "
            "image's files, and writes to that."
        )


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class ReadOnlyRoot(Operation):
    """Nothing may be written to the root, apart from what is mounted into it."""

    kind: ClassVar[str] = "root.read-only"
    group: ClassVar[str] = _GROUP
    poises: ClassVar[bool] = True

    def what(self) -> str:
        return "/"

    def why(self) -> str:
        return "Asked for: the container writes only where a volume or a tmpfs is mounted."

    def shell(self) -> str:
        return "mount -o remount,bind,ro /"

    def run(self, context: Context) -> None:
        root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            mounts.set_attributes(root, mounts.MOUNT_ATTR_RDONLY, recursive=False)
        finally:
            os.close(root)


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class PivotRoot(Operation):
    """Make the container's root the root, and let go of the host's."""

    kind: ClassVar[str] = "root.pivot"
    group: ClassVar[str] = _GROUP
    poises: ClassVar[bool] = True

    def what(self) -> str:
        return "/"

    def why(self) -> str:
        return "Unlike chroot, there is no way back: the host's tree is no longer mounted anywhere in here."

    def shell(self) -> str:
        return 'cd "$ROOT" && pivot_root . . && umount -l . && cd /'

    def run(self, context: Context) -> None:
        # Both on ".": the old root comes to lie under the new one, and is the one that umount takes (pivot_root(2)).
        os.fchdir(context.root)
        mounts.pivot_root(".", ".")
        mounts.umount(".", mounts.MNT_DETACH)
        os.chdir("/")
        os.close(context.root)
        context.root = -1
        if context.shelf >= 0:  # what runs in the container is to have no way to it
            os.close(context.shelf)
            context.shelf = -1


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class RootPropagation(Operation):
    """Say how mounts of the root relate to those outside."""

    kind: ClassVar[str] = "root.propagation"
    group: ClassVar[str] = _GROUP

    mode: str

    def what(self) -> str:
        return self.mode

    def why(self) -> str:
        return "Asked for: whether mounts made outside appear in here."

    def shell(self) -> str:
        return f"mount --make-{self.mode} /"

    def run(self, context: Context) -> None:
        mount("", "/", flags=parse((self.mode,)).propagation)
