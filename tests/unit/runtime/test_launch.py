"""What an init that stands by says last is heard, however it ends: with a word to it unread, the kernel tells of that
first (ECONNRESET)."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator

import pytest

from corten.runtime import latch
from corten.runtime.failure import OperationFailed
from corten.runtime.stages.context import LINKED, PREPARED
from corten.runtime.stages.launch import Init

REPORT = OperationFailed("mount.overlay", "/", "no such file or directory", errno=2)


@pytest.fixture
def ends() -> Iterator[tuple[Init, socket.socket]]:
    """An init as its starter sees it, and the init's own end of their channel."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pidfd = os.pidfd_open(os.getpid())
    try:
        with theirs, Init(os.getpid(), pidfd, ours) as init:
            yield init, theirs
    finally:
        os.close(pidfd)


def _unread(init: Init, theirs: socket.socket, *last: bytes) -> None:
    """It is told that its links are there, and ends without having read that."""
    init.tell(LINKED)
    for one in last:
        theirs.send(one)
    theirs.close()


WAITS: list[Callable[[Init], object]] = [Init.await_prepared, Init.await_poised, Init.await_ready, Init.await_running]


@pytest.mark.parametrize("wait", WAITS)
def test_what_failed_is_told(ends: tuple[Init, socket.socket], wait: Callable[[Init], object]) -> None:
    _unread(*ends, json.dumps(REPORT.encode()).encode())
    with pytest.raises(OperationFailed, match="overlay /: no such file or directory") as caught:
        wait(ends[0])
    assert (caught.value.operation, caught.value.errno) == ("mount.overlay", 2)


@pytest.mark.parametrize("wait", WAITS)
def test_one_that_was_killed_said_nothing(ends: tuple[Init, socket.socket], wait: Callable[[Init], object]) -> None:
    _unread(*ends)
    with pytest.raises(OperationFailed, match="it ended before"):
        wait(ends[0])


def test_one_that_could_not_become_the_latch_says_why(ends: tuple[Init, socket.socket]) -> None:
    init, theirs = ends
    theirs.send(PREPARED + b"/root")
    init.await_prepared()
    theirs.send(json.dumps(REPORT.encode()).encode())
    theirs.close()
    with pytest.raises(OperationFailed, match="no such file or directory"):
        init.await_poised()
    assert init.home == "/root"


def test_one_that_waits_answers(ends: tuple[Init, socket.socket]) -> None:
    init, theirs = ends
    theirs.send(PREPARED)
    theirs.send(latch.ASK)
    init.await_prepared()
    with init.await_poised() as line:
        assert line.fileno() > 0
    assert theirs.recv(8) == latch.ASK
