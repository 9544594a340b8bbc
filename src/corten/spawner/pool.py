"""Monitors that stand by, each with an init that has done already what nearly every start has.

What that is, the last start tells: its order names the operations that could have been done ahead. A start that one
who stands by fits is passed on as it came; every other start takes the long way, by a fork of the spawner.
"""

from __future__ import annotations

import dataclasses
import select
import socket
import time
from collections.abc import Callable, Sequence

from corten.spawner.monitors import READY
from corten.sys import messages

SIZE = 2
_QUIET = 0.01
"""Seconds after the last request, or the last start that was passed on has come through, before another one is made to
stand by: it would take the processor from what somebody waits for."""
_PAUSE = 1.0
"""Seconds until it is tried again, when no process could be made."""
_PATIENCE = 2
"""Starts of another kind, one after the other, before those who stand by for the earlier kind are let go."""


@dataclasses.dataclass(slots=True)
class _Seat:
    pid: int
    channel: socket.socket
    ahead: str
    ready: bool = False
    taken: bool = False
    """It has been given a start; it hangs up when that has come through."""


class Pool:
    """``fork`` makes a process that stands by for ``ahead`` at the other end of a socket, and returns its pid."""

    def __init__(self, fork: Callable[[socket.socket, str], int], size: int = SIZE) -> None:
        self._fork = fork
        self._size = size
        self._seats: list[_Seat] = []
        self._ahead = ""
        self._others = 0
        self._due = 0.0
        self._failed: set[str] = set()

    def filenos(self) -> list[int]:
        """The sockets to poll; what is readable goes to :meth:`hear`."""
        return [seat.channel.fileno() for seat in self._seats]

    def timeout(self) -> float | None:
        """Milliseconds until :meth:`refill` is due; None while nothing is wanted."""
        waiting = sum(not seat.taken for seat in self._seats)
        if not self._ahead or waiting >= self._size or waiting < len(self._seats):
            return None
        return max(0.0, self._due - time.monotonic()) * 1000

    def wanted(self, ahead: str) -> None:
        """A start has come, and this is what could have been done ahead for it ('' nothing)."""
        self._due = time.monotonic() + _QUIET
        if not ahead or ahead == self._ahead or ahead in self._failed:
            self._others = 0 if ahead == self._ahead else self._others
            return
        self._others += 1
        if self._ahead and self._others < _PATIENCE:
            return
        for seat in [one for one in self._seats if not one.taken]:
            self._leave(seat)
        self._ahead, self._others = ahead, 0

    def stands(self) -> str:
        """What has been done ahead by one who is ready; '' when there is none."""
        return next((seat.ahead for seat in self._seats if seat.ready and not seat.taken), "")

    def pass_on(self, ahead: str, packet: bytes, descriptors: Sequence[int]) -> int:
        """Give a start to one who stands by and fits; its pid, 0 when there is none."""
        for seat in [one for one in self._seats if one.ready and not one.taken and ahead and one.ahead == ahead]:
            try:
                messages.send_packet(seat.channel, packet, descriptors)
            except messages.Closed:
                self._leave(seat)
                continue
            seat.taken = True
            return seat.pid
        return 0

    def refill(self) -> None:
        """Make one more stand by, if it is due."""
        if self.timeout() != 0.0:
            return
        ours, theirs = messages.pair()
        seat = _Seat(0, ours, self._ahead)
        self._seats.append(seat)  # before the fork, which must not keep this end of its own line
        with theirs:
            try:
                seat.pid = self._fork(theirs, self._ahead)
            except OSError:
                self._leave(seat)
                self._due = time.monotonic() + _PAUSE

    def hear(self, descriptor: int) -> None:
        """One of them is ready, or has left: what could not be prepared once is not tried again."""
        for seat in [one for one in self._seats if one.channel.fileno() == descriptor]:
            if self._said(seat) == READY:
                seat.ready = True
                continue
            if not seat.ready:
                self._failed.add(seat.ahead)
                self._ahead = "" if self._ahead == seat.ahead else self._ahead
            self._due = time.monotonic() + _QUIET
            self._leave(seat)

    @staticmethod
    def _said(seat: _Seat) -> bytes:
        try:
            return seat.channel.recv(64)
        except ConnectionError:
            return b""

    def register(self, poll: select.poll) -> None:
        """Have the sockets polled."""
        for descriptor in self.filenos():
            poll.register(descriptor, select.POLLIN)

    def let_go(self) -> None:
        """Hang up on all of them: they leave. In a fork it closes the copies, and no more."""
        for seat in list(self._seats):
            self._leave(seat)

    def _leave(self, seat: _Seat) -> None:
        self._seats.remove(seat)
        seat.channel.close()
