"""Directory trees into archives, out of them, from one directory to another, and compared. Never a name of a user or
group: they would be looked up in the container's files, by the host's C library."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import tarfile
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from corten.sys import paths
from corten.sys.removal import remove_tree

_BUFFER, _BLOCK = 1 << 20, 512
_NO_RANGES = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
"""What copy_file_range(2) says to two file systems, or one that cannot."""
_XATTR = "SCHILY.xattr."
_KEPT_XATTRS = ("security.capability",)
_OVERLAY = ("trusted.overlay.", "user.overlay.")
"""Overlay's own attributes: of the machine's root, and of others (overlayfs.rst, "User xattr")."""
MODIFIED, ADDED, DELETED = 0, 1, 2

Links = dict[tuple[int, int], str]

# --- archives


def write_archive(output: BinaryIO, source: str, name: str, *, one_file_system: bool) -> None:
    """Everything at ``source``, its first entry called ``name`` ('' leaves the first out). With ``one_file_system``
    what is mounted below is an empty directory or file, as it is without the mount."""
    links: Links = {}
    with tarfile.open(fileobj=output, mode="w|", format=tarfile.PAX_FORMAT, errorlevel=2) as archive:
        top = _status(source)
        pending = [(source, name, top)]
        while pending:
            path, entry, status = pending.pop()
            foreign = one_file_system and status.st_dev != top.st_dev
            if foreign and stat.S_ISREG(status.st_mode):
                archive.addfile(tarfile.TarInfo(entry))
                continue
            if entry:
                add(archive, path, entry, status, links)
            if stat.S_ISDIR(status.st_mode) and not foreign:
                pending += reversed(list(children(path, entry)))


def _status(path: str) -> os.stat_result:
    """A slash or dot at the end of a path means what a symbolic link points to."""
    return os.stat(path) if path.endswith(("/", "/.")) else os.lstat(path)


def children(path: str, entry: str) -> Iterator[tuple[str, str, os.stat_result]]:
    """What is in a directory, sorted; what goes meanwhile is left out."""
    with contextlib.suppress(FileNotFoundError):
        for child in sorted(os.listdir(path)):
            below = os.path.join(path, child)
            with contextlib.suppress(FileNotFoundError):
                yield below, os.path.join(entry, child), os.lstat(below)


def add(
    archive: tarfile.TarFile, path: str, name: str, status: os.stat_result, links: Links, epoch: int | None = None
) -> None:
    """One file into an archive, under a name of its own, and not newer than ``epoch``; a socket is left out. Raises
    OSError."""
    entry = describe(path, name, status, links)
    if entry is None:
        return
    if epoch is not None:
        entry.mtime = min(entry.mtime, epoch)
    if not entry.isreg():
        archive.addfile(entry)
        return
    with contextlib.suppress(FileNotFoundError):
        with open(path, "rb", buffering=0) as content:
            archive.addfile(entry, _Padded(content))


class _Padded:
    """A file that has as many bytes as its entry says, even when it becomes shorter meanwhile."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int = 0, /) -> bytes:
        """Exactly ``size`` bytes."""
        data = bytearray()
        while len(data) < size and (more := self._file.read(size - len(data))):
            data += more
        return bytes(data).ljust(size, b"\0")


def describe(path: str, name: str, status: os.stat_result, links: Links) -> tarfile.TarInfo | None:
    """The entry of a file; None for a socket, which an archive cannot hold."""
    entry = tarfile.TarInfo(name)
    entry.mode, entry.uid, entry.gid = stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid
    entry.mtime = int(status.st_mtime)
    kind = stat.S_IFMT(status.st_mode)
    if kind == stat.S_IFSOCK:
        return None
    if kind == stat.S_IFREG:
        _describe_file(entry, status, links)
    elif kind == stat.S_IFLNK:
        entry.type, entry.linkname = tarfile.SYMTYPE, os.readlink(path)
    elif kind == stat.S_IFDIR:
        entry.type = tarfile.DIRTYPE
    elif kind == stat.S_IFIFO:
        entry.type = tarfile.FIFOTYPE
    else:
        entry.type = tarfile.CHRTYPE if kind == stat.S_IFCHR else tarfile.BLKTYPE
        entry.devmajor, entry.devminor = os.major(status.st_rdev), os.minor(status.st_rdev)
    entry.pax_headers = dict(_xattrs(path)) if kind == stat.S_IFREG else {}
    return entry


def _describe_file(entry: tarfile.TarInfo, status: os.stat_result, links: Links) -> None:
    identity = (status.st_dev, status.st_ino)
    if status.st_nlink > 1 and identity in links:
        entry.type, entry.linkname = tarfile.LNKTYPE, links[identity]
        return
    entry.size = status.st_size
    if status.st_nlink > 1:
        links[identity] = entry.name


def _xattrs(path: str) -> Iterator[tuple[str, str]]:
    for name in _KEPT_XATTRS:
        with contextlib.suppress(OSError):
            value = os.getxattr(path, name, follow_symlinks=False)
            yield _XATTR + name, value.decode("utf-8", "surrogateescape")


def unpack(
    member: tarfile.TarInfo,
    content: BinaryIO | None,
    directory: str,
    *,
    owner: tuple[int, int] | None,
    overwrite_kind: bool,
) -> None:
    """Make one entry of an archive below ``directory``. Raises OSError; IsADirectoryError or NotADirectoryError when
    a file and a directory are in each other's way and ``overwrite_kind`` is off."""
    name = os.path.normpath("/" + member.name).lstrip("/")
    path = os.path.join(directory, name)
    if not name:
        return
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    _make_room(member, path, overwrite_kind)
    _make(member, content, path, directory)
    _set_attributes(member, path, owner)


def _make_room(member: tarfile.TarInfo, path: str, overwrite_kind: bool) -> None:
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    is_directory = stat.S_ISDIR(status.st_mode)
    if is_directory and member.isdir():
        return
    if is_directory != member.isdir() and not overwrite_kind:
        kind = "directory" if is_directory else "non-directory"
        other = "non-directory" if is_directory else "directory"
        raise OSError(f"cannot overwrite {kind} {path!r} with {other}")
    if is_directory:
        remove_tree(path)
    else:
        os.unlink(path)


def _make(member: tarfile.TarInfo, content: BinaryIO | None, path: str, directory: str) -> None:
    if member.isdir():
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o755)
    elif member.issym():
        os.symlink(member.linkname, path)
    elif member.islnk():
        target = os.path.join(directory, os.path.normpath("/" + member.linkname).lstrip("/"))
        os.link(target, path, follow_symlinks=False)
    elif member.isfifo():
        os.mkfifo(path)
    elif member.isdev():
        kind = stat.S_IFCHR if member.ischr() else stat.S_IFBLK
        os.mknod(path, kind | 0o600, os.makedev(member.devmajor, member.devminor))
    elif content is not None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
            shutil.copyfileobj(content, file, _BUFFER)


def _set_attributes(member: tarfile.TarInfo, path: str, owner: tuple[int, int] | None) -> None:
    """Owner before mode: changing the owner clears the set-user-ID bit."""
    if member.islnk():
        return
    os.chown(path, *(owner or (member.uid, member.gid)), follow_symlinks=False)
    if member.issym():
        os.utime(path, (member.mtime, member.mtime), follow_symlinks=False)
        return
    os.chmod(path, member.mode & 0o7777)
    for key, value in member.pax_headers.items():
        if key.startswith(_XATTR):
            with contextlib.suppress(OSError):  # a file system without them
                os.setxattr(path, key.removeprefix(_XATTR), value.encode("utf-8", "surrogateescape"))
    os.utime(path, (member.mtime, member.mtime))


# --- copies


def copy(source: int, target: int) -> None:
    """Everything in the directory ``source``, and its own mode and owner, into the directory ``target``: owners,
    modes, times, extended attributes, hard links. ``target`` is nobody else's. Raises OSError."""
    Copy(target).directory(source, target, "")


class Copy:
    """One copy: knows the files that have several names, by their path below the target ``top``."""

    def __init__(self, top: int) -> None:
        self._top = top
        self._links: Links = {}

    def directory(self, source: int, target: int, prefix: str) -> None:
        for name in os.listdir(source):
            status = os.stat(name, dir_fd=source, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                os.mkdir(name, 0o700, dir_fd=target)
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
                with _opened(name, flags, source) as below, _opened(name, flags, target) as made:
                    self.directory(below, made, f"{prefix}{name}/")
            else:
                self.entry(source, target, name, f"{prefix}{name}", status)
        copy_attributes(source, target)

    def entry(self, source: int, target: int, name: str, path: str, status: os.stat_result) -> None:
        """Whatever is no directory, from one directory into another, where its path below the top is ``path``."""
        identity, mode = (status.st_dev, status.st_ino), status.st_mode
        if identity in self._links:
            os.link(self._links[identity], name, src_dir_fd=self._top, dst_dir_fd=target, follow_symlinks=False)
            return
        if status.st_nlink > 1:
            self._links[identity] = path
        if stat.S_ISREG(mode):
            _copy_file(name, source, target)
        elif stat.S_ISLNK(mode):
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
            _own(name, target, status)
        else:
            os.mknod(name, mode, status.st_rdev, dir_fd=target)
            _own(name, target, status)
            os.chmod(name, stat.S_IMODE(mode), dir_fd=target)


def _own(name: str, directory: int, status: os.stat_result) -> None:
    os.chown(name, status.st_uid, status.st_gid, dir_fd=directory, follow_symlinks=False)
    os.utime(name, ns=(status.st_atime_ns, status.st_mtime_ns), dir_fd=directory, follow_symlinks=False)


@contextlib.contextmanager
def _opened(name: str, flags: int, directory: int, mode: int = 0o600) -> Iterator[int]:
    descriptor = os.open(name, flags, mode, dir_fd=directory)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _copy_file(name: str, source: int, target: int) -> None:
    read = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    make = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with _opened(name, read, source) as old, _opened(name, make, target) as new:
        status = os.fstat(old)
        if status.st_blocks * _BLOCK < status.st_size:
            _copy_pieces(old, new, status.st_size)
        else:
            _copy_range(old, new, 0, status.st_size)
        copy_attributes(old, new)


def _copy_pieces(old: int, new: int, size: int) -> None:
    """What is between the holes of a file, lseek(2)."""
    os.ftruncate(new, size)
    end = 0
    while (start := _data_from(old, end)) is not None:
        end = os.lseek(old, start, os.SEEK_HOLE)
        _copy_range(old, new, start, end)


def _data_from(file: int, at: int) -> int | None:
    try:
        return os.lseek(file, at, os.SEEK_DATA)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return None


def _copy_range(old: int, new: int, start: int, end: int) -> None:
    """Some bytes: where the file system can, shared until one is written to (copy_file_range(2))."""
    os.lseek(old, start, os.SEEK_SET)
    os.lseek(new, start, os.SEEK_SET)
    ranges = True
    while start < end:
        try:
            moved = os.copy_file_range(old, new, end - start) if ranges else os.sendfile(new, old, None, end - start)
        except OSError as error:
            if not ranges or error.errno not in _NO_RANGES:
                raise
            ranges = False
            continue
        if not moved:  # it became shorter
            break
        start += moved


def copy_attributes(source: int, target: int) -> None:
    status = os.fstat(source)
    os.fchown(target, status.st_uid, status.st_gid)
    os.fchmod(target, stat.S_IMODE(status.st_mode))
    for name in os.listxattr(source):
        if not name.startswith((*_OVERLAY, "security.selinux")):
            os.setxattr(target, name, os.getxattr(source, name))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


# --- differences


def changes(upper: str, lowers: Sequence[str]) -> Iterator[tuple[str, int]]:
    """(path, kind) of everything in an overlay's upper directory; ``lowers`` highest first, all relative to the
    current directory."""
    roots = [os.open(lower, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) for lower in lowers]
    pending = [("", True)]
    while pending:
        path, below_exists = pending.pop()
        directory = f"{upper}{path}"
        for entry in os.scandir(directory):
            status = entry.stat(follow_symlinks=False)
            name = f"{path}/{entry.name}"
            exists = below_exists and _below(roots, name) is not None
            if is_whiteout(status):
                if exists:
                    yield name, DELETED
                continue
            yield name, MODIFIED if exists else ADDED
            if entry.is_dir(follow_symlinks=False):
                pending.append((name, exists and not is_opaque(entry.path)))
    for root in roots:
        os.close(root)


def is_whiteout(status: os.stat_result) -> bool:
    """Overlay's mark of a deletion: a character device 0:0."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def is_opaque(path: str) -> bool:
    """Whether overlay hides what the layers below have in a directory."""
    for prefix in _OVERLAY:
        with contextlib.suppress(OSError):
            if os.getxattr(path, f"{prefix}opaque", follow_symlinks=False) == b"y":
                return True
    return False


def retouched(upper: str, lowers: Sequence[str], path: str) -> bool:
    """Whether a directory of the upper directory has another owner or mode than the layers show; as :func:`changes`."""
    roots = [os.open(lower, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) for lower in lowers]
    try:
        own, below = os.lstat(f"{upper}{path}"), _below(roots, path)
    except FileNotFoundError:  # gone meanwhile
        return False
    finally:
        for root in roots:
            os.close(root)
    return below is not None and (own.st_mode, own.st_uid, own.st_gid) != (below.st_mode, below.st_uid, below.st_gid)


def is_unchanged(upper: str, lowers: Sequence[str], path: str) -> bool:
    """Whether a regular file of the upper directory is what the layers show without it: one that was opened to be
    written, and was not. A command can put a file back, and its time: so its content is compared as well. A directory
    is looked at by itself alone."""
    own = os.lstat(f"{upper}{path}")
    is_directory = stat.S_ISDIR(own.st_mode)
    if not is_directory and (not stat.S_ISREG(own.st_mode) or own.st_nlink > 1):  # two names would be two files
        return False
    below = _shown(lowers, path)
    if below is None or _looks(own) != _looks(os.lstat(below)):
        return False
    if is_directory:
        return not is_opaque(f"{upper}{path}")
    return dict(_xattrs(f"{upper}{path}")) == dict(_xattrs(below)) and _same_content(f"{upper}{path}", below)


def _looks(status: os.stat_result) -> tuple[int, ...]:
    size = 0 if stat.S_ISDIR(status.st_mode) else status.st_size  # a directory's is its file system's
    return status.st_mode, status.st_uid, status.st_gid, size, status.st_mtime_ns


def _same_content(one: str, other: str) -> bool:
    with open(one, "rb") as first, open(other, "rb") as second:
        while data := first.read(_BUFFER):
            if second.read(_BUFFER) != data:
                return False
        return not second.read(1)


def _shown(lowers: Sequence[str], path: str) -> str | None:
    """Where a file is that the layers show at a path: below what hides it there is none."""
    names = path.strip("/").split("/")
    for lower in lowers:
        at, is_last = lower, False
        for number, name in enumerate(names, 1):
            is_last |= is_opaque(at)
            at = f"{at}/{name}"
            try:
                status = os.lstat(at)
            except FileNotFoundError:
                break
            if number == len(names):
                return None if is_whiteout(status) else at
            if not stat.S_ISDIR(status.st_mode):
                return None
        if is_last:
            return None
    return None


def _below(roots: Sequence[int], path: str) -> os.stat_result | None:
    """What the layers show at a path, if anything: the highest that has it decides."""
    resolve = paths.RESOLVE_BENEATH | paths.RESOLVE_NO_SYMLINKS | paths.RESOLVE_NO_MAGICLINKS
    for root in roots:
        try:
            found = paths.openat2(root, path.lstrip("/").encode("utf-8", "surrogateescape"),
                                  os.O_PATH | os.O_NOFOLLOW, resolve=resolve)  # fmt: skip
        except OSError:
            continue
        try:
            status = os.fstat(found)
        finally:
            os.close(found)
        return None if is_whiteout(status) else status
    return None
