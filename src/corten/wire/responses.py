"""Answers over HTTP/1.1 (RFC 9112): bytes in, events out. No I/O.

A :class:`ResponseReader` is fed whatever the socket gave, split anywhere, and answers with events::

    Head                    status, reason and header fields
    bytes                   a piece of the body (never empty)
    END                     the response is complete; the connection may carry another

After a response that turns the connection into a tunnel (101, or 200 where the request asked to *hijack*, as
the Docker Engine API's attach does) there is a Head and nothing more: what follows is not HTTP and stays in
:attr:`ResponseReader.unread`.

Imports nothing but the errors: the command line pays for every import at every start.
"""

from __future__ import annotations

from corten.errors import DataCorrupt, Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Final

LONGEST_HEAD = 256 * 1024
"""Bytes of status line and header fields that are read before giving up."""
_LONGEST_LINE = 16 * 1024
_TOKEN = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_HEX = frozenset(b"0123456789abcdefABCDEF")


class Head:
    """Status line and header fields; field names are lower case, repeated fields joined (RFC 9110, 5.3)."""

    __slots__ = ("headers", "reason", "status", "version")

    def __init__(self, version: str, status: int, reason: str, headers: Mapping[str, str]) -> None:
        self.version = version
        self.status = status
        self.reason = reason
        self.headers = headers

    def __repr__(self) -> str:
        return f"Head({self.status}, {self.headers!r})"


class End:
    """The end of a response."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "END"


END: Final = End()


class ResponseReader:
    """Reads one response. Feed it with :meth:`receive`; an empty ``data`` says that the peer closed."""

    def __init__(self, method: str = "GET", *, hijack: bool = False) -> None:
        self._method = method
        self._hijack = hijack
        self._buffer = bytearray()
        self._left = 0
        self._step: Callable[[], Head | bytes | End | None] = self._head

    @property
    def unread(self) -> bytes:
        """Bytes received beyond the response: the first of a tunnel, or of another response."""
        return bytes(self._buffer)

    @property
    def reusable(self) -> bool:
        """Whether the response is complete and left a connection that could carry another request."""
        return self._step == self._nothing and self._left == 0

    def receive(self, data: bytes) -> list[Head | bytes | End]:
        """The events that ``data`` completes. Raises DataCorrupt; Unavailable for a close before the head."""
        self._buffer += data
        events: list[Head | bytes | End] = []
        while (event := self._step()) is not None:
            events.append(event)
        if not data:
            events += self._closed()
        return events

    def _closed(self) -> list[Head | bytes | End]:
        """A close ends a body without a length (RFC 9112, 6.3), and is an error inside anything else."""
        if self._step == self._until_close:
            self._step, self._left = self._nothing, -1
            return [END]
        if self._step == self._head and not self._buffer:
            raise Unavailable("read response: the engine closed the connection without an answer")
        if self._step != self._nothing:
            raise DataCorrupt("read response: the connection was closed in the middle of it")
        return []

    # --- the steps: each gives an event, or None when it needs more bytes

    def _nothing(self) -> None:
        return None

    def _head(self) -> Head | None:
        while (block := self._take_head()) is not None:
            head = _parse_head(block)
            if head.status >= 200 or head.status == 101:
                self._step = self._framing(head)
                return head
            # Other 1xx are interim: the answer is still to come (RFC 9110, 15.2).
        return None

    def _take_head(self) -> bytes | None:
        """The lines up to the empty one; a sole LF ends a line, too (RFC 9112, 2.2)."""
        ends = [(at, len(mark)) for mark in (b"\r\n\r\n", b"\n\n") if (at := self._buffer.find(mark)) >= 0]
        if not ends:
            if len(self._buffer) > LONGEST_HEAD:
                raise DataCorrupt("read response: header fields are too long")
            return None
        at, length = min(ends)
        return self._take(at + length)[:-length]

    def _framing(self, head: Head) -> Callable[[], Head | bytes | End | None]:
        """How long the body is: RFC 9112, 6.3, in its order."""
        if head.status == 101 or (self._hijack and head.status == 200):
            self._left = -1
            return self._nothing
        if self._method == "HEAD" or head.status in (204, 304):
            return self._end
        if (coding := head.headers.get("transfer-encoding")) is not None:
            if coding.lower() != "chunked":
                raise DataCorrupt(f"read response: transfer coding {coding!r} is not known")
            return self._chunk_size
        if (length := head.headers.get("content-length")) is not None:
            self._left = _content_length(length)
            return self._sized
        return self._until_close

    def _end(self) -> End:
        self._step = self._nothing
        return END

    def _sized(self) -> bytes | End | None:
        if self._left == 0:
            return self._end()
        return self._piece()

    def _until_close(self) -> bytes | None:
        return self._take(len(self._buffer)) or None

    def _chunk_size(self) -> bytes | End | None:
        line = self._take_line()
        if line is None:
            return None
        size = line.partition(b";")[0].strip(b" \t")  # chunk extensions are ignored (RFC 9112, 7.1.1)
        if not size or len(size) > 15 or not _HEX.issuperset(size):
            raise DataCorrupt(f"read response: chunk size {line[:40]!r} is not a number")
        self._left = int(size, 16)
        self._step = self._chunk_data if self._left else self._trailer
        return self._step()

    def _chunk_data(self) -> bytes | End | None:
        if self._left:
            return self._piece()
        line = self._take_line()
        if line is None:
            return None
        if line:
            raise DataCorrupt("read response: a chunk is longer than its size")
        self._step = self._chunk_size
        return self._chunk_size()

    def _trailer(self) -> End | None:
        """Trailer fields are read and dropped (RFC 9112, 7.1.2)."""
        while (line := self._take_line()) is not None:
            if not line:
                return self._end()
        return None

    # --- the buffer

    def _take(self, count: int) -> bytes:
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    def _piece(self) -> bytes | None:
        piece = self._take(min(self._left, len(self._buffer)))
        self._left -= len(piece)
        return piece or None

    def _take_line(self) -> bytes | None:
        end = self._buffer.find(b"\n")
        if max(end, len(self._buffer) if end < 0 else 0) > _LONGEST_LINE:
            raise DataCorrupt("read response: a line of the chunked body is too long")
        return None if end < 0 else self._take(end + 1)[:-1].removesuffix(b"\r")


def _parse_head(block: bytes) -> Head:
    lines = [line.removesuffix(b"\r") for line in block.split(b"\n")]
    version, _, rest = lines[0].partition(b" ")
    status, _, reason = rest.partition(b" ")
    if not version.startswith(b"HTTP/1.") or len(status) != 3 or not status.isdigit():
        raise DataCorrupt(f"read response: {lines[0][:60]!r} is not an HTTP/1.1 status line")
    headers: dict[str, str] = {}
    for line in _unfolded(lines[1:]):
        name, value = _parse_field(line)
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return Head(version.decode("latin-1"), int(status), reason.decode("latin-1"), headers)


def _unfolded(lines: list[bytes]) -> list[bytes]:
    """A line that starts with white space continues the field before it (obs-fold: RFC 9112, 5.2)."""
    fields: list[bytes] = []
    for line in lines:
        if line[:1] in (b" ", b"\t") and fields:
            fields[-1] += b" " + line.strip(b" \t")
        else:
            fields.append(line)
    return fields


def _parse_field(line: bytes) -> tuple[str, str]:
    name, colon, value = line.partition(b":")
    if not colon or not name or not _TOKEN.issuperset(name):
        raise DataCorrupt(f"read response: {line[:60]!r} is not a header field")
    return name.decode("latin-1").lower(), value.strip(b" \t").decode("latin-1")


def _content_length(value: str) -> int:
    """One number, or the same number repeated (RFC 9112, 6.3, item 5)."""
    numbers = {number.strip(" \t") for number in value.split(",")}
    first = numbers.pop()
    if numbers or not (first.isascii() and first.isdigit()) or len(first) > 18:
        raise DataCorrupt(f"read response: Content-Length {value[:60]!r} is not one number")
    return int(first)
