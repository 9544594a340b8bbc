"""The members of a layer, written below one directory and nowhere else.

Every path is resolved by the kernel with the layer's directory as its root (openat2, RESOLVE_IN_ROOT): a
symlink on the way means what it means inside the container. Names with ``..`` and absolute ones are refused
rather than bent. What is created is created anew (O_EXCL, O_NOFOLLOW); nothing is followed at the last step.

Whiteouts become what the layer's form has for them: :mod:`corten.store.marks`.
"""

from __future__ import annotations

import dataclasses
import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from corten.errors import CortenError, DataCorrupt
from corten.store.marks import Marks, NameMarks, OverlayMarks
from corten.store.members import OPAQUE, Parts, hidden_by, is_whiteout, kept, parts_of, path_of, shown
from corten.sys.paths import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, openat2
from corten.sys.removal import remove_tree
from corten.wire.tar import Chunk, Event, Member, Reader

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
    plain: bool = False
    """For any file system: what is hidden is told by names, and attributes that it has no room for are left out."""


class Extractor:
    """Writes a layer's members below the directory ``root``. ``lowest``: no layer is below."""

    def __init__(self, root: int, policy: Policy, *, lowest: bool) -> None:
        self._root = root
        self._lowest = lowest
        self._policy = policy
        self._marks: Marks = NameMarks() if policy.plain else OverlayMarks(policy.user_xattrs)
        self._file: tuple[int, Member] | None = None
        self._parent: tuple[Parts, int] | None = None
        self._times: dict[Parts, int] = {}
        self._implied: dict[int, Parts] = {os.fstat(root).st_ino: ()}
        self.size = 0
        """Bytes of the files, holes included."""
        self.disowned = 0
        """Members of other owners than root, where owners cannot be kept."""

    def __enter__(self) -> Extractor:
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

    def implied(self) -> list[tuple[Parts, int]]:
        """The directories that no member has spoken of, with their inodes: they are to look as in the layers below."""
        return [(parts, inode) for inode, parts in self._implied.items()]

    # --- members

    def _member(self, member: Member) -> None:
        parts = parts_of(member.name)
        if not parts:
            if member.kind != "directory":
                raise DataCorrupt(f"unpack {shown(member.name)}: the root is not a directory")
            self._dress(self._root, member)
            self._implied.pop(os.fstat(self._root).st_ino, None)
            self._times[parts] = member.mtime_ns
            return
        parent, name = self._directory(parts[:-1]), parts[-1]
        if is_whiteout(name):
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
                self._marks.make_opaque(descriptor)
            self._dress(descriptor, member)
            self._implied.pop(os.fstat(descriptor).st_ino, None)
        finally:
            os.close(descriptor)

    def _hardlink(self, parent: int, name: bytes, member: Member) -> None:
        parts = parts_of(member.link)
        if not parts:
            raise DataCorrupt(f"unpack {shown(member.name)}: a hard link to the root")
        try:
            source = self._open_inside(parts[:-1])
            try:
                os.link(parts[-1], name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
            finally:
                os.close(source)
        except (FileNotFoundError, NotADirectoryError):
            what = f"unpack {shown(member.name)}: a hard link to {shown(member.link)}"
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
        self._set_attributes(path, member)
        os.utime(name, ns=(member.mtime_ns, member.mtime_ns), dir_fd=parent, follow_symlinks=False)

    def _dress(self, descriptor: int, member: Member) -> None:
        """Owner, mode, attributes, in this order: a change of owner takes set-user-ID and capabilities."""
        if self._policy.keep_owners:
            os.fchown(descriptor, member.uid, member.gid)
        os.fchmod(descriptor, member.mode)
        self._set_attributes(descriptor, member)

    def _set_attributes(self, target: int | bytes, member: Member) -> None:
        for attribute, value in kept(member):
            try:
                os.setxattr(target, attribute, value, follow_symlinks=isinstance(target, int))
            except OSError as error:
                if error.errno != errno.EOPNOTSUPP or not self._policy.plain:
                    raise

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
            descriptor = openat2(self._root, path_of(parts), _DIRECTORY, resolve=_PLAIN)
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
            return openat2(self._root, path_of(parts), _DIRECTORY, resolve=_PLAIN)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
        found = openat2(self._root, path_of(parts), _DIRECTORY, resolve=_INSIDE)
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
                    raise DataCorrupt(f"unpack below {shown(path_of(parts))}: a symlink leaves the root")
                way.pop()
            elif part not in (b"", b"."):
                way.append(part)
                try:
                    target = os.readlink(path_of(tuple(way)), dir_fd=self._root)
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
        found = _lstat(parent, parts[-1])
        is_hidden = self._marks.lift(parent, parts[-1], found)
        if found and not is_hidden:
            kind = "a symlink to nothing inside the root" if stat.S_ISLNK(found.st_mode) else "not a directory"
            raise DataCorrupt(f"unpack below {shown(path_of(parts))}: it is {kind}")
        os.mkdir(parts[-1], 0o755, dir_fd=parent)
        descriptor = os.open(parts[-1], _DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
        try:
            if is_hidden:
                self._marks.make_opaque(descriptor)
            self._implied[os.fstat(descriptor).st_ino] = parts
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _forget_parent(self) -> None:
        if self._parent:
            os.close(self._parent[1])
            self._parent = None

    def _clear(self, parent: int, name: bytes, member: Member) -> bool:
        """Make room for a new entry, which wins over an earlier one; whether that was a whiteout."""
        found = _lstat(parent, name)
        if self._marks.lift(parent, name, found):
            return True
        if found is None or (stat.S_ISDIR(found.st_mode) and member.kind == "directory"):
            return False
        if stat.S_ISDIR(found.st_mode):
            remove_tree(os.fsdecode(name), dir_fd=parent)
        else:
            os.unlink(name, dir_fd=parent)
        return False

    # --- whiteouts

    def _whiteout(self, parent: int, name: bytes) -> None:
        if name == OPAQUE:
            self._marks.make_opaque(parent)
            return
        hidden = hidden_by(name)
        if hidden is None:
            return
        found = _lstat(parent, hidden)
        if found is None:
            if not self._lowest:  # there is nothing to hide, and overlay would list the device
                self._marks.hide(parent, hidden)
        elif stat.S_ISDIR(found.st_mode):
            descriptor = os.open(hidden, _DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
            try:
                self._marks.make_opaque(descriptor)
            finally:
                os.close(descriptor)


class Directory:
    """Takes an archive's bytes, and unpacks them into an empty directory."""

    def __init__(self, target: str, policy: Policy, *, lowest: bool, max_members: int) -> None:
        self._root = os.open(target, _DIRECTORY)
        self._extractor = Extractor(self._root, policy, lowest=lowest)
        self._reader = Reader()
        self._max_members = self._left = max_members

    def __enter__(self) -> Directory:
        self._extractor.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._extractor.__exit__()
        os.close(self._root)

    @property
    def size(self) -> int:
        """Bytes of the files, holes included."""
        return self._extractor.size

    @property
    def disowned(self) -> int:
        """Members of other owners than root, where owners cannot be kept."""
        return self._extractor.disowned

    def take(self, data: bytes) -> None:
        """The next bytes. Raises DataCorrupt, CortenError."""
        for event in self._reader.receive(data):
            self._left -= isinstance(event, Member)
            if self._left < 0:
                raise DataCorrupt(f"unpack layer: it has more than {self._max_members} members")
            self._extractor.receive(event)

    def finish(self) -> list[tuple[Parts, int]]:
        """There is no more. The directories that no member has spoken of, with their inodes."""
        self._reader.close()
        self._extractor.finish()
        return self._extractor.implied()


def _lstat(parent: int, name: bytes) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return None


@contextmanager
def _naming(name: bytes) -> Iterator[None]:
    """Say which member a system call failed on."""
    try:
        yield
    except OSError as error:
        raise CortenError.from_os("unpack", shown(name), error) from error
