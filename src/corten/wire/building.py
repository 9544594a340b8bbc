"""The frames of a build over an upgraded connection of ``POST /build`` (``Upgrade: corten-build``).

Each has a header of five bytes, its kind and the payload's length, big-endian. What is secret travels here and in no
query, header or log.

From the client: CONTEXT, a JSON array of name ('' for the build's own), kind and place of a context; after it LIST,
once or in parts, a JSON array of rows for its files; SECRET, a name, a NUL and the value; AGENT, the id of an SSH agent
that may be asked; DOCKERFILE, one that is not in the context; GO, when all of that is said, with the time before the
first file was listed, in nanoseconds since 1970 in decimal digits. Then, for each file that the engine wants, CONTENT
as often as it takes, and DONE, with a reason where it cannot be had. From the engine: SAID, JSON documents of Docker's
stream, each a line, cut anywhere (with ``live`` in the query each tells its ``stage``, if it is of one, and
``stopped`` the one that fails); of a build that is not solved again, TEXT and BUILT in their place, the text of the
stream and the image's ID, so that its client needs no JSON; WANTED, once or in parts, a JSON array of numbers of rows,
which are counted through all lists, and GO; PIECE, of an archive of the cache that the client asked for; DONE at the
end.

With ``call`` in the query (``check``, ``outline``, ``targets`` or ``subrequests.describe``) nothing is built: the head
of the answer has Corten-Call, without which the engine knows none of this, and what is said is ``call``, the result in
BuildKit's shape (its ``frontend/subrequests``), and ``unknown``, the names of bases that are not here; then the error,
if a check finds one.

All that announces may be sent with the request, but for secrets, which are for a peer that is known to speak this.

Kinds of contexts: ``directory`` and ``layout`` (of OCI), whose files are listed; ``archive``, whose only row is the
whole of it; ``image`` and ``remote``, whose place says where the engine finds them; ``cache``, the files of an exported
one.

A row: path, kind, mode, size, mtime and ctime in nanoseconds, inode, and where a symbolic link leads. Paths and links
are text in which each byte beyond ASCII is a character of Latin-1.

An agent is spoken with through channels: OPEN from the engine, four bytes of a number that it chooses and the agent's
id; DATA both ways, that number and bytes of the agent's protocol, none when one side is through.
"""

from __future__ import annotations

from corten.errors import DataCorrupt

PROTOCOL = "corten-build"
CALLED = "Corten-Call"
HEADER = 5
LONGEST = 1 << 20
"""Bytes of a payload."""
LIST, SECRET, DOCKERFILE, GO, CONTENT, DONE, SAID, WANTED = b"L", b"S", b"F", b"G", b"C", b"D", b"P", b"W"
CONTEXT, AGENT, OPEN, DATA, PIECE, TEXT, BUILT = b"N", b"A", b"O", b"B", b"E", b"T", b"I"
_KINDS = frozenset((
    LIST, SECRET, DOCKERFILE, GO, CONTENT, DONE, SAID, WANTED, CONTEXT, AGENT, OPEN, DATA, PIECE, TEXT,
    BUILT,
))  # fmt: skip
_DIGITS = 20
CHANNEL = 4
"""Bytes of a channel's number."""


def frame(kind: bytes, payload: bytes = b"") -> bytes:
    """One frame."""
    return kind + len(payload).to_bytes(4, "big") + payload


def frames(kind: bytes, payload: bytes) -> list[bytes]:
    """As many frames as a payload needs, one at least."""
    starts = range(0, max(1, len(payload)), LONGEST)
    return [frame(kind, payload[start : start + LONGEST]) for start in starts]


def moment(payload: bytes) -> int:
    """The time that GO tells; 0 where it tells none, before which nothing was. Raises DataCorrupt."""
    if not payload:
        return 0
    if not payload.isdigit() or len(payload) > _DIGITS:
        raise DataCorrupt(f"read frame of a build: {payload[:_DIGITS]!r} is not a time")
    return int(payload)


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
