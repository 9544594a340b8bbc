"""The frames of a build over an upgraded connection of ``POST /build`` (``Upgrade: corten-build``).

Each has a header of five bytes, its kind and the payload's length, big-endian. What is secret travels here and in no
query, header or log.

From the client: LIST, once or in parts, a JSON array of rows for the files of the context; SECRET, a name, a NUL and
the value; DOCKERFILE, one that is not in the context; GO, when all of that is said. Then, for each file that the engine
wants, CONTENT as often as it takes, and DONE, with a reason where it cannot be had. From the engine: SAID, JSON
documents of Docker's stream, each a line, cut anywhere; WANTED, once or in parts, a JSON array of numbers of rows, and
GO; DONE at the end.

A row: path, kind, mode, size, mtime and ctime in nanoseconds, inode, and where a symbolic link leads. Paths and links
are text in which each byte beyond ASCII is a character of Latin-1.
"""

from __future__ import annotations

from corten.errors import DataCorrupt

PROTOCOL = "corten-build"
HEADER = 5
LONGEST = 1 << 20
"""Bytes of a payload."""
LIST, SECRET, DOCKERFILE, GO, CONTENT, DONE, SAID, WANTED = b"L", b"S", b"F", b"G", b"C", b"D", b"P", b"W"
_KINDS = frozenset((LIST, SECRET, DOCKERFILE, GO, CONTENT, DONE, SAID, WANTED))


def frame(kind: bytes, payload: bytes = b"") -> bytes:
    """One frame."""
    return kind + len(payload).to_bytes(4, "big") + payload


def frames(kind: bytes, payload: bytes) -> list[bytes]:
    """As many frames as a payload needs, one at least."""
    starts = range(0, max(1, len(payload)), LONGEST)
    return [frame(kind, payload[start : start + LONGEST]) for start in starts]


class FrameReader:
    """Takes bytes cut anywhere and gives whole frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def receive(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """The (kind, payload) that ``data`` completes. Raises DataCorrupt."""
        self._buffer += data
        found: list[tuple[bytes, bytes]] = []
        at = 0
        while len(self._buffer) - at >= HEADER:
            kind = bytes(self._buffer[at : at + 1])
            length = int.from_bytes(self._buffer[at + 1 : at + HEADER], "big")
            if kind not in _KINDS or length > LONGEST:
                raise DataCorrupt(f"read frame of a build: {bytes(self._buffer[at:at + HEADER])!r} is not a header")
            if len(self._buffer) - at < HEADER + length:
                break
            found.append((kind, bytes(self._buffer[at + HEADER : at + HEADER + length])))
            at += HEADER + length
        del self._buffer[:at]
        return found
