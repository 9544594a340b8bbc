"""One connection to an engine: a request at a time, kept alive between them; blocking.

The module stands on ``_socket``, the C part of ``socket``: importing ``socket`` costs seven milliseconds, half
a whole command, for conveniences that are not used here.
"""

from __future__ import annotations

import _socket
import os
import sys

from corten.errors import AccessDenied, Unavailable
from corten.wire import http1

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

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
