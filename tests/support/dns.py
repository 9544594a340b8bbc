"""Questions to a resolver from inside a network namespace, and a server of the test's own to forward them to."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
from collections.abc import Callable

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rrset

from tests.support.spaces import network_of

RESOLVER = "127.0.0.11"
Answer = Callable[[dns.message.Message], dns.message.Message | None]


def ask(
    pid: int, name: str, kind: str = "A", *, stream: bool = False, payload: int = 0, seconds: float = 10
) -> dns.message.Message:
    """The resolver's answer to a question of a process's namespace. Raises dns.exception.Timeout."""
    question = dns.message.make_query(name, kind, use_edns=bool(payload), payload=payload or 512)
    with contextlib.ExitStack() as closing:
        with network_of(pid):
            made = socket.socket(socket.AF_INET, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM)
            closing.enter_context(made)
            if stream:
                made.settimeout(seconds)
                made.connect((RESOLVER, 53))
        made.setblocking(False)
        if stream:
            return dns.query.tcp(question, RESOLVER, timeout=seconds, sock=made)
        return dns.query.udp(question, RESOLVER, timeout=seconds, sock=made)


def texts(message: dns.message.Message) -> list[str]:
    """What an answer's records say, sorted."""
    return sorted(item.to_text() for rrset in message.answer for item in rrset)


def look_up(pid: int, name: str, kind: str = "A", *, stream: bool = False) -> list[str]:
    """The records of a name; raises AssertionError for any code but NOERROR."""
    message = ask(pid, name, kind, stream=stream)
    assert message.rcode() == dns.rcode.NOERROR, message
    return texts(message)


def code(pid: int, name: str, kind: str = "A", *, stream: bool = False) -> str:
    """The response code of an answer."""
    return dns.rcode.to_text(ask(pid, name, kind, stream=stream).rcode())


def answers(pid: int, name: str) -> bool:
    """Whether a name is answered by stream, where the resolver may have died."""
    try:
        return bool(texts(ask(pid, name, stream=True)))
    except (ConnectionError, EOFError):  # the dead one's socket, or none
        return False


def answering(address: str) -> Answer:
    """What answers every question for an address with this one."""

    def answer(question: dns.message.Message) -> dns.message.Message:
        made = dns.message.make_response(question, recursion_available=True)
        made.answer.append(dns.rrset.from_text(question.question[0].name, 60, "IN", "A", address))
        return made

    return answer


def refusing(rcode: int) -> Answer:
    """What answers every question with a code."""

    def answer(question: dns.message.Message) -> dns.message.Message:
        made = dns.message.make_response(question)
        made.set_rcode(dns.rcode.Rcode(rcode))
        return made

    return answer


class Upstream:
    """A name server at port 53 of an address, in the namespace in which it is made, in a thread of its own."""

    def __init__(self, address: str, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[str] = []
        """Names, by stream with a ``tcp:`` in front."""
        self._datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for one in (self._datagrams, self._listener):
            one.bind((address, 53))
        self._listener.listen()
        self._stop, self._stopping = os.pipe()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def __enter__(self) -> Upstream:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._stopping)
        self._thread.join()
        os.close(self._stop)
        self._datagrams.close()
        self._listener.close()

    def _serve(self) -> None:
        while True:
            descriptors = [self._stop, self._datagrams.fileno(), self._listener.fileno()]
            ready, _, _ = select.select(descriptors, [], [])
            if self._stop in ready:
                return
            if self._datagrams.fileno() in ready:
                data, client = self._datagrams.recvfrom(65535)
                if reply := self._reply(data, ""):
                    self._datagrams.sendto(reply, client)
            if self._listener.fileno() in ready:
                self._converse()

    def _converse(self) -> None:
        connection, _ = self._listener.accept()
        with connection, connection.makefile("rb") as reader:
            connection.settimeout(10)
            length = int.from_bytes(reader.read(2), "big")
            if reply := self._reply(reader.read(length), "tcp:"):
                connection.sendall(len(reply).to_bytes(2, "big") + reply)

    def _reply(self, data: bytes, way: str) -> bytes | None:
        question = dns.message.from_wire(data)
        self.asked.append(way + question.question[0].name.to_text(omit_final_dot=True))
        made = self.answer(question)
        return made.to_wire(max_size=65535) if made is not None else None
