"""Files of a build whose content lies in a spool: contexts, archives, what was copied out of a root.

An archive is read by a worker while it comes in; nothing of it is unpacked, so that none of its names means anything
on this machine.
"""

from __future__ import annotations

import functools
import hashlib
import os
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec

from corten.build import ignore
from corten.build.copying import Rows
from corten.build.files import Entry, Tree, kept
from corten.build.ground import Files
from corten.build.ignore import Ignore
from corten.build.indexing import Indexer, Row, uncarried
from corten.build.instructions import HereDocument
from corten.build.patience import beside
from corten.engine.archives import Archives
from corten.engine.clock import parse_time
from corten.errors import CortenError, DataCorrupt, InvalidInput
from corten.wire import tar

_HEADS = (b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ\0")
"""What gzip, zstd, bzip2 and xz begin with."""
_USTAR = slice(257, 262)
_LARGEST_IGNORE = 16 << 20
_SMALL = 1 << 17
"""Bytes of an archive that the engine reads by itself."""


class FileSpool:
    """Content in a file without a name: it is gone when it is closed, or the engine ends."""

    def __init__(self, staging: Path) -> None:
        try:
            self.descriptor = os.open(staging, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise CortenError.from_os("create", f"a file in {staging}", error) from error
        self.end = 0

    def read(self, entry: Entry, limit: int) -> bytes:
        """A file's content. Raises InvalidInput for more than ``limit`` bytes."""
        if entry.size > limit:
            raise InvalidInput(f"read a file of the context: {entry.size} bytes are over the limit of {limit}")
        return os.pread(self.descriptor, entry.size, entry.offset)

    async def digested(self, rows: Rows) -> Rows:
        """The rows, each file with its digest: here they have one."""
        return rows

    async def filled(self, rows: Rows, place: int) -> Rows:
        """The rows of the spool at ``place`` among several, with where their content is: here it is known."""
        return rows

    async def content(self, entry: Entry, limit: int) -> bytes:
        """As :meth:`read`."""
        return self.read(entry, limit)

    async def located(self, entry: Entry) -> Entry:
        """The entry, with where its content is."""
        return entry

    def again(self) -> int:
        """One more descriptor, with a position of its own."""
        return os.open(f"/proc/self/fd/{self.descriptor}", os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        """Let go of it."""
        os.close(self.descriptor)


class BuildFiles:
    """The spools of one build, below ``staging``. :meth:`close` lets go of all of them."""

    def __init__(self, archives: Archives, staging: Path) -> None:
        self._archives, self.staging = archives, staging
        self._spools: list[FileSpool] = []

    def close(self) -> None:
        """The build is over."""
        for spool in self._spools:
            spool.close()
        self._spools.clear()

    def spool(self) -> FileSpool:
        """A new one."""
        return self.keep(FileSpool(self.staging))

    def keep(self, spool: FileSpool) -> FileSpool:
        """Close it, too, when the build is over."""
        self._spools.append(spool)
        return spool

    async def index(self, chunks: AsyncIterator[bytes]) -> Files:
        """The files of an archive, compressed or not, as it comes in. Raises DataCorrupt, InvalidInput."""
        spool = self.spool()
        head, rest = await _beginning(chunks)
        if rest is None and not head.startswith(_HEADS):  # not worth a process
            return _files(_indexed(head, spool), spool)
        async with self._archives.outside("index", {"path": sys.path}, [spool.descriptor], writes=True) as worker:
            await worker.write(head)
            async for chunk in rest or _none():
                await worker.write(chunk)
            worker.end_of_input()
            found = await worker.report()
        return _files(found["rows"], spool)

    async def unpacked(self, files: Files, path: str) -> Files | None:
        """The files of an archive that is one of the files; None if it is none."""
        assert isinstance(files.spool, FileSpool)
        entry = await files.spool.located(files.tree.get(path))
        head = os.pread(files.spool.descriptor, min(512, entry.size), entry.offset)
        packed = head.startswith(_HEADS)
        if not is_archive(head):
            return None
        spool = self.spool()
        source = files.spool.again()
        try:
            os.lseek(source, entry.offset, os.SEEK_SET)
            args = {"size": entry.size, "path": sys.path}
            async with self._archives.outside("index", args, [source, spool.descriptor]) as worker:
                found = await worker.report()
        except DataCorrupt:
            if packed:  # a compressed file that is no archive is copied as it is
                return None
            raise
        finally:
            os.close(source)
        return _files(found["rows"], spool)

    def documents(self, documents: Sequence[HereDocument], mtime: str) -> Files:
        """Here-documents as files of these names, made at that time (RFC 3339)."""
        spool = self.spool()
        entries = {
            one.name: self.put(spool, one.data.encode("utf-8", "surrogateescape"), 0o644, mtime) for one in documents
        }
        return Files(Tree(entries), spool)

    def put(self, spool: FileSpool, content: bytes, mode: int, mtime: str = "") -> Entry:
        """One more file of a spool."""
        offset = spool.end
        os.pwrite(spool.descriptor, content, offset)
        spool.end += len(content)
        time = parse_time(mtime) if mtime else 0
        digest = hashlib.sha256(content).hexdigest()
        return Entry("file", mode, 0, 0, time, len(content), offset, digest)


def is_archive(head: bytes) -> bool:
    """Whether a file that begins so may be an archive, compressed or not."""
    return head.startswith(_HEADS) or head[_USTAR] == b"ustar"


async def ignored(files: Files, dockerfile: str = "") -> Ignore | None:
    """The rules of a context's ignore file, the Dockerfile's own or ``.dockerignore``. Raises InvalidInput."""
    tree = files.tree
    name = next((one for one in ignore.candidates(dockerfile) if tree.resolve(one) == one), None)
    if name is None:
        return None
    assert isinstance(files.spool, FileSpool)
    return ignore.parse(await files.spool.content(tree.get(name), _LARGEST_IGNORE))


async def considered(files: Files, dockerfile: str = "") -> tuple[Files, Ignore | None]:
    """A context without what its ignore file names, and that file's rules. A client that has looked at that sends
    nothing of it anyway. Raises InvalidInput."""
    tree, rules = files.tree, await ignored(files, dockerfile)
    if rules is None:
        return files, None
    left = await beside(functools.partial(kept, tree, rules), len(tree) * len(rules.rules))
    return Files(left, files.spool), rules


async def _beginning(chunks: AsyncIterator[bytes]) -> tuple[bytes, AsyncIterator[bytes] | None]:
    """The first bytes of a stream, and the rest of it; None when that was all."""
    head = bytearray()
    async for chunk in chunks:
        head += chunk
        if len(head) > _SMALL:
            return bytes(head), chunks
    return bytes(head), None


async def _none() -> AsyncIterator[bytes]:
    empty: tuple[bytes, ...] = ()
    for chunk in empty:
        yield chunk


def _indexed(content: bytes, spool: FileSpool) -> list[tuple[str, Row]]:
    indexer, reader = Indexer(spool.descriptor, 0), tar.Reader()
    for event in reader.receive(content):
        indexer.receive(event)
    reader.close()
    indexer.finish()
    return indexer.rows


def _files(rows: list[tuple[str, Row]], spool: FileSpool) -> Files:
    try:
        entries = {uncarried(path): _entry(row) for path, row in rows}
    except msgspec.ValidationError as error:
        raise DataCorrupt(f"read the archive: {error}") from error
    return Files(Tree(entries), spool)


def _entry(row: Row) -> Entry:
    entry = msgspec.convert(row, Entry)
    if entry.link and not entry.link.isascii():
        entry = msgspec.structs.replace(entry, link=uncarried(entry.link))
    return entry
