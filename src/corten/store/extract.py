"""The members of a layer, written below one directory and nowhere else, in the form that overlay mounts.

Every path is resolved by the kernel with the layer's directory as its root (openat2, RESOLVE_IN_ROOT): a
symlink on the way means what it means inside the container. Names with ``..`` and absolute ones are refused
rather than bent. What is created is created anew (O_EXCL, O_NOFOLLOW); nothing is followed at the last step.

Whiteouts (OCI image-spec, layer.md) become overlay's: ``.wh.NAME`` a character device 0:0, ``.wh..wh..opq``
an extended attribute of its directory. They speak of layers below: an entry of the same layer outlives them.
"""

from __future__ import annotations

import dataclasses
import errno
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from corten.errors import CortenError, DataCorrupt
from corten.sys.paths import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, openat2
from corten.wire.tar import Chunk, Event, Member

Parts = tuple[bytes, ...]

_WHITEOUT, _META, _OPAQUE = b".wh.", b".wh..wh.", b".wh..wh..opq"
_LONGEST_NAME = 4095
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_INSIDE = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
_PLAIN = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS


@dataclasses.dataclass(frozen=True, slots=True)
class Policy:
    """What may be written: see :class:`corten.store.privilege.Privilege`.

    Without the machine's privileges (``user_xattrs``) device nodes cannot be made and are left out, as
    rootless engines do: a container's /dev is not the image's.
    """

    user_xattrs: bool = False
    keep_owners: bool = True


class Extractor:
    """Writes a layer's members below the directory ``root``; ``lowers`` are the layers below, top first."""

    def __init__(self, root: int, lowers: Sequence[str], policy: Policy) -> None:
        self._root = root
        self._lowers = lowers
        self._policy = policy
        self._file: tuple[int, Member] | None = None
        self._parent: tuple[Parts, int] | None = None
        self._times: dict[Parts, int] = {}
        self.size = 0
        """Bytes of the files, holes included."""
        self.disowned = 0
        """Members of other owners than root, where owners cannot be kept."""

    def __enter__(self) -> Extractor:
        if below := self._stat_below(()):
            self._resemble(self._root, (), below)
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:
            os.close(self._file[0])
            self._file = None
        self._forget_parent()

    def receive(self, event: Event) -> None:
        """Write what the archive holds next. Raises DataCorrupt for what leaves the root, CortenError."""
        if isinstance(event, Chunk):
            self._write(event)
            return
        self._finish_file()
        with _naming(event.name):
            self._member(event)

    def finish(self) -> None:
        """Set the times of the directories, which writing into them has changed."""
        self._finish_file()
        for parts, mtime in self._times.items():
            with _naming(b"/".join(parts)):
                self._set_time(parts, mtime)

    # --- members

    def _member(self, member: Member) -> None:
        parts = _parts(member.name)
        if not parts:
            if member.kind != "directory":
                raise DataCorrupt(f"unpack {_shown(member.name)}: the root is not a directory")
            self._dress(self._root, member)
            self._times[parts] = member.mtime_ns
            return
        parent, name = self._directory(parts[:-1]), parts[-1]
        if name.startswith(_WHITEOUT):
            self._whiteout(parent, name)
            return
        replaced = self._clear(parent, name, member)
        self.disowned += not self._policy.keep_owners and (member.uid, member.gid) != (0, 0)
        match member.kind:
            case "file":
                self._file = os.open(name, _NEW_FILE, 0o600, dir_fd=parent), member
                self.size += member.size
                if member.sparse is not None:
                    os.ftruncate(self._file[0], member.size)
            case "directory":
                self._make_directory(parent, name, member, opaque=replaced)
                self._times[parts] = member.mtime_ns
            case "hardlink":
                self._hardlink(parent, name, member)
            case _:
                self._make_special(parent, name, member)

    def _make_directory(self, parent: int, name: bytes, member: Member, *, opaque: bool) -> None:
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            pass  # _clear has left a directory there: this entry dresses it anew
        descriptor = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
        try:
            if opaque:
                self._mark_opaque(descriptor)
            self._dress(descriptor, member)
        finally:
            os.close(descriptor)

    def _hardlink(self, parent: int, name: bytes, member: Member) -> None:
        parts = _parts(member.link)
        if not parts:
            raise DataCorrupt(f"unpack {_shown(member.name)}: a hard link to the root")
        try:
            source = self._open_inside(parts[:-1])
            try:
                os.link(parts[-1], name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
            finally:
                os.close(source)
        except (FileNotFoundError, NotADirectoryError):
            what = f"unpack {_shown(member.name)}: a hard link to {_shown(member.link)}"
            raise DataCorrupt(f"{what}, which is not in the layer") from None

    def _make_special(self, parent: int, name: bytes, member: Member) -> None:
        if member.kind == "symlink":
            os.symlink(member.link, name, dir_fd=parent)
        elif member.kind == "fifo":
            os.mkfifo(name, member.mode, dir_fd=parent)
        elif self._policy.user_xattrs:
            return
        else:
            form = stat.S_IFCHR if member.kind == "char" else stat.S_IFBLK
            os.mknod(name, form | member.mode, os.makedev(member.major, member.minor), dir_fd=parent)
        if self._policy.keep_owners:
            os.chown(name, member.uid, member.gid, dir_fd=parent, follow_symlinks=False)
        path = f"/proc/self/fd/{parent}/".encode() + name
        for attribute, value in _kept(member):
            os.setxattr(path, attribute, value, follow_symlinks=False)
        os.utime(name, ns=(member.mtime_ns, member.mtime_ns), dir_fd=parent, follow_symlinks=False)

    def _dress(self, descriptor: int, member: Member) -> None:
        """Owner, mode, attributes, in this order: a change of owner takes set-user-ID and capabilities."""
        if self._policy.keep_owners:
            os.fchown(descriptor, member.uid, member.gid)
        os.fchmod(descriptor, member.mode)
        for attribute, value in _kept(member):
            os.setxattr(descriptor, attribute, value)

    # --- content of files

    def _write(self, chunk: Chunk) -> None:
        if self._file is None:  # a whiteout with content: nothing to keep
            return
        descriptor, member = self._file
        data, offset = memoryview(chunk.data), chunk.offset
        with _naming(member.name):
            while data:
                written = os.pwrite(descriptor, data, offset)
                data, offset = data[written:], offset + written

    def _finish_file(self) -> None:
        if self._file is None:
            return
        descriptor, member = self._file
        self._file = None
        try:
            with _naming(member.name):
                self._dress(descriptor, member)
                os.utime(descriptor, ns=(member.mtime_ns, member.mtime_ns))
        finally:
            os.close(descriptor)

    def _set_time(self, parts: Parts, mtime: int) -> None:
        try:
            descriptor = openat2(self._root, _path(parts), _DIRECTORY, resolve=_PLAIN)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return  # a later entry took its place
            raise
        try:
            os.utime(descriptor, ns=(mtime, mtime))
        finally:
            os.close(descriptor)

    # --- places

    def _directory(self, parts: Parts) -> int:
        """The directory of these names, made where the archive has none; good until the next call."""
        if self._parent and self._parent[0] == parts:
            return self._parent[1]
        self._forget_parent()
        try:
            found = self._open_inside(parts)
        except (FileNotFoundError, NotADirectoryError):
            found = self._imply(parts)
        self._parent = parts, found
        return found

    def _open_inside(self, parts: Parts) -> int:
        """A directory by its path inside the root, symlinks included."""
        try:
            return openat2(self._root, _path(parts), _DIRECTORY, resolve=_PLAIN)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
        found = openat2(self._root, _path(parts), _DIRECTORY, resolve=_INSIDE)
        try:
            self._refuse_climbing(parts)
        except BaseException:
            os.close(found)
            raise
        return found

    def _refuse_climbing(self, parts: Parts) -> None:
        """The kernel bends a symlink that climbs above the root back into it; nobody honest writes one."""
        way, todo = list[bytes](), list(reversed(parts))
        while todo:
            part = todo.pop()
            if part == b"..":
                if not way:
                    raise DataCorrupt(f"unpack below {_shown(_path(parts))}: a symlink leaves the root")
                way.pop()
            elif part not in (b"", b"."):
                way.append(part)
                try:
                    target = os.readlink(_path(tuple(way)), dir_fd=self._root)
                except OSError:
                    continue  # not a symlink
                way = [] if target.startswith(b"/") else way[:-1]
                todo += reversed(target.split(b"/"))

    def _imply(self, parts: Parts) -> int:
        current = os.dup(self._root)
        for depth in range(1, len(parts) + 1):
            try:
                below = self._open_inside(parts[:depth])
            except (FileNotFoundError, NotADirectoryError):
                below = self._make_implied(current, parts[:depth])
            finally:
                os.close(current)
            current = below
        return current

    def _make_implied(self, parent: int, parts: Parts) -> int:
        """A directory that has no entry of its own looks as it does in the layers below."""
        found = _lstat(parent, parts[-1])
        if found and not _is_whiteout(found):
            kind = (
                "a symlink to nothing inside the root" if stat.S_ISLNK(found.st_mode) else "not a directory"
            )
            raise DataCorrupt(f"unpack below {_shown(_path(parts))}: it is {kind}")
        if found:
            os.unlink(parts[-1], dir_fd=parent)
        os.mkdir(parts[-1], 0o755, dir_fd=parent)
        descriptor = os.open(parts[-1], _DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
        try:
            if found:
                self._mark_opaque(descriptor)
            elif below := self._stat_below(parts):
                self._resemble(descriptor, parts, below)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _resemble(self, descriptor: int, parts: Parts, below: os.stat_result) -> None:
        if self._policy.keep_owners:
            os.fchown(descriptor, below.st_uid, below.st_gid)
        os.fchmod(descriptor, stat.S_IMODE(below.st_mode))
        self._times[parts] = below.st_mtime_ns

    def _stat_below(self, parts: Parts) -> os.stat_result | None:
        """What the highest layer that has this path shows there, if that is a directory."""
        for lower in self._lowers:
            root = os.open(lower, _DIRECTORY)
            try:
                descriptor = openat2(root, _path(parts), os.O_PATH | os.O_NOFOLLOW, resolve=_PLAIN)
            except OSError as error:
                if error.errno == errno.ENOENT:
                    continue
                return None  # a file, symlink or whiteout hides what is further below
            finally:
                os.close(root)
            try:
                found = os.fstat(descriptor)
            finally:
                os.close(descriptor)
            return found if stat.S_ISDIR(found.st_mode) else None
        return None

    def _forget_parent(self) -> None:
        if self._parent:
            os.close(self._parent[1])
            self._parent = None

    def _clear(self, parent: int, name: bytes, member: Member) -> bool:
        """Make room for a new entry, which wins over an earlier one; whether that was a whiteout."""
        found = _lstat(parent, name)
        if found is None or (stat.S_ISDIR(found.st_mode) and member.kind == "directory"):
            return False
        if stat.S_ISDIR(found.st_mode):
            shutil.rmtree(name, dir_fd=parent)
        else:
            os.unlink(name, dir_fd=parent)
        return _is_whiteout(found)

    # --- whiteouts

    def _whiteout(self, parent: int, name: bytes) -> None:
        if name == _OPAQUE:
            self._mark_opaque(parent)
            return
        if name.startswith(_META):
            return  # aufs kept its own books under such names
        hidden = name.removeprefix(_WHITEOUT)
        if hidden in (b"", b".", b".."):
            raise DataCorrupt(f"unpack {_shown(name)}: a whiteout of no file in its directory")
        found = _lstat(parent, hidden)
        if found is None:
            if (
                self._lowers
            ):  # without a layer below there is nothing to hide, and overlay would list the device
                os.mknod(hidden, stat.S_IFCHR, os.makedev(0, 0), dir_fd=parent)
        elif stat.S_ISDIR(found.st_mode):
            descriptor = os.open(hidden, _DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
            try:
                self._mark_opaque(descriptor)
            finally:
                os.close(descriptor)

    def _mark_opaque(self, descriptor: int) -> None:
        name = "user.overlay.opaque" if self._policy.user_xattrs else "trusted.overlay.opaque"
        os.setxattr(descriptor, name, b"y")


def _parts(name: bytes) -> Parts:
    """The components of a name. Raises DataCorrupt for one that leaves the root."""
    if len(name) > _LONGEST_NAME:
        raise DataCorrupt(f"unpack {_shown(name)}…: a name of {len(name)} bytes is over the limit")
    if name.startswith(b"/") and name.strip(b"/."):
        raise DataCorrupt(f"unpack {_shown(name)}: an absolute path leaves the root")
    parts = tuple(part for part in name.split(b"/") if part not in (b"", b"."))
    if b".." in parts:
        raise DataCorrupt(f"unpack {_shown(name)}: a path with '..' leaves the root")
    return parts


def _path(parts: Parts) -> bytes:
    return b"/".join(parts) or b"."


def _shown(name: bytes) -> str:
    return name[:200].decode(errors="backslashreplace")


def _lstat(parent: int, name: bytes) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _is_whiteout(found: os.stat_result) -> bool:
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def _kept(member: Member) -> Iterator[tuple[bytes, bytes]]:
    """Attributes that a layer may set: capabilities and users' own; never overlay's, which steer mounts."""
    for name, value in member.xattrs:
        users = name.startswith(b"user.") and not name.startswith(b"user.overlay.")
        if name == b"security.capability" or (users and member.kind in ("file", "directory")):
            yield name, value


@contextmanager
def _naming(name: bytes) -> Iterator[None]:
    """Say which member a system call failed on."""
    try:
        yield
    except OSError as error:
        raise CortenError.from_os("unpack", _shown(name), error) from error
