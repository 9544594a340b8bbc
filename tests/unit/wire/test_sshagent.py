"""Messages of SSH agents, and which of them a build may send."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.errors import DataCorrupt
from corten.wire import sshagent
from corten.wire.sshagent import MessageReader, permitted


def message(kind: int, rest: bytes = b"") -> bytes:
    return (1 + len(rest)).to_bytes(4, "big") + bytes([kind]) + rest


@given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=50))), st.integers(1, 20))
def test_messages_however_they_are_cut(given_: list[tuple[int, bytes]], step: int) -> None:
    messages = [message(*one) for one in given_]
    data, reader = b"".join(messages), MessageReader()
    found = [one for at in range(0, len(data), step) for one in reader.receive(data[at : at + step])]
    assert found == messages


@pytest.mark.parametrize("size", [0, sshagent.LONGEST + 1, 0xFFFFFFFF])
def test_lengths_that_are_none(size: int) -> None:
    with pytest.raises(DataCorrupt):
        MessageReader().receive(size.to_bytes(4, "big"))


def test_only_what_lists_or_signs_is_permitted() -> None:
    assert [kind for kind in range(256) if permitted(message(kind))] == [11, 13]
