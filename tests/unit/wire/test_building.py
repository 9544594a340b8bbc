"""The frames of a build: whole however they are cut, and what is none is refused."""

from __future__ import annotations

import pytest

from corten.errors import DataCorrupt
from corten.wire import building


def test_frames_come_whole_however_they_are_cut() -> None:
    payload = bytes(range(256)) * 8192
    sent = b"".join([*building.frames(building.LIST, payload), building.frame(building.GO, b"12")])
    reader = building.FrameReader()
    found = [one for at in range(0, len(sent), 100_001) for one in reader.receive(sent[at : at + 100_001])]
    assert [kind for kind, _ in found] == [building.LIST, building.LIST, building.GO]
    assert b"".join(content for kind, content in found if kind == building.LIST) == payload


@pytest.mark.parametrize("data", [b"POST ", b"L\xff\xff\xff\xff"])
def test_what_is_no_frame_is_refused(data: bytes) -> None:
    with pytest.raises(DataCorrupt):
        building.FrameReader().receive(data)


def test_the_time_before_the_files_were_listed() -> None:
    assert building.moment(b"1700000000123456789") == 1_700_000_000_123_456_789
    assert building.moment(b"") == 0
    for payload in (b"-1", b"1e9", b"9" * 21, b"\xd9\xa3"):
        with pytest.raises(DataCorrupt):
            building.moment(payload)
