"""A door in front of an engine that lets every byte through and remembers the HTTP that went by.

What a real client provokes cannot be asked of the client: it is read off the wire, after the connection is over.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from tests.support.contract import Exchange

_CHUNK = 1 << 16
_REMEMBERED = 4 << 20
"""Bytes of a connection's direction that are kept; what is beyond goes through unseen."""


class Proxy:
    """Listens on ``path``, connects to ``upstream`` for each client, and tells ``observe`` what was said."""

    def __init__(self, path: Path, upstream: Path, observe: Callable[[Exchange], None]) -> None:
        self.path, self._upstream, self._observe = path, upstream, observe
        self._listener = socket.socket(socket.AF_UNIX)
        self._threads: list[threading.Thread] = []
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    def start(self) -> Proxy:
        """Listen."""
        self.path.unlink(missing_ok=True)
        self._listener.bind(str(self.path))
        self.path.chmod(0o600)
        self._listener.listen(64)
        self._run(self._accept)
        return self

    def close(self) -> None:
        """Stop listening, cut what is open, and wait until all that was heard is told."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for one in self._open:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
        for thread in tuple(self._threads):
            thread.join(10)
        self.path.unlink(missing_ok=True)

    def _run(self, work: Callable[..., None], *arguments: object) -> threading.Thread:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._run(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as engine:
            try:
                engine.connect(str(self._upstream))
            except OSError:  # no engine: the client sees a connection that ends, as when it dies
                return
            with self._lock:
                self._open |= {client, engine}
            asked, answered = Memory(), Memory()
            inward = self._run(_pump, client, engine, asked)
            _pump(engine, client, answered)
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
            inward.join()
            with self._lock:
                self._open -= {client, engine}
        for exchange in exchanges(asked, answered):
            self._observe(exchange)


class Memory:
    """The first bytes of one direction."""

    def __init__(self) -> None:
        self.content = bytearray()
        self.whole = True

    def add(self, data: bytes) -> None:
        """Keep them, while there is room."""
        if len(self.content) + len(data) > _REMEMBERED:
            self.whole = False
        elif self.whole:
            self.content += data


def _pump(source: socket.socket, sink: socket.socket, memory: Memory) -> None:
    """One direction, to its end; the end of one half is passed on as such."""
    with contextlib.suppress(OSError):
        while data := source.recv(_CHUNK):
            memory.add(data)
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def exchanges(asked: Memory, answered: Memory) -> Iterator[Exchange]:
    """The requests of a connection with their answers, until it leaves HTTP or breaks off."""
    requests, answers = io.BytesIO(bytes(asked.content)), io.BytesIO(bytes(answered.content))
    while (head := _head(requests)) is not None:
        method, target, _ = head[0].split(" ", 2)
        if _body(requests, head[1], method="")[1] is False:
            return
        while (reply := _head(answers)) is not None and " 100 " in f"{reply[0]} ":
            continue
        if reply is None:
            return
        status = int(reply[0].split(" ", 2)[1])
        headers = {name.lower(): value for name, value in reply[1].items()}
        left_http = status == 101 or ("content-length" not in headers and "transfer-encoding" not in headers
                                      and status not in (204, 304))  # fmt: skip
        body, whole = (b"", False) if left_http else _body(answers, reply[1], method=method, status=status)
        yield Exchange(method, target, status, headers, body, whole)
        if left_http or not whole:
            return


def _head(stream: BinaryIO) -> tuple[str, http.client.HTTPMessage] | None:
    first = stream.readline()
    if not first.endswith(b"\r\n"):
        return None
    return first.decode("latin-1").strip(), http.client.parse_headers(stream)


def _body(stream: BinaryIO, headers: http.client.HTTPMessage, *, method: str, status: int = 0) -> tuple[bytes, bool]:
    """(the body, whether it is there to its end)."""
    if method == "HEAD" or status in (204, 304):
        return b"", True
    if headers.get("Transfer-Encoding", "").lower() != "chunked":
        length = int(headers.get("Content-Length", "0"))
        body = stream.read(length)
        return body, len(body) == length
    parts = []
    while (line := stream.readline()).endswith(b"\r\n"):
        size = int(line.split(b";")[0], 16)
        part = stream.read(size)
        parts.append(part)
        if stream.readline() != b"\r\n" or len(part) != size:
            break
        if size == 0:
            return b"".join(parts), True
    return b"".join(parts), False
