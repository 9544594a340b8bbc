"""An archive of whatever bytes is read the same however it comes, and indexed so that the index is sound."""

from __future__ import annotations

import os

from corten.errors import CortenError, DataCorrupt
from corten.store.erofs import Writer, names
from corten.wire import erofs, tar

_BLOCK = 512


def one(data: bytes) -> None:
    """Read it whole and in pieces, write its index, and walk through that."""
    content = _summed(data)
    whole, pieces = _members(content, len(content) or 1), _members(content, 97)
    assert whole == pieces
    descriptor = os.memfd_create("layer")
    try:
        writer = Writer(descriptor, lowest=False, max_members=10_000)
        try:
            writer.take(content)
            writer.finish()
        except CortenError:
            return
        _walk(names(descriptor))
    finally:
        os.close(descriptor)


def _summed(data: bytes) -> bytes:
    """The same with right checksums: a fuzzer would never come past them."""
    blocks = [data[start : start + _BLOCK] for start in range(0, len(data), _BLOCK)]
    return b"".join(_with_sum(block) if block[257:262] == b"ustar" else block for block in blocks)


def _with_sum(block: bytes) -> bytes:
    total = sum(block[:148]) + sum(block[156:]) + 8 * 0x20
    return block[:148] + b"%06o\0 " % total + block[156:]


def _members(content: bytes, step: int) -> tuple[list[tar.Member], bool]:
    """The members, and whether the archive was refused after them. Positions are told only without contents."""
    reader, found, refused = tar.Reader(contents=False), list[tar.Member](), False
    try:
        for start in range(0, len(content), step):
            found += (event for event in reader.receive(content[start : start + step]) if isinstance(event, tar.Member))
        reader.close()
    except DataCorrupt:
        refused = True
    return found, refused


def _walk(index: erofs.Names) -> None:
    """Every name leads somewhere, none out of its directory, and no directory is in two."""
    (root,) = index.way(())
    pending, seen = [(root, index.root)], set[int]()
    while pending:
        directory, own = pending.pop()
        assert own not in seen, "a directory that is in two"
        seen.add(own)
        entries = list(index.entries(directory))
        assert [name for name, _ in entries] == sorted({name for name, _ in entries}), "names out of order"
        for name, nid in entries:
            assert name
            assert b"/" not in name
            inode = index.inode(nid)
            if name not in (b".", b".."):
                pending += [(inode, nid)] if inode.is_directory else []
