"""WebSocket (RFC 6455), the server's side: the handshake's answer, and frames to bytes and back."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import struct

from corten.errors import InvalidInput

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
NORMAL, PROTOCOL_ERROR, TOO_BIG = 1000, 1002, 1009
MAX_PAYLOAD = 1 << 20
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_MAX_CONTROL = 125
_KNOWN = frozenset({CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG})


class Violation(InvalidInput):
    """The client broke the protocol; ``code`` is what it is told in the closing frame."""

    def __init__(self, message: str, code: int = PROTOCOL_ERROR) -> None:
        super().__init__(message)
        self.code = code


@dataclasses.dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a client's, unmasked."""

    opcode: int
    payload: bytes


def accept_value(key: str) -> str:
    """``Sec-WebSocket-Accept`` for a client's key (section 4.2.2). Raises InvalidInput for a key that is none."""
    try:
        valid = len(base64.b64decode(key, validate=True)) == 16
    except ValueError:
        valid = False
    if not valid:
        raise InvalidInput("bad WebSocket key")
    return base64.b64encode(hashlib.sha1(f"{key}{_GUID}".encode(), usedforsecurity=False).digest()).decode()


def encode(opcode: int, payload: bytes) -> bytes:
    """A whole frame, unmasked, as a server sends it (section 5.1)."""
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", 0x80 | opcode, size)
    elif size < 1 << 16:
        head = struct.pack("!BBH", 0x80 | opcode, 126, size)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 127, size)
    return head + payload


def closing(code: int) -> bytes:
    """The frame that ends a connection (section 5.5.1)."""
    return encode(CLOSE, struct.pack("!H", code))


class Decoder:
    """A client's bytes, in whatever pieces they come, to frames."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that are whole now. Raises Violation."""
        self._pending += data
        frames = []
        while (frame := self._next()) is not None:
            frames.append(frame)
        return frames

    def _next(self) -> Frame | None:
        head = self._head()
        if head is None:
            return None
        opcode, start, size = head
        end = start + 4 + size
        if len(self._pending) < end:
            return None
        mask, payload = self._pending[start : start + 4], self._pending[start + 4 : end]
        del self._pending[:end]
        return Frame(opcode, _unmasked(bytes(payload), bytes(mask)))

    def _head(self) -> tuple[int, int, int] | None:
        """(opcode, where the mask is, bytes of payload); None until the head is whole."""
        if len(self._pending) < 2:
            return None
        first, second = self._pending[0], self._pending[1]
        opcode, short = first & 0x0F, second & 0x7F
        if first & 0x70 or opcode not in _KNOWN:
            raise Violation(f"WebSocket frame: unknown bits or opcode {first:#04x}")
        if not second & 0x80:
            raise Violation("WebSocket frame: a client's is to be masked")
        if opcode >= CLOSE and (short > _MAX_CONTROL or not first & 0x80):
            raise Violation("WebSocket frame: a control frame is short and whole")
        width = {126: 2, 127: 8}.get(short, 0)
        if len(self._pending) < 2 + width:
            return None
        size = int.from_bytes(self._pending[2 : 2 + width], "big") if width else short
        if size > MAX_PAYLOAD:
            raise Violation(f"WebSocket frame: {size} bytes are over the limit of {MAX_PAYLOAD}", TOO_BIG)
        return opcode, 2 + width, size


def _unmasked(payload: bytes, mask: bytes) -> bytes:
    """Exclusive or with the mask, repeated (section 5.3), in one operation on whole numbers."""
    size = len(payload)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")
