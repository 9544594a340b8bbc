"""Attach frames: what was framed comes out again, however it was split."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.errors import DataCorrupt
from corten.wire.frames import STDERR, STDOUT, FrameReader, frame

streams = st.lists(st.tuples(st.sampled_from([STDOUT, STDERR]), st.binary(max_size=30)), max_size=8)


@given(streams, st.lists(st.integers(0, 400), max_size=30))
def test_the_split_does_not_matter(sent: list[tuple[int, bytes]], cuts: list[int]) -> None:
    data = b"".join(frame(stream, payload) for stream, payload in sent)
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    reader = FrameReader()
    pieces = [piece for a, b in itertools.pairwise(edges) for piece in reader.receive(data[a:b])]
    for wanted in (STDOUT, STDERR):
        assert b"".join(data for stream, data in pieces if stream == wanted) == b"".join(
            payload for stream, payload in sent if stream == wanted
        )
    assert reader.complete


def test_a_payload_does_not_wait_for_its_end() -> None:
    reader = FrameReader()
    assert reader.receive(frame(STDOUT, b"hello")[:10]) == [(STDOUT, b"he")]
    assert not reader.complete


@pytest.mark.parametrize("data", [b"\x05\0\0\0\0\0\0\1x", b"HTTP/1.1"])
def test_what_is_no_header_is_refused(data: bytes) -> None:
    with pytest.raises(DataCorrupt):
        FrameReader().receive(data)
