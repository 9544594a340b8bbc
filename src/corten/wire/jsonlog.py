"""Docker's json-file log format, without I/O: output to entries.

One entry a line: ``{"log":"…","stream":"stdout","time":"2026-01-02T03:04:05.123456789Z"}``. Output that is not UTF-8 is
kept exactly: each such byte is a lone surrogate (``\\udc80`` to ``\\udcff``) in the JSON text, which this module turns
back into the byte and other readers show as U+FFFD, as they would for Docker's own files. A line that was not
finished when it was written is an entry without ``\\n``.
"""

from __future__ import annotations

from _json import encode_basestring_ascii
from collections.abc import Iterator

_LONGEST_LINE = 16 << 10
"""Docker's own bound on one entry."""
quoted = encode_basestring_ascii


def encode(data: bytes, stream: str, time: str, attributes: str = "") -> bytes:
    """The entries of some output, one a line; ``attributes`` is the JSON object that stands in each, or ''."""
    more = f',"attrs":{attributes}' if attributes else ""
    tail = f',"stream":"{stream}"{more},"time":"{time}"}}\n'
    entries = []
    for line in lines_of(data):
        text = encode_basestring_ascii(line.decode("utf-8", "surrogateescape"))
        entries.append(f'{{"log":{text}{tail}')
    return "".join(entries).encode()


def lines_of(data: bytes) -> Iterator[bytes]:
    """The lines of some output with their ends, the longest ones in pieces; the last one may have no end yet."""
    for line in data.splitlines(keepends=True) if b"\r" not in data else _split(data):
        for start in range(0, len(line), _LONGEST_LINE):
            yield line[start : start + _LONGEST_LINE]


def _split(data: bytes) -> Iterator[bytes]:
    """Lines at \\n only: a lone carriage return is part of a line."""
    start = 0
    while start < len(data):
        end = data.find(b"\n", start) + 1 or len(data)
        yield data[start:end]
        start = end
