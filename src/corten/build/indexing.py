"""Indexing an archive without unpacking it: its files' content goes one after the other into a spool, its names are
written down, and none of them means anything here."""

from __future__ import annotations

import base64
import hashlib
import os
from typing import Any

from corten.errors import DataCorrupt, InvalidInput
from corten.wire import tar

Row = list[Any]
"""A file, in the form of :class:`corten.build.files.Entry`, with names as JSON can carry them."""

_STEP = 1 << 18
_MOST_BYTES, _MOST_MEMBERS, _MOST_NAMES = 256 << 30, 4_000_000, 512 << 20


class Indexer:
    """Takes an archive's events and keeps the content of its files in a spool, from ``offset`` on."""

    def __init__(self, spool: int, offset: int) -> None:
        self._spool = spool
        self._hash: hashlib._Hash | None = None
        self._open: str | None = None
        self._rows: dict[str, Row] = {}
        self._names = 0
        self._start = self._written = 0
        self.end = offset

    @property
    def rows(self) -> list[tuple[str, Row]]:
        """(path, row), in the archive's order."""
        return [(carried(path), row) for path, row in self._rows.items() if path]

    def receive(self, event: tar.Event) -> None:
        """What the archive holds next. Raises DataCorrupt, InvalidInput."""
        if isinstance(event, tar.Chunk):
            self._content(event)
            return
        self.finish()
        path = _inside(event.name)
        self._names += len(path) + 200
        if len(self._rows) >= _MOST_MEMBERS or self._names > _MOST_NAMES:
            raise DataCorrupt(f"read the archive: it has more than {_MOST_MEMBERS} members")
        if event.kind == "hardlink":
            self._link(path, _inside(event.link))
            return
        xattrs = [
            [name.decode("latin-1"), base64.b64encode(value).decode()]
            for name, value in event.xattrs
            if name == b"security.capability" or (name.startswith(b"user.") and not name.startswith(b"user.overlay."))
        ]
        link = carried(event.link.decode("utf-8", "surrogateescape")) if event.kind == "symlink" else ""
        self._rows.pop(path, None)
        self._rows[path] = [
            event.kind, event.mode & 0o7777, event.uid, event.gid, event.mtime_ns, 0, 0, "", link, event.major,
            event.minor, xattrs,
        ]  # fmt: skip
        if event.kind == "file":
            self._open, self._hash = path, hashlib.sha256()
            self._start, self._written = self.end, 0
            self._rows[path][5:7] = event.size, self._start
            self.end += event.size
            if self.end > _MOST_BYTES:
                raise DataCorrupt(f"read the archive: its files have more than {_MOST_BYTES} bytes")

    def _content(self, chunk: tar.Chunk) -> None:
        if self._hash is None:
            return
        self._fill(chunk.offset)
        self._hash.update(chunk.data)
        write_at(self._spool, chunk.data, self._start + chunk.offset)
        self._written = chunk.offset + len(chunk.data)

    def _fill(self, until: int) -> None:
        """A hole reads as zeros."""
        while self._hash is not None and self._written < until:
            size = min(_STEP, until - self._written)
            self._hash.update(bytes(size))
            self._written += size

    def finish(self) -> None:
        """The last file is whole."""
        if self._open is not None and self._hash is not None:
            row = self._rows[self._open]
            self._fill(row[5])
            if row[5] and os.fstat(self._spool).st_size < self.end:
                os.ftruncate(self._spool, self.end)  # a hole at the end
            row[7] = self._hash.hexdigest()
        self._open = self._hash = None

    def _link(self, path: str, target: str) -> None:
        """A hard link is the same file once more: in a layer that copies it, too."""
        found = self._rows.get(target)
        if found is None or found[0] == "directory":
            raise DataCorrupt(f"read the archive: {path!r} is a hard link to {target!r}, which is not in it")
        self._rows[path] = found


def _inside(name: bytes) -> str:
    """The path of a member. Raises InvalidInput for one that leaves the archive's root."""
    text = name.decode("utf-8", "surrogateescape")
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if ".." in parts or len(name) > 4095:
        raise InvalidInput(f"read the archive: {text[:200]!r} leads out of it")
    return "/".join(parts)


def carried(text: str) -> str:
    """Text with surrogate escapes as JSON can carry it: each byte a character of Latin-1."""
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("latin-1")


def uncarried(text: str) -> str:
    """The text that was carried."""
    return text if text.isascii() else text.encode("latin-1").decode("utf-8", "surrogateescape")


def write_at(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of it."""
    left = memoryview(data)
    while left:
        written = os.pwrite(descriptor, left, offset)
        left, offset = left[written:], offset + written
