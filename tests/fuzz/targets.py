"""What a fuzzer drives: parsers of what strangers send. Each takes bytes, and returns when they were read or refused as
they should be; whatever else it raises is a find."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from corten.errors import CortenError, DataCorrupt, InvalidInput
from corten.spec import descriptor as descriptors
from corten.spec import digest as digests
from corten.spec import image as image_spec
from corten.spec import reference as references
from corten.store.erofs import Writer, names
from corten.wire import erofs, tar

_BLOCK = 512


def target_tar(data: bytes) -> None:
    """An archive: read the same however it comes, and indexed so that the index is sound."""
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


def target_reference(data: bytes) -> None:
    """A reference: refused, or read back from what is written of it."""
    try:
        found = references.parse(data.decode("utf-8", "surrogateescape"))
    except InvalidInput:
        return
    assert references.parse(str(found)) == found
    first = found.path.partition("/")[0]
    if "." not in first and first != "localhost":  # what looks like a host after the hub's name is one, without it
        assert references.parse(found.familiar) == found


def target_manifest(data: bytes) -> None:
    """A manifest, an index or a configuration: refused, or with every size in its bounds."""
    for media_type in ("", descriptors.OCI_MANIFEST, descriptors.DOCKER_INDEX):
        try:
            value = descriptors.decode(data, media_type)
        except CortenError:
            continue
        for one in _descriptors(value):
            digests.split(one.digest)
            assert 0 <= one.size <= descriptors.MAX_BLOB
    try:
        document = image_spec.decode(data)
    except CortenError:
        return
    digests.chain_ids(document.diff_ids)


def _descriptors(value: descriptors.Manifest | descriptors.Index) -> Iterator[descriptors.Descriptor]:
    if isinstance(value, descriptors.Index):
        yield from value.manifests
    else:
        yield from (value.config, *value.layers)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "tar": target_tar, "reference": target_reference, "manifest": target_manifest,
}  # fmt: skip
