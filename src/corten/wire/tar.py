"""Tar archives, bytes in and members out: v7, ustar, GNU (long names, sparse) and pax (POSIX.1-2017, pax).

A :class:`Reader` is fed bytes as they come and yields a :class:`Member` for each entry, then its content in
one :class:`Chunk` after the other. Where writers disagree it reads as Go's archive/tar does, which decides
what an image means elsewhere. Every header is bounded: a hostile archive costs a mebibyte, no more. Names are
bytes and are not judged here. The format is described in tar(5) and in GNU tar's manual, "Tar Internals".
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import urllib.parse
from collections.abc import Iterator
from typing import Literal

from corten.errors import DataCorrupt

BLOCK = 512
MAX_EXTENSION = 1 << 20
"""Bytes of a pax header, GNU long name or sparse map; Go's limit."""

Kind = Literal["file", "hardlink", "symlink", "char", "block", "directory", "fifo"]
Span = tuple[int, int]
"""Offset and length of data in a sparse file."""

_KINDS: dict[bytes, Kind] = {
    b"0": "file",
    b"\0": "file",
    b"7": "file",
    b"S": "file",
    b"1": "hardlink",
    b"2": "symlink",
    b"3": "char",
    b"4": "block",
    b"5": "directory",
    b"6": "fifo",
}
_PAX, _PAX_GLOBAL, _LONG_NAME, _LONG_LINK, _SPARSE, _VOLUME = b"x", b"g", b"L", b"K", b"S", b"V"
_EXTENSIONS = (_PAX, _PAX_GLOBAL, _LONG_NAME, _LONG_LINK)
_XATTR, _XATTR_ENCODED = b"SCHILY.xattr.", b"LIBARCHIVE.xattr."
_SPARSE_MARKS = {b"GNU.sparse.major", b"GNU.sparse.map", b"GNU.sparse.size"}
_LARGEST = 1 << 62


@dataclasses.dataclass(frozen=True, slots=True)
class Member:
    """One entry. ``size`` is that of the file when unpacked, holes included; only files have content."""

    kind: Kind
    name: bytes
    link: bytes = b""
    mode: int = 0
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime_ns: int = 0
    major: int = 0
    minor: int = 0
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    sparse: tuple[Span, ...] | None = None
    """Where the data goes; None for a file without holes."""
    at: int = 0
    """Where the content begins in the archive."""

    @property
    def stored(self) -> int:
        """Bytes of content that the archive holds."""
        if self.kind != "file":
            return 0
        return self.size if self.sparse is None else sum(length for _, length in self.sparse)


@dataclasses.dataclass(frozen=True, slots=True)
class Chunk:
    """Content of the last member, to be placed at ``offset`` of the file."""

    offset: int
    data: bytes


Event = Member | Chunk


class Reader:
    """The state of reading one archive. Without ``contents`` there are members alone, and no chunks."""

    def __init__(self, *, contents: bool = True) -> None:
        self._contents = contents
        self._position = self._skipping = 0
        self._buffer = bytearray()
        self._global: dict[bytes, bytes] = {}
        self._steps = self._archive()
        self._wanted = next(self._steps)
        self._events: list[Event] = []
        self._between = True
        self._padding = False
        self.ended = False

    def receive(self, data: bytes) -> Iterator[Event]:
        """What these bytes complete. Raises DataCorrupt. Bytes after the end of the archive are ignored."""
        if self._skipping:
            skipped = min(self._skipping, len(data))
            self._skipping -= skipped
            data = data[skipped:]
        self._buffer += data
        while not self.ended and self._enough():
            self._wanted = next(self._steps)
            yield from self._events
            self._events.clear()
        if self.ended:
            self._buffer.clear()

    def close(self) -> None:
        """There is no more. Raises DataCorrupt inside a member. A missing end is forgiven, and so is the last member's
        padding: Go's reader does without, and docker's ``build -f -`` writes none."""
        between = self._between and not self._buffer
        if not self.ended and (self._skipping or not (between or self._padding)):
            raise DataCorrupt("read archive: it ends in the middle of a member")

    # --- the reading itself: a generator that yields how many bytes it needs (negative: that many at most)

    def _enough(self) -> bool:
        return len(self._buffer) >= self._wanted if self._wanted >= 0 else bool(self._buffer)

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        self._position += len(taken)
        return taken

    def _skip(self, size: int) -> None:
        """Take no notice of that many bytes: of those that are here, and of those to come."""
        here = min(size, len(self._buffer))
        del self._buffer[:here]
        self._skipping = size - here
        self._position += size

    def _archive(self) -> Iterator[int]:
        pax: dict[bytes, bytes] = {}
        spans: list[Span] = []
        long: dict[bytes, bytes] = {}
        while True:
            self._between = not (pax or long)
            yield BLOCK
            block = self._take(BLOCK)
            if not any(block):
                yield from self._end()
                return
            self._between = False
            header = _Header.parse(block)
            if header.type in _EXTENSIONS:
                yield from self._extension(header)
                content = self._extension_content
                if header.type == _PAX_GLOBAL:
                    self._global.update(_records(content)[0])
                elif header.type == _PAX:
                    pax, spans = _records(content)
                else:
                    long[header.type] = content.partition(b"\0")[0]
                continue
            yield from self._member(header, {**self._global, **pax}, spans, long)
            pax, spans, long = {}, [], {}

    def _end(self) -> Iterator[int]:
        """Two blocks of zeros; with one, the archive may end, and not go on."""
        self._between = True
        yield BLOCK
        if any(self._take(BLOCK)):
            raise DataCorrupt("read archive: it goes on after a block of zeros")
        self.ended = True
        yield 0

    _extension_content = b""

    def _extension(self, header: _Header) -> Iterator[int]:
        size = header.size
        if size > MAX_EXTENSION:
            raise DataCorrupt(f"read archive: an extended header of {size} bytes is over the limit")
        padded = size + -size % BLOCK
        yield padded
        self._extension_content = self._take(padded)[:size]

    def _member(
        self, header: _Header, pax: dict[bytes, bytes], spans: list[Span], long: dict[bytes, bytes]
    ) -> Iterator[int]:
        if header.type == _VOLUME:
            return
        member, left = header.member(pax, long, self._position)
        if header.type == _SPARSE:
            yield from self._old_sparse_map(header)
            size = header.real_size
            member = dataclasses.replace(member, size=size, sparse=_checked(self._map, size))
        elif member.kind == "file" and _SPARSE_MARKS & pax.keys():
            yield from self._pax_sparse_map(pax, spans, left)
            left -= self._map_bytes
            size = _decimal(pax, b"GNU.sparse.realsize", _decimal(pax, b"GNU.sparse.size", 0))
            member = dataclasses.replace(member, size=size, sparse=_checked(self._map, size))
        if member.kind == "file" and member.stored != left:
            raise DataCorrupt(f"read archive: {_shown(member.name)}: its sparse map does not fit its content")
        if not self._contents:
            self._events.append(member if member.sparse is None else dataclasses.replace(member, at=self._position))
            self._skip(left + -left % BLOCK)
            return
        self._events.append(member)
        yield from self._content(member.sparse or ((0, left),), left)

    def _content(self, spans: tuple[Span, ...], size: int) -> Iterator[int]:
        for offset, length in spans:
            end = offset + length
            while offset < end:
                yield -1
                data = self._take(end - offset)
                self._events.append(Chunk(offset, data))
                offset += len(data)
        if padding := -size % BLOCK:
            self._padding = True
            yield padding
            self._take(padding)
            self._padding = False

    # --- sparse maps

    _map: tuple[Span, ...] = ()
    _map_bytes = 0

    def _old_sparse_map(self, header: _Header) -> Iterator[int]:
        """GNU's oldest form: four spans in the header, then blocks of 21 while a flag says so."""
        found = _old_spans(header.block[386:482])
        more, read = header.block[482], 0
        while more:
            yield BLOCK
            block = self._take(BLOCK)
            found += _old_spans(block[:504])
            more, read = block[504], read + BLOCK
            if read > MAX_EXTENSION:
                raise DataCorrupt("read archive: a sparse map is over the limit")
        self._map = tuple(found)

    def _pax_sparse_map(self, pax: dict[bytes, bytes], spans: list[Span], size: int) -> Iterator[int]:
        """GNU's pax forms: 0.0 (repeated records), 0.1 (one record), 1.0 (at the head of the content)."""
        self._map_bytes = 0
        if pax.get(b"GNU.sparse.major") == b"1":
            yield from self._sparse_map_in_content(size)
        elif b"GNU.sparse.map" in pax:
            self._map = _pairs(pax[b"GNU.sparse.map"].split(b","))
        else:
            self._map = tuple(spans)

    def _sparse_map_in_content(self, size: int) -> Iterator[int]:
        lines: list[bytes] = []
        text = b""
        while not lines or len(lines) <= 2 * _number(lines[0]):
            if self._map_bytes + BLOCK > min(size, MAX_EXTENSION):
                raise DataCorrupt("read archive: a sparse map is over the limit")
            yield BLOCK
            text += self._take(BLOCK)
            self._map_bytes += BLOCK
            *complete, text = text.split(b"\n")
            lines += complete
        self._map = _pairs(lines[1 : 1 + 2 * _number(lines[0])])


@dataclasses.dataclass(frozen=True, slots=True)
class _Header:
    """One header block, its checksum found right."""

    block: bytes

    @classmethod
    def parse(cls, block: bytes) -> _Header:
        stated = _octal(block[148:156], "checksum")
        unsigned = sum(block) - sum(block[148:156]) + 8 * 0x20  # the sum is made with blanks in its place
        # Some old writers summed signed characters.
        if stated != unsigned and stated != unsigned - 256 * sum(byte > 127 for byte in block[:148] + block[156:]):
            raise DataCorrupt("read archive: bad header checksum: not a tar archive, or a damaged one")
        return cls(block)

    @property
    def type(self) -> bytes:
        return self.block[156:157]

    @property
    def size(self) -> int:
        return _size(_octal(self.block[124:136], "size"))

    @property
    def real_size(self) -> int:
        """Of GNU's old sparse form."""
        return _size(_octal(self.block[483:495], "real size"))

    def name(self) -> bytes:
        name = _text(self.block[:100])
        if self.block[257:263] == b"ustar\0" and (prefix := _text(self.block[345:500])):
            return prefix + b"/" + name
        return name

    def member(self, pax: dict[bytes, bytes], long: dict[bytes, bytes], at: int) -> tuple[Member, int]:
        """The member, whose content begins ``at``, and the bytes of content that follow it in the archive."""
        name = pax.get(b"GNU.sparse.name") or pax.get(b"path") or long.get(_LONG_NAME) or self.name()
        link = pax.get(b"linkpath") or long.get(_LONG_LINK) or _text(self.block[157:257])
        if b"\0" in name or b"\0" in link:
            raise DataCorrupt(f"read archive: {_shown(name)}: a name with a NUL")
        kind = self._kind(name)
        size = _decimal(pax, b"size", self.size) if kind == "file" else 0
        device = kind in ("char", "block")
        member = Member(
            kind=kind,
            name=name,
            link=link,
            mode=_octal(self.block[100:108], "mode") & 0o7777,
            uid=_id(_decimal(pax, b"uid", _octal(self.block[108:116], "uid"))),
            gid=_id(_decimal(pax, b"gid", _octal(self.block[116:124], "gid"))),
            size=size,
            mtime_ns=_nanoseconds(pax[b"mtime"]) if pax.get(b"mtime") else self._mtime(),
            major=_octal(self.block[329:337], "major") if device else 0,
            minor=_octal(self.block[337:345], "minor") if device else 0,
            xattrs=_xattrs(pax) if pax else (),
            at=at,
        )
        return member, size

    def _mtime(self) -> int:
        return _time(_octal(self.block[136:148], "mtime") * 10**9)

    def _kind(self, name: bytes) -> Kind:
        kind = _KINDS.get(self.type)
        if kind is None:
            raise DataCorrupt(f"read archive: {_shown(name)}: unknown type {self.type!r}")
        # Before ustar, a directory was a file whose name ends in a slash.
        return "directory" if kind == "file" and name.endswith(b"/") else kind


def _shown(name: bytes) -> str:
    return name[:200].decode(errors="backslashreplace")


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _octal(field: bytes, what: str) -> int:
    """A number: octal digits, or base 256 when the highest bit is set (GNU)."""
    if field[0] & 0x80:
        value = int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
        return value - (1 << (8 * len(field) - 1)) if field[0] & 0x40 else value
    digits = field.strip(b" \0")
    if digits.isdigit() and not (b"8" in digits or b"9" in digits):
        return int(digits, 8)
    digits = digits.partition(b"\0")[0].strip()
    if not digits:
        return 0
    if digits.strip(b"01234567"):
        raise DataCorrupt(f"read archive: a header's {what} is not a number")
    return int(digits, 8)


def _old_spans(field: bytes) -> list[Span]:
    spans = []
    for start in range(0, len(field), 24):
        entry = field[start : start + 24]
        if not entry[0]:
            break
        spans.append((_octal(entry[:12], "sparse offset"), _octal(entry[12:], "sparse length")))
    return spans


def _checked(spans: tuple[Span, ...], size: int) -> tuple[Span, ...]:
    """Spans in order, apart from each other, inside the file. Raises DataCorrupt."""
    end = 0
    for offset, length in spans:
        if offset < end or length < 0 or offset + length > size:
            raise DataCorrupt("read archive: a sparse map is out of order or out of bounds")
        end = offset + length
    _size(size)
    return tuple(span for span in spans if span[1]) or ((0, 0),)


def _records(content: bytes) -> tuple[dict[bytes, bytes], list[Span]]:
    """The records of a pax header, and the spans of GNU's sparse form 0.0, whose records repeat."""
    records: dict[bytes, bytes] = {}
    spans: list[Span] = []
    offset = b""
    while content:
        length, space, _ = content[:22].partition(b" ")
        size = _number(length) if space else 0
        record, content = content[len(length) + 1 : size], content[size:]
        key, equals, value = record[:-1].partition(b"=")
        if size <= len(length) + 1 or not equals or not key or record[-1:] != b"\n":
            raise DataCorrupt("read archive: a malformed pax record")
        if key == b"GNU.sparse.offset":
            offset = value
        elif key == b"GNU.sparse.numbytes":
            spans.append((_number(offset), _number(value)))
        else:
            records[key] = value
    return records, spans


def _number(digits: bytes) -> int:
    if not digits.isdigit() or len(digits) > 20:
        raise DataCorrupt("read archive: a pax record or sparse map holds no number where one should be")
    return int(digits)


def _decimal(records: dict[bytes, bytes], key: bytes, default: int) -> int:
    value = records.get(key)
    return _size(_number(value)) if value else default


def _pairs(numbers: list[bytes]) -> tuple[Span, ...]:
    values = [_number(number) for number in numbers]
    if len(values) % 2:
        raise DataCorrupt("read archive: a sparse map of an odd length")
    return tuple(zip(values[::2], values[1::2], strict=True))


def _size(value: int) -> int:
    if not 0 <= value <= _LARGEST:
        raise DataCorrupt(f"read archive: a size of {value} is out of bounds")
    return value


def _id(value: int) -> int:
    if not 0 <= value < 2**32 - 1:
        raise DataCorrupt(f"read archive: an owner of {value} is out of bounds")
    return value


def _time(nanoseconds: int) -> int:
    if not -_LARGEST <= nanoseconds <= 2 * _LARGEST:
        raise DataCorrupt("read archive: a time is out of bounds")
    return nanoseconds


def _nanoseconds(text: bytes) -> int:
    """A pax time: seconds with a fraction of any length, of which nine digits count."""
    seconds, _, fraction = text.removeprefix(b"-").partition(b".")
    value = _number(seconds) * 10**9 + _number(fraction[:9].ljust(9, b"0"))
    return _time(-value if text.startswith(b"-") else value)


def _xattrs(records: dict[bytes, bytes]) -> tuple[tuple[bytes, bytes], ...]:
    found: dict[bytes, bytes] = {}
    for key, value in records.items():
        if key.startswith(_XATTR_ENCODED):
            found[urllib.parse.unquote_to_bytes(key[len(_XATTR_ENCODED) :])] = _base64(value)
    for key, value in records.items():
        if key.startswith(_XATTR):
            found[key[len(_XATTR) :]] = value
    return tuple(found.items())


def _base64(value: bytes) -> bytes:
    try:
        return base64.b64decode(value + b"=" * (-len(value) % 4), validate=True)
    except binascii.Error:
        raise DataCorrupt("read archive: an extended attribute is not base64") from None
