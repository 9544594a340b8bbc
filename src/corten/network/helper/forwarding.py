"""Questions that go on to other servers, and their answers on the way back.

Each question has a socket, and so a port, and a number of its own, both of them random: a forged answer has to guess
them (RFC 5452). A server that refuses, fails or says nothing is followed by the next.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Sequence

from corten.network.helper.loop import READ, WRITE, Loop
from corten.network.helper.upstream import Server
from corten.sys import process
from corten.wire import dns

PATIENCE = 2.0
"""Seconds for each server: a client's own patience is 5 (resolv.conf(5)), and a second server should have its turn."""
MOST, MOST_OF_ONE = 1024, 128
"""Questions under way: of all containers, of one."""
_LARGEST = 65535
_NEXT_SERVER = (dns.SERVER_FAILURE, dns.REFUSED, dns.NOT_IMPLEMENTED)
Reply = Callable[[bytes | None], None]
"""Gets the answer; None when there is none to be had."""


class Question:
    """One question, and the socket by which it is asked at the moment."""

    def __init__(
        self, container_id: str, pidfd: int, servers: Sequence[Server], data: bytes, asked: dns.Query, *,
        stream: bool, reply: Reply,
    ) -> None:  # fmt: skip
        """``data`` is ``asked`` as it came; ``pidfd`` is of a process where the container stands."""
        self.container_id = container_id
        self.servers = list(servers)
        self.asked = asked
        self.reply = reply
        self.last: bytes | None = None
        self.deadline = 0.0
        self.number = -1
        self.is_sent = False
        self._pidfd = pidfd
        self._data = data
        self._stream = stream
        self._socket: socket.socket | None = None
        self._id = 0
        self._left = self._come = b""

    def send(self, server: Server) -> int:
        """Ask a server; the descriptor to wait on. Raises OSError."""
        kind = socket.SOCK_STREAM if self._stream else socket.SOCK_DGRAM
        there = process.visiting(self._pidfd, process.CLONE_NEWNET)
        with contextlib.nullcontext() if server.from_host else there:
            self._socket = socket.socket(server.family, kind | socket.SOCK_NONBLOCK)
        self._id = int.from_bytes(os.urandom(2), "big")
        self.deadline = time.monotonic() + PATIENCE
        self.number = self._socket.fileno()
        data = dns.with_id(self._data, self._id)
        if self._stream:
            self._left, self._come, self.is_sent = len(data).to_bytes(2, "big") + data, b"", False
            with contextlib.suppress(BlockingIOError):
                self._socket.connect(server.address)
        else:
            self._socket.connect(server.address)
            self._socket.send(data)
            self.is_sent = True
        return self.number

    def write(self) -> None:
        """More of a question that is sent by stream. Raises OSError."""
        assert self._socket is not None
        self._left = self._left[self._socket.send(self._left) :]
        self.is_sent = not self._left

    def read(self) -> bytes | None:
        """The answer, b"" for the end of a stream; None while it is not there, or is somebody else's. Raises
        OSError."""
        assert self._socket is not None
        data = self._socket.recv(_LARGEST)
        if self._stream:
            if not data:
                return b""
            self._come += data
            length = int.from_bytes(self._come[:2], "big")
            if len(self._come) < 2 + length or length < dns.HEADER:
                return None
            data = self._come[2 : 2 + length]
        return data if dns.replies_to(data, self._id, self.asked.question) else None

    def close(self) -> None:
        """Hang up."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class Forwarder:
    """All questions that are under way."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._waiting: dict[int, Question] = {}
        self._of: dict[str, int] = {}
        loop.chore(self._expire)

    def ask(self, question: Question) -> None:
        """Put a question to the first of its servers that answers it."""
        id = question.container_id
        if self._of.get(id, 0) >= MOST_OF_ONE or len(self._waiting) >= MOST:
            question.reply(None)
            return
        self._of[id] = self._of.get(id, 0) + 1
        self._next(question)

    def forget(self, container_id: str) -> None:
        """A container is gone: nobody waits for its answers."""
        for question in [one for one in self._waiting.values() if one.container_id == container_id]:
            self._leave(question)
        self._of.pop(container_id, None)

    def _next(self, question: Question) -> None:
        """Ask the next server that can be asked at all; after the last one it is over."""
        while question.servers:
            try:
                number = question.send(question.servers.pop(0))
            except OSError:
                question.close()
                continue
            self._waiting[number] = question
            self._loop.add(number, lambda: self._ready(question), events=READ if question.is_sent else WRITE)
            return
        self._end(question, question.last)

    def _ready(self, question: Question) -> None:
        try:
            if not question.is_sent:
                question.write()
                self._loop.change(question.number, READ if question.is_sent else WRITE)
                return
            answer = question.read()
        except BlockingIOError:
            return
        except OSError:  # it is not there
            answer = b""
        if answer is None:
            return
        self._leave(question)
        if answer and dns.code_of(answer) not in _NEXT_SERVER:
            self._end(question, answer)
            return
        question.last = answer or question.last
        self._next(question)

    def _end(self, question: Question, answer: bytes | None) -> None:
        left = self._of.get(question.container_id, 1) - 1
        if left > 0:
            self._of[question.container_id] = left
        else:
            self._of.pop(question.container_id, None)
        question.reply(dns.with_id(answer, question.asked.id) if answer else None)

    def _leave(self, question: Question) -> None:
        if self._waiting.pop(question.number, None) is not None:
            self._loop.remove(question.number)
        question.close()

    def _expire(self, now: float) -> float:
        """The oldest is the first due, since all have the same patience."""
        while self._waiting:
            question = next(iter(self._waiting.values()))
            if question.deadline > now:
                return question.deadline
            self._leave(question)
            self._next(question)
        return now + 60.0
