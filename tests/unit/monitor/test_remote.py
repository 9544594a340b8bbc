"""A copy of the output on its way to another log: whole lines, bounds, broken connections."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from corten.monitor.remote import Remote


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Pair:
    """A link whose other end is the test."""

    events = 0

    def __init__(self) -> None:
        self.ours: socket.socket | None = None
        self.theirs: socket.socket | None = None
        self.refuses = False

    def fileno(self) -> int:
        return self.ours.fileno() if self.ours is not None else -1

    def connect(self) -> bool:
        if self.refuses:
            raise ConnectionRefusedError
        self.ours, self.theirs = socket.socketpair()
        self.ours.setblocking(False)
        return True

    def look(self) -> None:
        assert self.ours is not None
        try:
            if not self.ours.recv(1):
                raise ConnectionResetError
        except BlockingIOError:
            return

    def send(self, message: bytes) -> int:
        assert self.ours is not None
        return self.ours.send(message, socket.MSG_NOSIGNAL)

    def close(self) -> None:
        if self.ours is not None:
            self.ours.close()
            self.ours = None

    def heard(self) -> bytes:
        assert self.theirs is not None
        self.theirs.setblocking(False)
        said = b""
        try:
            while data := self.theirs.recv(1 << 20):
                said += data
        except BlockingIOError:
            pass
        return said


@pytest.fixture
def link() -> Iterator[Pair]:
    made = Pair()
    yield made
    for one in (made.ours, made.theirs):
        if one is not None:
            one.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def tell(line: bytes, stream: str, partial: bool) -> bytes:
    return b"%b:%b%b\n" % (stream.encode(), line, b"+" if partial else b"")


def remote(link: Pair, clock: Clock, *, limit: int = 1 << 20, waits: bool = True) -> Remote:
    return Remote(link, tell, limit=limit, waits=waits, clock=clock)


def test_a_line_goes_when_it_is_whole_or_the_container_ends(link: Pair, clock: Clock) -> None:
    sent = remote(link, clock)
    sent.write(b"a\nb", "stdout")
    sent.write(b"x\n\n", "stderr")
    assert link.heard() == b"stdout:a\nstderr:x\nstderr:\n"
    sent.write(b"b\nno end", "stdout")
    assert link.heard() == b"stdout:bb\n"
    sent.close()
    assert link.heard() == b"stdout:no end\n"


def test_a_long_line_goes_in_parts(link: Pair, clock: Clock) -> None:
    sent = remote(link, clock)
    sent.write(b"x" * 20000, "stdout")
    assert link.heard() == b"stdout:" + b"x" * 16384 + b"+\n"
    sent.write(b"y\n", "stdout")
    assert link.heard() == b"stdout:" + b"x" * (20000 - 16384) + b"y\n"


def test_who_does_not_read_makes_the_container_wait(link: Pair, clock: Clock) -> None:
    sent = remote(link, clock, limit=10_000)
    count = 0
    while not sent.congested:
        sent.write(b"z" * 1000 + b"\n", "stdout")
        count += 1
    said = b""
    while sent.congested or len(said) < count * 1008:
        said += link.heard()
        sent.work()
    assert said == (b"stdout:" + b"z" * 1000 + b"\n") * count


def test_unless_it_is_not_to_wait(link: Pair, clock: Clock) -> None:
    sent = remote(link, clock, limit=10_000, waits=False)
    for _ in range(2000):
        sent.write(b"z" * 1000 + b"\n", "stdout")
        assert not sent.congested
    said = link.heard()
    sent.work()
    said += link.heard()
    assert len(said) < 2000 * 1008


def test_nobody_there_is_tried_again_later_and_later(link: Pair, clock: Clock) -> None:
    sent = remote(link, clock, limit=100)
    link.refuses = True
    sent.write(b"1\n", "stdout")
    assert sent.timeout == 1
    clock.now = 1
    sent.work()
    assert sent.timeout == 2
    assert not sent.congested
    link.refuses, clock.now = False, 3
    sent.work()
    assert link.heard() == b"stdout:1\n"
    assert sent.timeout is None


def test_who_hangs_up_is_called_again(link: Pair, clock: Clock) -> None:
    sent = remote(link, clock)
    sent.write(b"1\n", "stdout")
    assert link.theirs is not None
    assert link.heard() == b"stdout:1\n"
    link.theirs.close()
    sent.write(b"2\n", "stdout")
    clock.now += 1
    sent.work()
    assert link.heard() == b"stdout:2\n"


def test_the_end_waits_for_nobody_who_is_not_there(link: Pair, clock: Clock) -> None:
    before = set(os.listdir("/proc/self/fd"))
    sent = remote(link, clock)
    link.refuses = True
    for _ in range(4):
        clock.now += 100
        sent.write(b"1\n", "stdout")
    sent.close()
    assert set(os.listdir("/proc/self/fd")) == before
