"""Tar archives and local files, for ``cp``: packing as a stream, unpacking without leaving the destination."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from collections.abc import Iterable, Iterator

from corten.errors import CortenError, DataCorrupt

_BLOCK = 64 * 1024


class ChunkReader(io.RawIOBase):
    """A file object over pieces of bytes: what tarfile reads a stream from."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._left = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """``size`` bytes, fewer only at the end."""
        found = bytearray(self._left)
        while size < 0 or len(found) < size:
            piece = next(self._pieces, None)
            if piece is None:
                break
            found += piece
        end = len(found) if size < 0 else size
        self._left = bytes(found[end:])
        return bytes(found[:end])


def renamed(archive: tarfile.TarFile, name: str) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo, str]]:
    """The members, each with its path where the archive's top is called ``name`` ('' leaves the top out)."""
    for member in archive:
        _, _, rest = member.name.strip("/").partition("/")
        yield archive, member, os.path.normpath(os.path.join(name, rest)) if name or rest else "."


def extract(members: Iterable[tuple[tarfile.TarFile, tarfile.TarInfo, str]], directory: str) -> int:
    """Unpack members below a directory; the bytes of the files. Raises CortenError.

    A container decides what is in the archive, so nothing may be written through a symbolic link that came with
    it, nor above the directory.
    """
    links: set[str] = set()
    total = 0
    directories: list[tuple[str, tarfile.TarInfo]] = []
    for archive, member, path in members:
        _check(path, links)
        target = os.path.join(directory, path)
        if member.issym():
            links.add(path)
        if member.isdir():
            directories.append((target, member))
        try:
            total += _extract_one(archive, member, target, directory, links)
        except OSError as error:
            raise CortenError.from_os("write", target, error) from error
    for target, member in reversed(directories):
        os.chmod(target, member.mode)
        os.utime(target, (member.mtime, member.mtime))
    return total


def _check(path: str, links: set[str]) -> None:
    if path.startswith(("/", "..")):
        raise DataCorrupt(f"unpack {path}: it leads out of the destination")
    parts = path.split("/")
    above = ("/".join(parts[:count]) for count in range(1, len(parts)))
    if any(part in links for part in above):
        raise DataCorrupt(f"unpack {path}: it leads through a symbolic link of the archive")


def _extract_one(
    archive: tarfile.TarFile, member: tarfile.TarInfo, target: str, directory: str, links: set[str]
) -> int:
    if member.isdir():
        if not os.path.isdir(target):
            os.mkdir(target, 0o700)
        return 0
    if os.path.lexists(target) and not os.path.isdir(target):
        os.unlink(target)
    if member.issym():
        os.symlink(member.linkname, target)
    elif member.islnk():
        source = os.path.normpath(member.linkname.lstrip("/"))
        _check(source, links)
        os.link(os.path.join(directory, source), target, follow_symlinks=False)
    elif member.isreg():
        _write_file(archive, member, target)
    elif member.isfifo():
        os.mkfifo(target, member.mode)
    else:
        raise CortenError(f"unpack {target}: a device cannot be copied out of a container")
    return member.size if member.isreg() else 0


def _write_file(archive: tarfile.TarFile, member: tarfile.TarInfo, target: str) -> None:
    content = archive.extractfile(member)
    if content is None:
        raise DataCorrupt(f"unpack {member.name}: a file without content")
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        shutil.copyfileobj(content, file, _BLOCK)
        os.fchmod(file.fileno(), member.mode)
    os.utime(target, (member.mtime, member.mtime))


class _Sink(io.RawIOBase):
    """Collects what tarfile writes, to be handed on in pieces."""

    def __init__(self) -> None:
        self.pending: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.pending.append(bytes(data))
        return len(data)

    def take(self) -> Iterator[bytes]:
        """What has been written since the last time."""
        pending, self.pending = self.pending, []
        yield from pending


def packed(source: str, name: str, *, follow: bool, root: tuple[int, int] = (0, 0)) -> Iterator[bytes]:
    """A tar stream of a local file or tree whose top is called ``name``; '' packs a directory's content.

    ``root`` are the user and group that root stands for where it goes: their files become root's.
    """
    sink = _Sink()
    top = os.path.realpath(source) if follow else source.removesuffix("/.") or "/"
    with tarfile.open(fileobj=sink, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for path, member in _walk(top, name):
            info = archive.gettarinfo(path, member)
            if info is None:
                continue  # a socket: tar has no such thing
            info.uid, info.gid = (0 if id == own else id for id, own in zip((info.uid, info.gid), root, strict=True))
            if info.isreg():
                with open(path, "rb") as file:
                    archive.addfile(info, file)
            else:
                archive.addfile(info)
            yield from sink.take()
    yield from sink.take()


def _walk(top: str, name: str) -> Iterator[tuple[str, str]]:
    """Every path of a tree with its name in the archive, directories before what they hold."""
    if name:
        yield top, name
    if not os.path.isdir(top) or (name and os.path.islink(top)):
        return
    for entry in sorted(os.scandir(top), key=lambda entry: entry.name):
        member = f"{name}/{entry.name}" if name else entry.name
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path, member)
        else:
            yield entry.path, member
