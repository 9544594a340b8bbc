"""One connection to an engine: a request at a time, kept alive between them; blocking.

The module stands on ``_socket``, the C part of ``socket``: importing ``socket`` costs seven milliseconds, half
a whole command, for conveniences that are not used here.
"""

from __future__ import annotations

import _socket
import os
import sys

from corten.errors import AccessDenied, DataCorrupt, Unavailable
from corten.wire import http1

from . import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any

    from .address import Address

    Body = bytes | Iterable[bytes] | None

_PIECE = 64 * 1024


class Connection:
    """A connected socket and the state of its one request. Close it, or let a Response give it back."""

    def __init__(self, address: Address) -> None:
        self.authority = address.authority
        self.socket = address.connect()

    def close(self) -> None:
        """Close the socket; may be called twice."""
        self.socket.close()

    def alive(self) -> bool:
        """Whether an idle connection is still open: an engine may close it at any time (RFC 9112, 9.3.1)."""
        try:
            self.socket.recv(1, _socket.MSG_PEEK | _socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False  # closed, or bytes that nobody asked for

    def send(self, method: str, target: str, headers: Mapping[str, str], body: Body) -> None:
        """Send one request. A peer that stops reading has an answer to say why: that is no error here."""
        fields = {"Host": self.authority, "User-Agent": "corten", **headers}
        streamed = body is not None and not isinstance(body, bytes)
        if streamed:
            fields["Transfer-Encoding"] = "chunked"
        head = http1.request(method, target, fields, None if streamed else _sole(method, body))
        try:
            self._send(head)
            if streamed:
                self._send_chunks(body)  # type: ignore[arg-type]
        except (BrokenPipeError, ConnectionResetError):
            return

    def begin(self, data: bytes) -> None:
        """Send bytes of another protocol, likewise."""
        try:
            self._send(data)
        except (BrokenPipeError, ConnectionResetError):
            return

    def _send_chunks(self, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            if piece:
                self._send(http1.chunk(piece))
        self._send(http1.LAST_CHUNK)

    def _send(self, data: bytes) -> None:
        self.socket.sendall(data, _socket.MSG_NOSIGNAL)

    def receive(self) -> bytes:
        """The next bytes; empty at the end. Raises Unavailable when the connection was reset."""
        try:
            return self.socket.recv(_PIECE)
        except ConnectionResetError as error:
            raise Unavailable("read response: the engine closed the connection") from error


def _sole(method: str, body: Body) -> bytes | None:
    """A request with a meaning for its body says that it has none (RFC 9110, 8.6)."""
    if body is None:
        return b"" if method in ("POST", "PUT") else None
    return body  # type: ignore[return-value]


class Response:
    """The answer to a request that was sent: its head is read when it is first asked for, its body likewise.

    In between the caller can do something else while the engine works. A context manager; leaving it (or reading
    to the end) gives the connection back or closes it.
    """

    def __init__(
        self,
        connection: Connection,
        reader: http1.ResponseReader,
        done: Callable[[Connection, bool], None],
    ) -> None:
        self._connection = connection
        self._reader = reader
        self._done: Callable[[Connection, bool], None] | None = done
        self._events: list[http1.Head | bytes | http1.End] = []
        self._head: http1.Head | None = None

    @property
    def head(self) -> http1.Head:
        """Status and header fields. Raises DataCorrupt, and Unavailable when the engine closed instead."""
        if self._head is None:
            self._head = self._read_head()
        return self._head

    @property
    def headers(self) -> Mapping[str, str]:
        """The header fields, by their names in lower case."""
        return self.head.headers

    def _read_head(self) -> http1.Head:
        try:
            head = self._next()
        except BaseException:
            self.close()
            raise
        if not isinstance(head, http1.Head):
            raise DataCorrupt("read response: a body without a head")
        return head

    def __enter__(self) -> Response:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connection back when the body was read, close it when not; may be called twice."""
        if self._done is not None:
            done, self._done = self._done, None
            done(self._connection, self._reader.reusable and not self._reader.unread and self._keeps())

    def _keeps(self) -> bool:
        return self.headers.get("connection", "").lower() != "close"

    def __iter__(self) -> Iterator[bytes]:
        """The body, in pieces as they arrive. Raises DataCorrupt when it is cut short."""
        if self._head is None:
            self._head = self._read_head()
        while self._done is not None:
            event = self._next()
            if isinstance(event, http1.End):
                self.close()
            elif isinstance(event, bytes):
                yield event

    def _next(self) -> http1.Head | bytes | http1.End:
        while not self._events:
            self._events = self._reader.receive(self._connection.receive())
        return self._events.pop(0)

    def read(self) -> bytes:
        """The whole body, as far as it was not read yet."""
        return b"".join(self)

    def json(self) -> Any:
        """The whole body as JSON; None when it is empty. Raises DataCorrupt."""
        body = self.read()
        return jsontext.decode(body) if body.strip() else None

    def documents(self) -> Iterator[Any]:
        """The body as a stream of JSON documents, as they arrive."""
        return jsontext.documents(self)

    def begin(self, data: bytes) -> None:
        """Send the first of the protocol that an upgrade is to, before it is known whether the peer speaks it.

        A request is complete by then, which is all that RFC 9110, 7.8 asks for; what is sent must be no HTTP.
        """
        self._connection.begin(data)

    def tunnel(self) -> Tunnel:
        """Take the connection over: from here on it carries bytes that are not HTTP."""
        media_type = self.headers.get("content-type", "")
        self._done = None
        return Tunnel(self._connection, self._reader.unread, media_type)


class Tunnel:
    """A hijacked connection: bytes both ways. ``first`` was received already, with the head."""

    def __init__(self, connection: Connection, first: bytes, media_type: str) -> None:
        self.socket = connection.socket
        self.first = first
        self.media_type = media_type

    def __enter__(self) -> Tunnel:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def fileno(self) -> int:
        """The socket's descriptor, to poll."""
        return self.socket.fileno()

    def end_of_input(self) -> None:
        """Say that no more bytes will be sent; a peer that is gone has no need to know."""
        try:
            self.socket.shutdown(_socket.SHUT_WR)
        except OSError:
            return


def own_connection(address: Address) -> Connection:
    """A connection to this user's own engine. Raises Unavailable; AccessDenied when another user listens: in a
    directory that all may write to, anybody can be faster (SO_PEERCRED, unix(7))."""
    connection = Connection(address)
    # struct ucred: pid, uid, gid, of 32 bits each
    credentials = connection.socket.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)
    owner = int.from_bytes(credentials[4:8], sys.byteorder)
    if owner != os.geteuid():
        connection.close()
        raise AccessDenied(f"connect to the engine at {address}: user {owner} listens there")
    return connection
