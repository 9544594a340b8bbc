"""The frames of a build over an upgraded connection."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.errors import DataCorrupt
from corten.wire import building
from corten.wire.building import FrameReader, frame, frames


@given(st.lists(st.tuples(st.sampled_from(sorted(building._KINDS)), st.binary(max_size=50))), st.integers(1, 20))
def test_frames_survive_any_cut(sent: list[tuple[bytes, bytes]], step: int) -> None:
    data = b"".join(frame(*one) for one in sent)
    reader = FrameReader()
    assert [one for at in range(0, len(data), step) for one in reader.receive(data[at : at + step])] == sent


def test_a_long_payload_takes_several() -> None:
    payload = bytes(building.LONGEST + 1)
    found = FrameReader().receive(b"".join(frames(building.LIST, payload)))
    assert [len(one) for _, one in found] == [building.LONGEST, 1]
    assert FrameReader().receive(b"".join(frames(building.SAID, b""))) == [(building.SAID, b"")]


@pytest.mark.parametrize("data", [b"X\0\0\0\0", b"C\xff\xff\xff\xff", b"HTTP/1.1"])
def test_what_is_no_frame_is_refused(data: bytes) -> None:
    with pytest.raises(DataCorrupt, match="is not a header"):
        FrameReader().receive(data)
