"""The answer to a request: its head, its body as it comes, the error that it tells, or the tunnel that it opens.

Loaded when a request has been sent: the engine works meanwhile.
"""

from __future__ import annotations

import _socket

from corten import errors
from corten.wire import responses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from .connection import Connection

_KINDS: dict[int, type[errors.CortenError]] = {
    400: errors.InvalidInput,
    401: errors.AccessDenied,
    403: errors.AccessDenied,
    404: errors.NotFound,
    409: errors.Conflict,
    501: errors.Unsupported,
    503: errors.Unavailable,
}


class Response:
    """The answer to a request that was sent: its head is read when it is first asked for, its body likewise.

    In between the caller can do something else while the engine works. A context manager; leaving it (or reading
    to the end) gives the connection back or closes it.
    """

    def __init__(
        self,
        connection: Connection,
        method: str,
        done: Callable[[Connection, bool], None],
        *,
        hijack: bool = False,
    ) -> None:
        self._connection = connection
        self._reader = responses.ResponseReader(method, hijack=hijack)
        self._done: Callable[[Connection, bool], None] | None = done
        self._events: list[responses.Head | bytes | responses.End] = []
        self._head: responses.Head | None = None

    @property
    def head(self) -> responses.Head:
        """Status and header fields. Raises DataCorrupt, and Unavailable when the engine closed instead."""
        if self._head is None:
            self._head = self._read_head()
        return self._head

    def checked(self) -> Response:
        """Itself, unless it tells an error: then that is raised, as one of :mod:`corten.errors`. 304 is no error."""
        head = self.head
        if head.status < 400:
            return self
        with self:
            raise error_of(head.status, head.reason, self.read())

    @property
    def headers(self) -> Mapping[str, str]:
        """The header fields, by their names in lower case."""
        return self.head.headers

    def _read_head(self) -> responses.Head:
        try:
            head = self._next()
        except BaseException:
            self.close()
            raise
        if not isinstance(head, responses.Head):
            raise errors.DataCorrupt("read response: a body without a head")
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
            if isinstance(event, responses.End):
                self.close()
            elif isinstance(event, bytes):
                yield event

    def _next(self) -> responses.Head | bytes | responses.End:
        while not self._events:
            self._events = self._reader.receive(self._connection.receive())
        return self._events.pop(0)

    def read(self) -> bytes:
        """The whole body, as far as it was not read yet."""
        return b"".join(self)

    def json(self) -> Any:
        """The whole body as JSON; None when it is empty. Raises DataCorrupt."""
        from . import jsontext

        body = self.read()
        return jsontext.decode(body) if body.strip() else None

    def documents(self) -> Iterator[Any]:
        """The body as a stream of JSON documents, as they arrive."""
        from . import jsontext

        return jsontext.documents(self)

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


def error_of(status: int, reason: str, body: bytes) -> errors.CortenError:
    """The error that a status and its ``{"message", "hint"}`` tell."""
    from . import jsontext

    try:
        told = jsontext.decode(body)
        message, hint = str(told["message"]), str(told.get("hint") or "")
    except (errors.DataCorrupt, KeyError, TypeError, AttributeError):
        message, hint = body.decode("utf-8", "replace").strip() or f"{status} {reason}", ""
    error = _KINDS.get(status, errors.CortenError)(message, hint=hint)
    error.__cause__ = Answer(status)
    return error


class Answer(Exception):
    """The cause of an error that the engine told (and this process did not find itself): its status."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
