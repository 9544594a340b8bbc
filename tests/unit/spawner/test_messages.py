"""Messages between Corten's processes: large ones, descriptors, the end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from socket import socket

import pytest

from corten.sys import messages


@pytest.fixture
def ends() -> Iterator[tuple[socket, socket]]:
    one, other = messages.pair()
    with one, other:
        yield one, other


@pytest.mark.parametrize("size", [0, 1000, 64 << 10, 1 << 20])
def test_a_message_of_any_size_arrives_whole(ends: tuple[socket, socket], size: int) -> None:
    messages.send(ends[0], {"payload": "x" * size, "é": "\udc80"})
    assert messages.receive(ends[1]) == ({"payload": "x" * size, "é": "\udc80"}, [])


@pytest.mark.parametrize("size", [10, 1 << 20])
def test_descriptors_come_along_in_their_order(ends: tuple[socket, socket], size: int) -> None:
    reader, writer = os.pipe()
    messages.send(ends[0], {"payload": "x" * size}, [reader, writer])
    for descriptor in (reader, writer):
        os.close(descriptor)
    _, (reader, writer) = messages.receive(ends[1])
    os.write(writer, b"through")
    assert os.read(reader, 10) == b"through"
    assert not os.get_inheritable(reader)
    for descriptor in (reader, writer):
        os.close(descriptor)


def test_the_end_is_told_from_either_side(ends: tuple[socket, socket]) -> None:
    ends[0].close()
    with pytest.raises(messages.Closed):
        messages.receive(ends[1])
    with pytest.raises(messages.Closed):
        messages.send(ends[1], {})


def test_nothing_to_read_is_no_end(ends: tuple[socket, socket]) -> None:
    ends[1].setblocking(False)
    with pytest.raises(BlockingIOError):
        messages.receive(ends[1])


def test_the_last_word_is_heard_of_one_who_left_something_unread() -> None:
    ours, theirs = messages.pair()
    with ours, theirs:
        messages.send(ours, {"do": "unread"})
        messages.send(theirs, {"event": "last"})
        theirs.close()
        assert messages.receive(ours)[0] == {"event": "last"}
        with pytest.raises(messages.Closed):
            messages.receive(ours)
