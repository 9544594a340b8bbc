"""The framing of attach, exec and logs without a terminal (Docker Engine API, "ContainerAttach").

Each frame has a header of eight bytes: the stream, three zeros, and the payload's length, big-endian.

An exec can be created, started and followed in one request, which asks for an upgrade to :data:`EXEC`: its stream ends
with a frame of Corten's own, the exit code. Who does not know that creates the exec, and says so as always.
"""

from __future__ import annotations

from corten.errors import DataCorrupt

STDIN, STDOUT, STDERR, SYSTEM = 0, 1, 2, 3
"""SYSTEM carries an error of the engine in the midst of a stream."""
EXIT = 4
"""The exit code in decimal: the last frame, where it was asked for."""
EXEC = "corten-exec"
HEADER = 8
LONGEST = 2**32 - 1


def header(stream: int, length: int) -> bytes:
    """The header of a frame, for a payload that is written apart."""
    return bytes((stream, 0, 0, 0)) + length.to_bytes(4, "big")


def frame(stream: int, payload: bytes) -> bytes:
    """One frame."""
    return header(stream, len(payload)) + payload


class FrameReader:
    """Takes bytes cut anywhere and gives ``(stream, bytes)``: payloads at once, as far as they have come."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._stream = STDOUT
        self._left = 0

    @property
    def complete(self) -> bool:
        """Whether what was received ends with a whole frame."""
        return not self._buffer and not self._left

    def receive(self, data: bytes) -> list[tuple[int, bytes]]:
        """The pieces that ``data`` brings. Raises DataCorrupt for a header that names no stream."""
        self._buffer += data
        pieces: list[tuple[int, bytes]] = []
        while (piece := self._piece()) is not None:
            if piece[1]:
                pieces.append(piece)
        return pieces

    def _piece(self) -> tuple[int, bytes] | None:
        if not self._left and not self._header():
            return None
        if self._left and not self._buffer:
            return None
        payload = bytes(self._buffer[: self._left])
        del self._buffer[: self._left]
        self._left -= len(payload)
        return self._stream, payload

    def _header(self) -> bool:
        if len(self._buffer) < HEADER:
            return False
        if self._buffer[0] > EXIT or any(self._buffer[1:4]):
            raise DataCorrupt(f"read frame: {bytes(self._buffer[:HEADER])!r} is not a header")
        self._stream = self._buffer[0]
        self._left = int.from_bytes(self._buffer[4:HEADER], "big")
        del self._buffer[:HEADER]
        return True
