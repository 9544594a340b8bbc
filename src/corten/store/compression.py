"""Compressed streams, told by their first bytes as Docker does: what a manifest calls them is often wrong.

gzip (any number of members), zstd (any number of frames), bzip2, xz, or plain. The reader hands out chunks of
bounded size, whatever the ratio, so a bomb costs time and no memory.
"""

from __future__ import annotations

import bz2
import lzma
from collections.abc import Callable, Iterator
from typing import Protocol

import zstandard

from corten.errors import DataCorrupt

_CHUNK = 1 << 18
_GZIP, _ZSTD, _BZIP2, _XZ = b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ\0"
_BITE = 1 << 10
_ZSTD_SKIPPABLE = (0x184D2A50, 0x184D2A5F)
_LONGEST_WINDOW = 128 << 20
"""Bytes a zstd or xz stream may ask for: ``zstd --long`` and ``xz -9`` stay below."""


HEAD = len(_XZ)
"""Bytes that tell."""


def is_compressed(head: bytes) -> bool:
    """Whether a stream with these first bytes is compressed."""
    return head.startswith((_GZIP, _ZSTD, _BZIP2, _XZ)) or _skippable(head)


class Source(Protocol):
    """Where compressed bytes come from."""

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes; b'' at the end."""


def chunks(source: Source) -> Iterator[bytes]:
    """The decompressed bytes of a stream. Raises DataCorrupt when it is damaged or truncated."""
    head = source.read(_CHUNK)
    while head and len(head) < len(_XZ) and (more := source.read(_CHUNK)):
        head += more
    if head.startswith(_ZSTD) or _skippable(head):
        return _members(head, source, "zstd", _Zstd)
    if head.startswith(_GZIP):
        return _members(head, source, "gzip", _Gzip)
    if head.startswith(_BZIP2):
        return _members(head, source, "bzip2", bz2.BZ2Decompressor)
    if head.startswith(_XZ):
        return _members(head, source, "xz", lambda: lzma.LZMADecompressor(memlimit=_LONGEST_WINDOW))
    return _plain(head, source)


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /, max_length: int) -> bytes: ...


class _Gzip:
    """ISA-L's decompressor, which takes half of zlib's time, with errors as the others' are. It is loaded by who
    decompresses: a process of its own, as a rule."""

    def __init__(self) -> None:
        from isal import igzip_lib

        self._isal = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
        self._error: type[Exception] = igzip_lib.IsalError  # type: ignore[assignment]  # the stub has an instance

    @property
    def eof(self) -> bool:
        return self._isal.eof

    @property
    def needs_input(self) -> bool:
        return self._isal.needs_input

    @property
    def unused_data(self) -> bytes:
        return self._isal.unused_data

    def decompress(self, data: bytes, /, max_length: int) -> bytes:
        try:
            return self._isal.decompress(data, max_length)
        except self._error as error:
            raise EOFError(str(error).rpartition("Error ")[2]) from error


class _Zstd:
    """zstandard's decompressor, which knows no ``max_length``: small bites bound what it gives back.

    A block of four bytes can stand for 128 KiB, so a bite of one KiB yields 32 MiB at the most.
    """

    def __init__(self) -> None:
        self._zstd = zstandard.ZstdDecompressor(max_window_size=_LONGEST_WINDOW).decompressobj()
        self._pending = b""
        self._at = 0

    @property
    def eof(self) -> bool:
        return self._zstd.eof

    @property
    def needs_input(self) -> bool:
        return self._at >= len(self._pending)

    @property
    def unused_data(self) -> bytes:
        return self._zstd.unused_data + self._pending[self._at :]

    def decompress(self, data: bytes, /, max_length: int) -> bytes:
        del max_length
        if data:
            self._pending, self._at = self._pending[self._at :] + data, 0
        bite = self._pending[self._at : self._at + _BITE]
        self._at += len(bite)
        return self._zstd.decompress(bite)


def _plain(head: bytes, source: Source) -> Iterator[bytes]:
    while head:
        yield head
        head = source.read(_CHUNK)


def _members(data: bytes, source: Source, name: str, make: Callable[[], _Decompressor]) -> Iterator[bytes]:
    """Members one after the other; zeros after the last one are padding, as gzip(1) has it."""
    try:
        while data:
            decompressor = make()
            while not decompressor.eof:
                if decompressor.needs_input and not data and not (data := source.read(_CHUNK)):
                    raise DataCorrupt(f"decompress {name}: truncated")
                yield decompressor.decompress(data, max_length=_CHUNK)
                data = b""
            data = decompressor.unused_data or source.read(_CHUNK)
            if not data.strip(b"\0"):
                return
    except (lzma.LZMAError, zstandard.ZstdError, OSError, EOFError) as error:
        raise DataCorrupt(f"decompress {name}: {error}") from error


def _skippable(head: bytes) -> bool:
    return len(head) >= 4 and _ZSTD_SKIPPABLE[0] <= int.from_bytes(head[:4], "little") <= _ZSTD_SKIPPABLE[1]
