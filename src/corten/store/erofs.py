"""A layer in one file that the kernel mounts: a header, the layer's archive byte for byte, and an index of it.

::

    0        a header of 4 KiB; the superblock in it is written last
    4096     the archive, decompressed
    …        inodes, in blocks of 512 bytes: where a file's content is, says its inode, and that is in the archive
    …        directories, long symbolic links, and what of sparse files cannot be shown where it is

No file is made for a file, so that nothing of a hostile name touches the host; to remove the layer is to unlink one
file; and the archive itself is there for who wants it back.
"""

from __future__ import annotations

import array
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from corten.errors import CortenError, DataCorrupt
from corten.store.erofs_tree import Node, Tree
from corten.store.members import Parts
from corten.wire import erofs, tar
from corten.wire.erofs import BLOCK, INODE, SLOT, Inode

HEADER = 4096
_BUFFER = 1 << 20
_MOST_CHUNKS = 1 << 16
"""Entries of a sparse file's table, and for each of its pieces; with more, its chunks become larger."""
_CHUNKS_A_PIECE = 16
_MOST_TABLES = 64 << 20
"""Bytes of all tables: a header of a few bytes may speak of a file of any size."""
_SMALLEST_COPY = 3
"""Of a chunk whose content is copied, in powers of two of blocks: 4 KiB."""
_LARGEST_CHUNK = 31


class Writer:
    """Takes an archive's bytes, and makes an empty file the layer. ``lowest``: no layer is below."""

    def __init__(self, descriptor: int, *, lowest: bool, max_members: int) -> None:
        self._file = descriptor
        self._tree = Tree(lowest=lowest)
        self._reader = tar.Reader(contents=False)
        self._end = HEADER
        self._left = max_members
        self._max_members = max_members

    @property
    def size(self) -> int:
        """Bytes of the files, holes included."""
        return self._tree.size

    disowned = 0
    """Nobody's: an owner is but a number in the index."""

    def take(self, data: bytes) -> None:
        """The archive's next bytes. Raises DataCorrupt, CortenError."""
        _write_all(self._file, data, self._end)
        self._end += len(data)
        for member in self._reader.receive(data):
            assert isinstance(member, tar.Member)
            self._left -= 1
            if self._left < 0:
                raise DataCorrupt(f"unpack layer: it has more than {self._max_members} members")
            self._tree.add(member)

    def finish(self) -> list[tuple[Parts, int]]:
        """There is no more: write the index. The directories that no member has spoken of, each with the place of its
        inode in the file, for :func:`resemble`. Raises DataCorrupt, CortenError."""
        self._reader.close()
        index = _Index(self._file, self._tree.root, -(-self._end // BLOCK))
        index.write()
        return [(parts, index.place(node)) for parts, node in self._tree.implied()]


class _Index:
    """What is written behind an archive that ends before block ``start``."""

    def __init__(self, descriptor: int, root: Node, start: int) -> None:
        self._file, self._root, self._start = descriptor, root, start
        self._order: list[Node] = []
        self._parents: dict[int, Node] = {}
        self._xattrs: dict[int, bytes] = {}
        self._tables: dict[int, _Table] = {}
        self._table_bytes = 0
        self._next = 0
        """The first free block, once the inodes have theirs."""

    def place(self, node: Node) -> int:
        """Where a node's inode is in the file."""
        return self._start * BLOCK + node.nid * SLOT

    def write(self) -> None:
        """Write all of it, the superblock last."""
        self._number()
        data = _Run(self._file, self._next * BLOCK)
        for node in self._order:
            self._write_data(node, data)
        data.flush()
        inodes = _Run(self._file, self._start * BLOCK)
        for node in self._order:
            inodes.skip_to(self.place(node))
            inodes.add(self._encoded(node))
        inodes.flush()
        if self._next > erofs.MOST_BLOCKS:
            raise DataCorrupt(f"unpack layer: {self._next * BLOCK} bytes are more than a layer's file can have")
        # Whole pages: the kernel reads no less.
        os.ftruncate(self._file, self._next * BLOCK + -(self._next * BLOCK) % HEADER)
        block = erofs.superblock(
            index=self._start, blocks=self._next, root=self._root.nid, inodes=len(self._order),
            chunks=bool(self._tables),
        )  # fmt: skip
        os.fsync(self._file)
        _write_all(self._file, block, erofs.SUPERBLOCK_AT)

    def _number(self) -> None:
        """Give each node its place, those of a directory beside each other. The first block stays free: a number of 0
        would be no number for who reads a directory."""
        at = BLOCK
        self._parents[id(self._root)] = self._root
        pending, place = [self._root], 0
        at = self._place(self._root, at)
        while place < len(pending):
            directory = pending[place]
            place += 1
            directory.links = 2
            for child in (directory.children or {}).values():
                if child.children is not None:
                    directory.links += 1
                    self._parents[id(child)] = directory
                    pending.append(child)
                if child.nid == 0:
                    at = self._place(child, at)
        self._next = self._start + -(-at // BLOCK)

    def _place(self, node: Node, at: int) -> int:
        """The end of a node's inode and what follows it, which begins at ``at`` or soon after."""
        size = INODE
        if node.xattrs:
            self._xattrs[id(node)] = erofs.xattrs(node.xattrs)
            size += len(self._xattrs[id(node)])
        if node.sparse is not None and node.size:
            self._tables[id(node)] = table = _Table.of(node)
            size += table.count * 4
            self._table_bytes += table.count * 4
            if self._table_bytes > _MOST_TABLES:
                raise DataCorrupt("unpack layer: its sparse files are more than a layer's file can have")
        elif _is_inline(node, size):
            size += len(node.target)
            at += -at % BLOCK if at % BLOCK + size > BLOCK else 0  # it may not cross into another block
        node.nid = at // SLOT
        self._order.append(node)
        return at + size + -size % SLOT

    def _write_data(self, node: Node, data: _Run) -> None:
        if node.children is not None:
            content = erofs.directory((
                (b".", node.nid, node.mode), (b"..", self._parents[id(node)].nid, node.mode),
                *((name, child.nid, child.mode) for name, child in node.children.items()),
            ))  # fmt: skip
            node.size = len(content)
        elif node.is_link and not _is_inline(node, INODE + len(self._xattrs.get(id(node), b""))):
            content = node.target
        elif (table := self._tables.get(id(node))) is not None:
            self._next = table.fill(self._file, node, self._next)
            data.skip_to(self._next * BLOCK)
            return
        else:
            return
        node.at = self._next
        data.add(content.ljust(len(content) + -len(content) % BLOCK, b"\0"))
        self._next += -(-len(content) // BLOCK)

    def _encoded(self, node: Node) -> bytes:
        attributes = self._xattrs.get(id(node), b"")
        layout, place, size, tail = erofs.PLAIN, node.device, node.size, b""
        if (table := self._tables.get(id(node))) is not None:
            layout, place, tail = erofs.CHUNKS, table.bits, table.encode()
        elif node.is_link:
            size = len(node.target)
            inline = _is_inline(node, INODE + len(attributes))
            layout, place, tail = (erofs.INLINE, 0, node.target) if inline else (erofs.PLAIN, node.at, b"")
        elif node.children is not None:
            place = node.at
        elif node.size:
            place = (HEADER + node.at) // BLOCK
        inode = Inode(
            node.mode, node.uid, node.gid, size, node.mtime_ns, node.links, layout, place, len(attributes)
        )  # fmt: skip
        return inode.encode(node.nid) + attributes + tail


def _is_inline(node: Node, before: int) -> bool:
    """Whether a symbolic link fits behind its inode and attributes, within one block."""
    return node.is_link and before + len(node.target) <= BLOCK


class _Table:
    """Where the chunks of a sparse file are: ``1 << bits`` blocks each."""

    def __init__(self, bits: int, count: int, *, is_direct: bool) -> None:
        self.bits, self.count = bits, count
        self._is_direct = is_direct
        self._blocks = array.array("I", [erofs.HOLE]) * count

    @classmethod
    def of(cls, node: Node) -> _Table:
        """Chunks of a block, shown where they are in the archive, when every piece is made of whole blocks; else larger
        ones, to be copied. Raises DataCorrupt for a file that is too large."""
        spans = [span for span in node.sparse or () if span[1]]
        blocks = -(-node.size // BLOCK)
        whole = all(at % BLOCK == 0 and (length % BLOCK == 0 or at + length == node.size) for at, length in spans)
        if spans and whole and blocks <= _MOST_CHUNKS:
            return cls(0, blocks, is_direct=True)
        most = min(_MOST_CHUNKS, _CHUNKS_A_PIECE * (len(spans) + 1))
        bits = max(_SMALLEST_COPY, (blocks // most).bit_length())
        if bits > _LARGEST_CHUNK:
            raise DataCorrupt(f"unpack layer: a sparse file of {node.size} bytes")
        return cls(bits, -(-blocks >> bits), is_direct=False)

    def fill(self, descriptor: int, node: Node, free: int) -> int:
        """Say where the chunks are; the first free block is then another when content had to be copied."""
        source = HEADER + node.at
        for at, length in node.sparse or ():
            if self._is_direct:
                for number in range(-(-length // BLOCK)):
                    self._blocks[at // BLOCK + number] = source // BLOCK + number
            else:
                free = self._copy(descriptor, source, at, length, free)
            source += length
        return free

    def _copy(self, descriptor: int, source: int, at: int, length: int, free: int) -> int:
        size = BLOCK << self.bits
        while length:
            number, offset = divmod(at, size)
            if self._blocks[number] == erofs.HOLE:
                if free + (1 << self.bits) > erofs.MOST_BLOCKS:
                    raise DataCorrupt("unpack layer: its sparse files are more than a layer's file can have")
                self._blocks[number] = free
                free += 1 << self.bits
            step = min(length, size - offset, _BUFFER)
            data = os.pread(descriptor, step, source)
            _write_all(descriptor, data, self._blocks[number] * BLOCK + offset)
            at, source, length = at + len(data), source + len(data), length - len(data)
        return free

    def encode(self) -> bytes:
        """The table, little-endian."""
        if sys.byteorder == "big":
            self._blocks.byteswap()
        return self._blocks.tobytes()


class _Run:
    """Writing on and on, from an offset."""

    def __init__(self, descriptor: int, offset: int) -> None:
        self._file, self._offset, self._held = descriptor, offset, bytearray()

    def add(self, data: bytes) -> None:
        """What comes next."""
        self._held += data
        if len(self._held) >= _BUFFER:
            self.flush()

    def skip_to(self, offset: int) -> None:
        """Go on at an offset; what is between is zeros, or somebody else's."""
        gap = offset - self._offset - len(self._held)
        if gap < BLOCK:
            self._held += b"\0" * gap
        else:
            self.flush()
            self._offset = offset

    def flush(self) -> None:
        """Write what is held."""
        _write_all(self._file, self._held, self._offset)
        self._offset += len(self._held)
        self._held = bytearray()


def _write_all(descriptor: int, data: bytes | bytearray, offset: int) -> None:
    left = memoryview(data)
    try:
        while left:
            written = os.pwrite(descriptor, left, offset)
            left, offset = left[written:], offset + written
    except OSError as error:
        raise CortenError.from_os("write", "a layer's file", error) from error


def names(descriptor: int) -> erofs.Names:
    """The names in a layer's file."""
    return erofs.Names(lambda size, offset: os.pread(descriptor, size, offset))


def resemble(descriptor: int, place: int, below: Inode) -> None:
    """Let the directory whose inode is at ``place`` look as ``below`` does."""
    own = Inode.decode(os.pread(descriptor, INODE, place))
    changed = own._replace(mode=below.mode, uid=below.uid, gid=below.gid, mtime_ns=below.mtime_ns)
    number = int.from_bytes(os.pread(descriptor, 4, place + 20), "little")
    _write_all(descriptor, changed.encode(number), place)


def archive_of(path: Path, size: int) -> Iterator[bytes]:
    """The archive in a layer's file, which has so many bytes. Raises DataCorrupt, OSError."""
    with path.open("rb") as file:
        offset, end = HEADER, HEADER + size
        while offset < end:
            data = os.pread(file.fileno(), min(_BUFFER, end - offset), offset)
            if not data:
                raise DataCorrupt("read a layer's archive: it is cut off")
            yield data
            offset += len(data)

