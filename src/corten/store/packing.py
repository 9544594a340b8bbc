"""Layers compressed for those who take them: the same layer gives the same bytes, today and on any machine."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from corten.store.compression import Source

_CHUNK = 1 << 18
_LEVEL = 6
_GZIP = 16 + zlib.MAX_WBITS
"""zlib's own header: no name, no time (RFC 1952, MTIME 0), system Unix."""


def gzipped(source: Source) -> Iterator[bytes]:
    """The gzip form of what a source gives."""
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    while chunk := source.read(_CHUNK):
        if packed := packer.compress(chunk):
            yield packed
    yield packer.flush()
