"""A copy of the output, line by line, for a log that is somewhere else. It never blocks.

What cannot be sent yet waits, within a bound. When that is reached, the container waits, too; with
``mode=non-blocking``, or while there is nobody at the other end, the newest lines are lost instead, as they are with
dockerd. The log's cache has them all the same.
"""

from __future__ import annotations

import collections
import select
import time
from collections.abc import Callable
from typing import Protocol

from corten.spec.monitor import LogSpec

_LONGEST_LINE = 16 << 10
"""Docker's own bound on one message."""
_RETRY, _LONGEST_RETRY = 1.0, 30.0
"""Seconds between attempts to reach the other end: each time twice as long."""
_FAREWELL = 5.0
"""Seconds for what still waits when the container has ended."""


class Link(Protocol):
    """The way to the other end."""

    def fileno(self) -> int:
        """To poll; -1 when there is no connection."""

    @property
    def events(self) -> int:
        """What of poll(2) it waits for besides being able to send."""

    def connect(self) -> bool:
        """Get a connection, or go on getting it; False when that takes time. Raises OSError."""

    def look(self) -> None:
        """Read whatever came, which is nothing that matters. Raises OSError when the other side has hung up."""

    def send(self, message: bytes) -> int:
        """Send; how many bytes went. Raises BlockingIOError when none did, OSError when there is no connection."""

    def close(self) -> None:
        """Hang up; the next :meth:`connect` begins anew."""


class Remote:
    """Lines on their way. ``encode`` makes the message of a line; its third argument says that it is a part of one."""

    def __init__(
        self, link: Link, encode: Callable[[bytes, str, bool], bytes], *, limit: int, waits: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._link, self._encode = link, encode
        self._limit, self._waits, self._clock = limit, waits, clock
        self._pending: dict[str, bytes] = {}
        self._queue: collections.deque[bytes] = collections.deque()
        self._size = 0
        self._connected = False
        self._due, self._retry = 0.0, _RETRY

    @property
    def congested(self) -> bool:
        """Whether the container is to wait."""
        return self._waits and self._connected and self._size >= self._limit

    def poll(self) -> tuple[int, int]:
        """(descriptor, events) to wait for; -1 for nothing."""
        events = self._link.events | (select.POLLOUT if self._queue and self._connected else 0)
        return (self._link.fileno(), events) if events else (-1, 0)

    @property
    def timeout(self) -> float | None:
        """Seconds until it is to be tried again; None without need, or while poll(2) tells."""
        if not self._queue or self._connected or self._link.fileno() >= 0:
            return None
        return max(0.0, self._due - self._clock())

    def write(self, data: bytes, stream: str) -> None:
        """Take output. A line that has no end yet waits for it."""
        lines = (self._pending.pop(stream, b"") + data).split(b"\n")
        last = lines.pop()
        for line in lines:
            self._add(line, stream)
        while len(last) >= _LONGEST_LINE:
            self._put(self._encode(last[:_LONGEST_LINE], stream, True))
            last = last[_LONGEST_LINE:]
        if last:
            self._pending[stream] = last
        self.work()

    def _add(self, line: bytes, stream: str) -> None:
        last = max(0, len(line) - 1) // _LONGEST_LINE
        for number in range(last + 1):
            piece = line[number * _LONGEST_LINE : (number + 1) * _LONGEST_LINE]
            self._put(self._encode(piece, stream, number < last))

    def _put(self, message: bytes) -> None:
        full = self._size >= self._limit and not self.congested
        if message and not full:
            self._queue.append(message)
            self._size += len(message)

    def work(self) -> None:
        """Send what goes without waiting."""
        if not self._connected and self._clock() < self._due:
            return
        try:
            if self._connected:
                self._link.look()
            elif self._queue:
                self._connected = self._link.connect()
            while self._connected and self._queue:
                self._send(self._queue[0])
        except BlockingIOError:
            return
        except OSError:
            self._broken()

    def _send(self, message: bytes) -> None:
        sent = self._link.send(message)
        self._size -= sent
        if sent < len(message):
            self._queue[0] = message[sent:]
        else:
            self._queue.popleft()
            self._retry = _RETRY

    def _broken(self) -> None:
        """Nobody is there: what waits goes when somebody is again."""
        self._link.close()
        self._connected = False
        self._due = self._clock() + self._retry
        self._retry = min(2 * self._retry, _LONGEST_RETRY)

    def close(self) -> None:
        """Send the rest, also of lines without an end, within a bound."""
        for stream, line in self._pending.items():
            self._add(line, stream)
        self._pending.clear()
        deadline, self._due = self._clock() + _FAREWELL, 0.0
        self.work()
        while self._queue and (left := deadline - self._clock()) > 0:
            poll = select.poll()
            descriptor, events = self.poll()
            if descriptor >= 0:
                poll.register(descriptor, events)
            elif self._due > deadline:
                break  # there is nobody
            poll.poll(1000 * min(left, _RETRY))
            self.work()
        self._link.close()


def of(spec: LogSpec, id: str) -> Remote:
    """What a log's options ask for. Its code is loaded here: few containers need it."""
    if spec.remote["driver"] == "syslog":
        from corten.monitor.syslog import remote
    else:
        from corten.monitor.journald import remote
    return remote(spec, id)
