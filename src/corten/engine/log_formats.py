"""The forms of a log's files, for those who read them."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator, Mapping
from typing import Protocol

from corten.engine.clock import format_time
from corten.wire import locallog

_BLOCK = 65536
_STREAMS = {"stdout": 1, "stderr": 2}


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a log."""

    stream: int
    data: bytes
    time: str
    """RFC 3339, nanoseconds, ``Z``: of fixed width."""
    attributes: Mapping[str, str] | None = None
    """What the log tells of its container: labels, variables, a tag."""


class Format(Protocol):
    """How entries lie in a file."""

    def split(self, block: bytes) -> tuple[list[bytes], int]:
        """The whole entries that a block begins with, and the bytes that they take. Raises ValueError."""

    def decode(self, entry: bytes) -> Entry:
        """Raises ValueError, KeyError for one that is damaged."""

    def from_end(self, descriptor: int, size: int) -> Iterator[tuple[int, bool]]:
        """The whole entries, last first: (offset behind it, whether it ends a line). Raises ValueError,
        KeyError."""


class _JsonFile:
    """One JSON object a line."""

    def split(self, block: bytes) -> tuple[list[bytes], int]:
        end = block.rfind(b"\n") + 1
        return block[:end].splitlines(keepends=False), end

    def decode(self, entry: bytes) -> Entry:
        return decode_entry(entry)

    def from_end(self, descriptor: int, size: int) -> Iterator[tuple[int, bool]]:
        rest, start = b"", size
        while start > 0:
            begin = max(0, start - _BLOCK)
            block = os.pread(descriptor, start - begin, begin) + rest
            cut = len(block)
            if rest == b"" and start == size:
                cut = block.rfind(b"\n") + 1  # what is being written is none yet
            while (before := block.rfind(b"\n", 0, max(0, cut - 1))) >= 0:
                yield begin + cut, decode_entry(block[before + 1 : cut]).data.endswith(b"\n")
                cut = before + 1
            rest, start = block[:cut], begin
        if rest:
            yield len(rest), decode_entry(rest).data.endswith(b"\n")


def decode_entry(line: bytes) -> Entry:
    """Read one line of a json-file log. Bytes that are not UTF-8 stand there as lone surrogates, and come back."""
    value = json.loads(line)
    data = value["log"].encode("utf-8", "surrogateescape")
    return Entry(_STREAMS.get(value["stream"], 1), data, value["time"], value.get("attrs"))


class _Local:
    """Messages between their lengths: :mod:`corten.wire.locallog`."""

    def split(self, block: bytes) -> tuple[list[bytes], int]:
        entries: list[bytes] = []
        place, frame = 0, locallog.FRAME
        while place + frame <= len(block):
            size = _size(block[place : place + frame])
            if place + 2 * frame + size > len(block):
                break
            entries.append(block[place + frame : place + frame + size])
            place += 2 * frame + size
        return entries, place

    def decode(self, entry: bytes) -> Entry:
        source, time, line, attributes = locallog.decode(entry)
        return Entry(_STREAMS.get(source, 1), line, format_time(time), attributes)

    def from_end(self, descriptor: int, size: int) -> Iterator[tuple[int, bool]]:
        position, frame = size, locallog.FRAME
        while position >= 2 * frame:
            length = _size(os.pread(descriptor, frame, position - frame))
            message = os.pread(descriptor, length, position - frame - length)
            yield position, locallog.decode(message)[2].endswith(b"\n")
            position -= length + 2 * frame


def _size(frame: bytes) -> int:
    size = int.from_bytes(frame, "big")
    if size > locallog.LONGEST:
        raise ValueError(f"an entry of {size} bytes")
    return size


def back(form: Format, descriptor: int, size: int, lines: int, *, newest: bool) -> tuple[int | None, int]:
    """(offset before the last ``lines`` lines, or None when the file has fewer; how many it has).

    A line may be several entries. The last one counts without an end in the ``newest`` file alone: of another file's
    the end is in the next one.
    """
    if not lines:
        return size, 0
    found, is_last = 0, newest
    for behind, ends in form.from_end(descriptor, size):
        if ends or is_last:
            found += 1
            if found > lines:
                return behind, lines
        is_last = False
    return None, found


JSON_FILE: Format = _JsonFile()
LOCAL: Format = _Local()
