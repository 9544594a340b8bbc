"""The format of Docker's ``local`` log driver, without I/O.

An entry is its length, a protobuf message, and its length again (32 bits each, big endian), so that a file can be read
from either end. The message (moby's ``daemon/logger/internal/logdriver/entry.proto``) has the source (1), the time in
nanoseconds (2), the line without its end (3), whether it is a part of one (4), and attributes (6).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from corten.wire.jsonlog import lines_of

_SOURCE, _TIME, _LINE, _PARTIAL, _ATTRIBUTE = 0x0A, 0x10, 0x1A, 0x20, 0x32
_KEY, _VALUE = 0x0A, 0x12
FRAME = 4
"""Bytes of a length."""
LONGEST = 1 << 20
"""Of a message: what is longer is no entry."""


def encode(data: bytes, stream: str, time: int, attributes: bytes = b"") -> bytes:
    """The entries of some output, one a line; ``attributes`` as :func:`encode_attributes` made them."""
    head = bytes((_SOURCE,)) + _sized(stream.encode()) + bytes((_TIME,)) + _varint(time) + bytes((_LINE,))
    entries: list[bytes] = []
    for line in lines_of(data):
        whole = line.endswith(b"\n")
        body = head + _sized(line[:-1] if whole else line) + (b"" if whole else bytes((_PARTIAL, 1))) + attributes
        size = len(body).to_bytes(FRAME, "big")
        entries += (size, body, size)
    return b"".join(entries)


def encode_attributes(attributes: Mapping[str, str]) -> bytes:
    """What stands in every entry of a log."""
    return b"".join(
        bytes((_ATTRIBUTE,)) + _sized(bytes((_KEY,)) + _sized(key.encode()) + bytes((_VALUE,)) + _sized(value.encode()))
        for key, value in sorted(attributes.items())
    )


def _sized(data: bytes) -> bytes:
    return _varint(len(data)) + data


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def decode(message: bytes) -> tuple[str, int, bytes, dict[str, str]]:
    """(source, time in nanoseconds, the line with its end, attributes). Raises ValueError."""
    source, time, line, partial = "", 0, b"", False
    attributes: dict[str, str] = {}
    for field, value in _fields(message):
        if field == 1 and isinstance(value, bytes):
            source = value.decode()
        elif field == 2 and isinstance(value, int):
            time = value
        elif field == 3 and isinstance(value, bytes):
            line = value
        elif field == 4:
            partial = bool(value)
        elif field == 6 and isinstance(value, bytes):
            pair = {number: text.decode() for number, text in _fields(value) if isinstance(text, bytes)}
            attributes[pair.get(1, "")] = pair.get(2, "")
    return source, time, line if partial else line + b"\n", attributes


def _fields(message: bytes) -> Iterator[tuple[int, bytes | int]]:
    place = 0
    while place < len(message):
        key, place = _read_varint(message, place)
        value, place = _read_varint(message, place)
        if key & 7 == 0:
            yield key >> 3, value
        elif key & 7 == 2:
            if place + value > len(message):
                raise ValueError("a field that is longer than its message")
            yield key >> 3, message[place : place + value]
            place += value
        else:
            raise ValueError(f"a field of type {key & 7}")


def _read_varint(message: bytes, place: int) -> tuple[int, int]:
    number = shift = 0
    while place < len(message) and shift < 64:
        byte = message[place]
        place += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, place
        shift += 7
    raise ValueError("a number that does not end")
