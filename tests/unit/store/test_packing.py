"""Layers compressed for others: the same bytes whenever, and for whoever reads them a gzip stream without a time."""

from __future__ import annotations

import gzip
import io
import random

from corten.store import packing

CONTENT = random.Random(1).randbytes(300_000) + bytes(2_000_000)


def test_the_same_layer_gives_the_same_bytes() -> None:
    first, second = (b"".join(packing.gzipped(io.BytesIO(CONTENT))) for _ in range(2))
    assert first == second
    assert gzip.decompress(first) == CONTENT
    assert len(first) < 310_000


def test_the_header_has_no_time_and_no_name() -> None:
    head = b"".join(packing.gzipped(io.BytesIO(b"")))[:10]
    assert head[:4] == b"\x1f\x8b\x08\x00"
    assert head[4:8] == bytes(4)
