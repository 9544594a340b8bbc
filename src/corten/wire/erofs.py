"""EROFS, the kernel's read-only file system, as far as a layer needs it: structures to bytes, and back again.

The format is the kernel's (fs/erofs/erofs_fs.h; Documentation/filesystems/erofs.rst). Blocks have 512 bytes, those of
tar archives, so that a file's inode can point to where its content stands in an archive. Inodes are of the extended
kind, 64 bytes, since only those have times; the number of one (nid) is its place in units of 32 bytes, counted from
the first block of the index.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from corten.errors import DataCorrupt

BLOCK_BITS = 9
BLOCK = 1 << BLOCK_BITS
SUPERBLOCK_AT = 1024
INODE = 64
SLOT = 32
LONGEST_NAME = 255
"""Bytes, as for every file system of Linux (NAME_MAX)."""
MOST_BLOCKS = (1 << 32) - 1
HOLE = 0xFFFFFFFF
"""In the place of a chunk's block: nothing is stored, and zeros are read."""
PLAIN, INLINE, CHUNKS = 0, 2, 4
"""Where an inode's data is: in one run of blocks; after the inode; in chunks, by a table after the inode."""
LARGEST_XATTRS = 4 * 0xFFFF

_MAGIC = 0xE0F5E1E2
_COMPAT_MTIME, _INCOMPAT_CHUNKS = 0x2, 0x4
_SUPERBLOCK = struct.Struct("<IIIBBHQQIIII16s16sIHHHBBIQB23x")
_INODE = struct.Struct("<HHHHQIIIIqII16x")
_ENTRY = struct.Struct("<QHBB")
_PREFIXES = ((b"user.", 1), (b"trusted.", 4), (b"security.", 6))
_EXTENDED = 1
_TYPES = {0o100000: 1, 0o040000: 2, 0o020000: 3, 0o060000: 4, 0o010000: 5, 0o140000: 6, 0o120000: 7}
"""Of directory entries, by the type in a mode."""
_DIRECTORY, _KIND = 0o040000, 0o170000


class Inode(NamedTuple):
    """What an inode says. ``place`` is its first block, its device number, or the size of its chunks."""

    mode: int
    uid: int
    gid: int
    size: int
    mtime_ns: int
    links: int
    layout: int = PLAIN
    place: int = 0
    xattrs: int = 0
    """Bytes of extended attributes that follow it."""

    def encode(self, number: int) -> bytes:
        """Its 64 bytes; ``number`` is for systems whose inode numbers have 32 bits."""
        seconds, nanoseconds = divmod(self.mtime_ns, 10**9)
        count = (self.xattrs - 12) // 4 + 1 if self.xattrs else 0
        return _INODE.pack(
            _EXTENDED | self.layout << 1, count, self.mode, 0, self.size, self.place, number & 0xFFFFFFFF,
            self.uid, self.gid, seconds, nanoseconds, self.links,
        )  # fmt: skip

    @classmethod
    def decode(cls, data: bytes) -> Inode:
        """The value of 64 bytes. Raises DataCorrupt."""
        form, count, mode, _, size, place, _, uid, gid, seconds, nanoseconds, links = _INODE.unpack(data)
        if not form & _EXTENDED:
            raise DataCorrupt("read a layer's index: an inode of another kind than Corten writes")
        xattrs = 12 + 4 * (count - 1) if count else 0
        return cls(mode, uid, gid, size, seconds * 10**9 + nanoseconds, links, form >> 1 & 7, place, xattrs)

    @property
    def is_directory(self) -> bool:
        """Whether it is one."""
        return self.mode & _KIND == _DIRECTORY


def device(major: int, minor: int) -> int:
    """A device's number as the kernel keeps it on disk (new_encode_dev)."""
    return (minor & 0xFF) | major << 8 | (minor & ~0xFF) << 12


def xattrs(attributes: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Extended attributes as they follow their inode; empty for none. Raises DataCorrupt for what has no place."""
    body = b""
    for name, value in attributes:
        prefix, number = next((one for one in _PREFIXES if name.startswith(one[0])), (b"", 0))
        short = name[len(prefix) :]
        if not number or not short or len(name) > LONGEST_NAME or len(value) > 0xFFFF:
            raise DataCorrupt(f"unpack: an extended attribute {name[:80]!r} of {len(value)} bytes")
        body += bytes((len(short), number)) + len(value).to_bytes(2, "little") + short + value
        body += b"\0" * (-len(body) % 4)
    if len(body) > LARGEST_XATTRS:
        raise DataCorrupt(f"unpack: extended attributes of {len(body)} bytes are over the limit")
    return b"\0" * 12 + body if body else b""


def directory(entries: Iterable[tuple[bytes, int, int]]) -> bytes:
    """The data of a directory, ``.`` and ``..`` included: (name, nid, mode), in whatever order they come.

    Each block has its entries first and then their names; across all blocks they are in order of their bytes, by which
    the kernel searches. Only the last block is cut where its names end.
    """
    blocks: list[bytes] = []
    heads: list[tuple[bytes, int, int]] = []
    used = 0
    for entry in sorted(entries):
        size = _ENTRY.size + len(entry[0])
        if used + size > BLOCK:
            blocks.append(_directory_block(heads).ljust(BLOCK, b"\0"))
            heads, used = [], 0
        heads.append(entry)
        used += size
    return b"".join((*blocks, _directory_block(heads)))


def _directory_block(entries: Sequence[tuple[bytes, int, int]]) -> bytes:
    at = _ENTRY.size * len(entries)
    heads = []
    for name, nid, mode in entries:
        heads.append(_ENTRY.pack(nid, at, _TYPES[mode & _KIND], 0))
        at += len(name)
    return b"".join((*heads, *(name for name, _, _ in entries)))


def superblock(*, index: int, blocks: int, root: int, inodes: int, chunks: bool) -> bytes:
    """The superblock: the index begins at block ``index``, ``root`` is the root's nid, ``chunks`` whether any inode has
    them. Without times or names of its own, so that an archive always makes the same file."""
    return _SUPERBLOCK.pack(
        _MAGIC, 0, _COMPAT_MTIME, BLOCK_BITS, 0, root, inodes, 0, 0, blocks, index, 0, b"", b"",
        _INCOMPAT_CHUNKS if chunks else 0, 0, 0, 0, 0, 0, 0, 0, 0,
    )  # fmt: skip


# --- looking up

Read = Callable[[int, int], bytes]
"""Takes a size and an offset, as os.pread does after its descriptor."""


class Names:
    """The names of a file system that this module has written. Raises DataCorrupt."""

    def __init__(self, read: Read) -> None:
        self._read = read
        fields = _SUPERBLOCK.unpack(read(_SUPERBLOCK.size, SUPERBLOCK_AT).ljust(_SUPERBLOCK.size, b"\0"))
        if fields[0] != _MAGIC or fields[3] != BLOCK_BITS:
            raise DataCorrupt("read a layer's index: it has no superblock")
        self._index, self.root = int(fields[10]), int(fields[5])

    def way(self, parts: Sequence[bytes]) -> list[Inode]:
        """The root and what is at each part of a path, as far as there is something; symbolic links not followed."""
        way = [self.inode(self.root)]
        for part in parts:
            nid = self._entry(way[-1], part) if way[-1].is_directory else None
            if nid is None:
                break
            way.append(self.inode(nid))
        return way

    def inode(self, nid: int) -> Inode:
        """An inode by its number."""
        return Inode.decode(self._exactly(INODE, self.place(nid)))

    def place(self, nid: int) -> int:
        """The offset of an inode in the file."""
        return (self._index << BLOCK_BITS) + nid * SLOT

    def _entry(self, directory: Inode, wanted: bytes) -> int | None:
        return next((nid for name, nid in self.entries(directory) if name == wanted), None)

    def entries(self, directory: Inode) -> Iterator[tuple[bytes, int]]:
        """(name, nid) of all that is in a directory, ``.`` and ``..`` too."""
        for start in range(0, directory.size, BLOCK):
            size = min(BLOCK, directory.size - start)
            block = self._exactly(size, (directory.place << BLOCK_BITS) + start)
            count = int.from_bytes(block[8:10], "little") // _ENTRY.size
            heads = [_ENTRY.unpack_from(block, place * _ENTRY.size) for place in range(count)]
            ends = [head[1] for head in heads[1:]] + [size]
            for (nid, at, _, _), end in zip(heads, ends, strict=True):
                yield block[at:end].rstrip(b"\0"), nid

    def _exactly(self, size: int, offset: int) -> bytes:
        data = self._read(size, offset)
        if len(data) != size:
            raise DataCorrupt("read a layer's index: it is cut off")
        return data
