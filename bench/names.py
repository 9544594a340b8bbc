"""Names in a user's network: so many questions a second, each sent at its own time whether or not earlier ones were
answered, so that a resolver that stalls is seen to."""

from __future__ import annotations

import contextlib
import dataclasses
import select
import socket
import statistics
import struct
import time

from tests.support.dns import RESOLVER
from tests.support.spaces import network_of

RATE, SECONDS = 5000, 3
_QUESTION = b"\1\0\0\1\0\0\0\0\0\0" + b"\3web\0" + b"\0\1\0\1"
_LATE = 1.0
"""Seconds for answers after the last question."""


@dataclasses.dataclass(frozen=True, slots=True)
class Load:
    """How it went: milliseconds of each answer, and how many questions there were."""

    answers: tuple[float, ...]
    asked: int

    @property
    def p99(self) -> float:
        """What 99 of 100 answers take at most, in milliseconds; a question without one took for ever."""
        lost = self.asked - len(self.answers)
        return sorted([*self.answers, *[float("inf")] * lost])[int(self.asked * 0.99)]

    def __str__(self) -> str:
        median = statistics.median(self.answers)
        return f"p50 {median:.2f} ms, p99 {self.p99:.2f} ms, {len(self.answers)} of {self.asked} answered"


def ask_steadily(pid: int) -> Load:
    """Ask for ``web`` from the namespace of a process, :data:`RATE` times a second."""
    with network_of(pid):
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with client:
        client.connect((RESOLVER, 53))
        client.setblocking(False)
        return _asked(client, RATE * SECONDS)


def _asked(client: socket.socket, count: int) -> Load:
    poll = select.poll()
    poll.register(client, select.POLLIN)
    sent, answers = [0.0] * count, list[float]()
    begin = time.perf_counter()
    asked = 0
    while len(answers) < count:
        now = time.perf_counter()
        while asked < count and begin + asked / RATE <= now:
            sent[asked] = time.perf_counter()
            client.send(struct.pack("!H", asked) + _QUESTION)
            asked += 1
        due = begin + asked / RATE if asked < count else begin + count / RATE + _LATE
        if due <= now and asked == count:
            break
        poll.poll(max(0.0, (due - time.perf_counter()) * 1000))
        with contextlib.suppress(BlockingIOError):
            while True:
                number = int.from_bytes(client.recv(512)[:2], "big")
                answers.append((time.perf_counter() - sent[number]) * 1000)
    return Load(tuple(answers), count)
