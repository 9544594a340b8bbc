"""A container's resolver: its two sockets, and what is answered there.

What comes in is the container's and hostile. A datagram costs one answer at most, which is hardly larger than itself
unless the container says that it takes more; of streams there is a number, each with one question under way and a
limit to its silence.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import time
from collections.abc import Callable

from corten.network.helper.forwarding import Forwarder, Question
from corten.network.helper.loop import READ, WRITE, Loop
from corten.network.helper.upstream import HostServers, servers
from corten.network.names import NameTable
from corten.wire import dns

_IN_A_TURN = 32
"""Datagrams of one container before others get their turn."""
_LONGEST_QUESTION = 4096
_STREAMS, _STREAMS_OF_ONE = 512, 32
_SILENCE = 10.0
"""Seconds after which a stream that says nothing, or does not take its answer, is closed."""
_BY_STREAM = 65535


@dataclasses.dataclass(frozen=True, slots=True)
class Answers:
    """What answers come from."""

    table: NameTable
    forwarder: Forwarder
    host: HostServers

    def local(self, container_id: str, data: bytes, *, stream: bool) -> bytes | dns.Query:
        """The answer to a container's question, b"" where there is to be none; or the question, for others to
        answer."""
        if dns.is_response(data):
            return b""
        try:
            asked = dns.query(data)
        except dns.Malformed as error:
            return dns.refusal(data, error.code)
        record = self.table.of(container_id)
        if record is None:  # the engine has not told yet
            return dns.answer(asked, code=dns.SERVER_FAILURE)
        if asked.space != dns.INTERNET:
            return dns.answer(asked, code=dns.NOT_IMPLEMENTED)
        if (found := self.table.answer(record, asked)) is not None:
            return dns.answer(asked, found, limit=_BY_STREAM if stream else asked.size)
        if record.ndots and asked.kind in (dns.A, dns.AAAA) and b"." not in asked.name:
            return dns.answer(asked)
        return asked if record.has_way_out else dns.answer(asked, code=dns.SERVER_FAILURE)

    def ask(
        self, container_id: str, pidfd: int, data: bytes, asked: dns.Query, send: Callable[[bytes], None], *,
        stream: bool,
    ) -> None:  # fmt: skip
        """Have others answer a question; ``send`` gets their answer, or that there is none."""

        def reply(answer: bytes | None) -> None:
            if answer is None:
                answer = dns.answer(asked, code=dns.SERVER_FAILURE)
            fits = stream or len(answer) <= asked.size
            send(answer if fits else dns.truncated(answer, asked.question))

        record = self.table.of(container_id)
        own = servers(record.servers, of_host=False) if record is not None else []
        chosen = own or self.host()
        self.forwarder.ask(Question(container_id, pidfd, chosen, data, asked, stream=stream, reply=reply))


class Sandbox:
    """A container's network namespace, as far as names go. Owns its descriptors."""

    def __init__(
        self, loop: Loop, answers: Answers, streams: Streams, container_id: str, run: str, pidfd: int,
        sockets: tuple[socket.socket, socket.socket],
    ) -> None:  # fmt: skip
        self.container_id = container_id
        self.run = run
        self.pidfd = pidfd
        self._loop, self._answers, self._all_streams = loop, answers, streams
        self._datagrams, self._listener = sockets
        for one in sockets:
            one.setblocking(False)
        loop.add(self._datagrams.fileno(), self._receive)
        loop.add(self._listener.fileno(), self._accept)

    def _receive(self) -> None:
        for _ in range(_IN_A_TURN):
            try:
                data, client = self._datagrams.recvfrom(_LONGEST_QUESTION)
            except OSError:  # no more of them
                return
            answer = self._answers.local(self.container_id, data, stream=False)
            if isinstance(answer, bytes):
                self._send(answer, client)
            else:
                self._ask(data, answer, client)

    def _ask(self, data: bytes, asked: dns.Query, client: tuple[str, int]) -> None:
        def send(answer: bytes) -> None:
            self._send(answer, client)

        self._answers.ask(self.container_id, self.pidfd, data, asked, send, stream=False)

    def _send(self, answer: bytes, client: tuple[str, int]) -> None:
        """A client that does not take its answers loses them, as by any datagram."""
        if answer:
            with contextlib.suppress(OSError):
                self._datagrams.sendto(answer, client)

    def _accept(self) -> None:
        try:
            stream, _ = self._listener.accept()
        except OSError:
            return
        self._all_streams.take(stream, self)

    def local(self, data: bytes) -> bytes | dns.Query:
        """As :meth:`Answers.local`, by stream."""
        return self._answers.local(self.container_id, data, stream=True)

    def ask(self, data: bytes, asked: dns.Query, send: Callable[[bytes], None]) -> None:
        """As :meth:`Answers.ask`, by stream."""
        self._answers.ask(self.container_id, self.pidfd, data, asked, send, stream=True)

    def close(self) -> None:
        """Let go of everything; the kernel drops the namespace then."""
        self._all_streams.forget(self)
        for one in (self._datagrams, self._listener):
            self._loop.remove(one.fileno())
            one.close()
        os.close(self.pidfd)


class Stream:
    """A client's connection: question after question, each with its length in front (RFC 1035 section 4.2.2)."""

    def __init__(self, connection: socket.socket, sandbox: Sandbox, loop: Loop, over: Callable[[Stream], None]) -> None:
        self.sandbox = sandbox
        self.deadline = time.monotonic() + _SILENCE
        self.number = connection.fileno()
        self._connection, self._loop, self._over = connection, loop, over
        self._come, self._left = b"", b""
        self._asks = self._closed = False
        connection.setblocking(False)
        loop.add(self.number, self._ready)

    def _ready(self) -> None:
        try:
            if self._left:
                self._flush()
                self._serve()
            elif not self._asks:
                self._read()
            else:  # nothing is waited for but its end
                self._over(self)
        except BlockingIOError:
            return
        except OSError:
            self._over(self)

    def _read(self) -> None:
        data = self._connection.recv(_LONGEST_QUESTION)
        if not data:
            self._over(self)
            return
        self._come += data
        self._serve()

    def _serve(self) -> None:
        """All that is there and can be answered at once."""
        while not (self._asks or self._left or self._closed) and len(self._come) >= 2:
            length = int.from_bytes(self._come[:2], "big")
            if not dns.HEADER <= length <= _LONGEST_QUESTION:
                self._over(self)
                return
            if len(self._come) < 2 + length:
                return
            data, self._come = self._come[2 : 2 + length], self._come[2 + length :]
            self._answer(data)

    def _answer(self, data: bytes) -> None:
        answer = self.sandbox.local(data)
        if isinstance(answer, bytes):
            self._send(answer)
            return
        self._asks = True
        self._loop.change(self.number, 0)
        self.sandbox.ask(data, answer, self._answered)

    def _answered(self, answer: bytes) -> None:
        if self._closed:
            return
        self._asks = False
        self._send(answer)
        if not self._closed and not self._left:
            self._loop.change(self.number, READ)
            self._serve()

    def _send(self, answer: bytes) -> None:
        if not answer:
            return
        self._left = len(answer).to_bytes(2, "big") + answer
        try:
            self._flush()
        except BlockingIOError:
            self._loop.change(self.number, WRITE)
        except OSError:
            self._over(self)

    def _flush(self) -> None:
        self._left = self._left[self._connection.send(self._left) :]
        if self._left:
            raise BlockingIOError
        self._loop.change(self.number, READ)
        self.deadline = time.monotonic() + _SILENCE

    def close(self) -> None:
        """Hang up."""
        if not self._closed:
            self._closed = True
            self._loop.remove(self.number)
            self._connection.close()


class Streams:
    """The streams of all containers."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._open: dict[int, Stream] = {}
        loop.chore(self._expire)

    def take(self, connection: socket.socket, sandbox: Sandbox) -> None:
        """Serve a connection, or hang up where there are too many."""
        own = sum(one.sandbox is sandbox for one in self._open.values())
        if own >= _STREAMS_OF_ONE or len(self._open) >= _STREAMS:
            connection.close()
            return
        stream = Stream(connection, sandbox, self._loop, self._close)
        self._open[stream.number] = stream

    def forget(self, sandbox: Sandbox) -> None:
        """Close those of a container."""
        for stream in [one for one in self._open.values() if one.sandbox is sandbox]:
            self._close(stream)

    def _close(self, stream: Stream) -> None:
        if self._open.get(stream.number) is stream:
            del self._open[stream.number]
        stream.close()

    def _expire(self, now: float) -> float:
        for stream in [one for one in self._open.values() if one.deadline <= now]:
            self._close(stream)
        return min((one.deadline for one in self._open.values()), default=now + 60.0)
