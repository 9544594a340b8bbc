"""The client of the Docker Engine API, and of Corten's own part of it: requests, streams, tunnels, errors."""

from __future__ import annotations

from corten import errors
from corten.wire import http1

from . import jsontext
from .address import Address, parse
from .connection import Connection, Response, Tunnel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from .connection import Body

    Query = Mapping[str, Any]

_KINDS: dict[int, type[errors.CortenError]] = {
    400: errors.InvalidInput,
    401: errors.AccessDenied,
    403: errors.AccessDenied,
    404: errors.NotFound,
    409: errors.Conflict,
    501: errors.Unsupported,
    503: errors.Unavailable,
}
API_VERSION = "1.50"
"""The version of the API whose shapes the commands read; also that of Docker's own command line, release 28."""
_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/:@")
_UPGRADE = {"Connection": "Upgrade", "Upgrade": "tcp"}


class Client:
    """Speaks to one engine. Blocking; of one thread at a time; a context manager.

    Example::

        with Client("unix:///run/corten/corten.sock") as client:
            for container in client.get("/containers/json", {"all": True}):
                print(container["Names"])

    ``connect`` makes a connection; where nothing listens, ``start`` has the engine started first, if it is given: see
    :mod:`.autostart`.
    """

    def __init__(
        self, host: str | Address, *, connect: Callable[[Address], Connection] = Connection,
        start: Callable[[Address], Connection] | None = None,
    ) -> None:  # fmt: skip
        self.address = parse(host) if isinstance(host, str) else host
        self._connect, self._start = connect, start
        self._idle: list[Connection] = []

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.pop().close()

    # --- answers read to their end

    def get(self, path: str, query: Query | None = None) -> Any:
        """GET, and the answer's JSON. Raises the kinds of :mod:`corten.errors`, as all methods here do."""
        return self.call("GET", path, query)

    def post(self, path: str, query: Query | None = None, value: Any = None) -> Any:
        """POST ``value`` as JSON, and the answer's JSON (None when it is empty)."""
        return self.call("POST", path, query, value)

    def delete(self, path: str, query: Query | None = None) -> Any:
        """DELETE, and the answer's JSON."""
        return self.call("DELETE", path, query)

    def call(self, method: str, path: str, query: Query | None = None, value: Any = None) -> Any:
        """One request whose answer is read to its end and decoded."""
        with self.open(method, path, query, value) as response:
            return response.json()

    # --- answers read as they come

    def open(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        value: Any = None,
        *,
        body: Body = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """One request whose answer's body is the caller's to read; ``value`` goes as JSON, ``body`` raw."""
        return checked(self.send(method, path, query, value, body=body, headers=headers))

    def send(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        value: Any = None,
        *,
        body: Body = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """As :meth:`open`, but without waiting for the answer: hand it to :func:`checked` when it is needed."""
        fields = dict(headers or {})
        if value is not None:
            body = jsontext.encode(value)
            fields.setdefault("Content-Type", "application/json")
        return self._request(method, target(path, query), fields, body, http1.ResponseReader(method))

    def hijack(
        self, path: str, query: Query | None = None, value: Any = None, *, headers: Mapping[str, str] | None = None
    ) -> Tunnel:
        """POST, and the connection itself: attach and exec (Docker Engine API, "ContainerAttach"), or what
        ``headers`` ask to upgrade to."""
        body = jsontext.encode(value) if value is not None else None
        fields = {**_UPGRADE, "Content-Type": "application/json"} if body else {**_UPGRADE, **(headers or {})}
        return checked(self._upgrade(path, query, fields, body)).tunnel()

    def upgrade(self, path: str, query: Query | None, headers: Mapping[str, str]) -> Response:
        """As :meth:`hijack`, but without waiting for the answer: the new protocol can be begun meanwhile
        (:meth:`~.connection.Response.begin`)."""
        return self._upgrade(path, query, {**_UPGRADE, **headers}, None)

    def _upgrade(self, path: str, query: Query | None, headers: Mapping[str, str], body: Body) -> Response:
        reader = http1.ResponseReader("POST", hijack=True)
        return self._request("POST", target(path, query), headers, body, reader)

    def _request(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: Body,
        reader: http1.ResponseReader,
    ) -> Response:
        connection = self._connection()
        try:
            connection.send(method, target, headers, body)
            return Response(connection, reader, self._give_back)
        except BaseException:
            connection.close()
            raise

    def connect_ahead(self, count: int = 1) -> None:
        """Open connections for the requests to come: the engine accepts them while this process does other work.

        Only where that cannot take time, on a unix socket. Where nothing listens it is left to the first request
        to say so, or to start the engine.
        """
        try:
            while self.address.path and len(self._idle) < count:
                self._idle.append(self._connect(self.address))
        except errors.CortenError:
            return

    def _connection(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.alive():
                return connection
            connection.close()
        try:
            return self._connect(self.address)
        except errors.Unavailable:
            if self._start is None:
                raise
            return self._start(self.address)

    def _give_back(self, connection: Connection, reusable: bool) -> None:
        if reusable:
            self._idle.append(connection)
        else:
            connection.close()


def checked(response: Response) -> Response:
    """The response, unless it tells an error: then that, as one of :mod:`corten.errors`. 304 is no error."""
    head = response.head
    if head.status < 400:
        return response
    with response:
        raise error_of(head.status, head.reason, response.read())


def error_of(status: int, reason: str, body: bytes) -> errors.CortenError:
    """The error that a status and its ``{"message", "hint"}`` tell."""
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


def target(path: str, query: Query | None) -> str:
    """A request target: values quoted; None left out; booleans 1 and 0; lists and objects as JSON."""
    path = f"/v{API_VERSION}{path}"
    if query is None:
        return quote(path)
    pairs = [f"{name}={quote(_text(value), plain=_PLAIN - {47})}" for name, value in _pairs(query)]
    return quote(path) + ("?" + "&".join(pairs) if pairs else "")


def _pairs(query: Query) -> Iterable[tuple[str, Any]]:
    for name, value in query.items():
        if isinstance(value, tuple):
            yield from ((name, item) for item in value)
        elif value is not None and value != "":
            yield name, value


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, (dict, list)):
        return jsontext.encode(value).decode()
    return str(value)


def quote(text: str, *, plain: frozenset[int] = _PLAIN) -> str:
    """Percent-encode what is not unreserved (RFC 3986, 2.1); bytes that are no UTF-8 pass through."""
    raw = text.encode("utf-8", "surrogateescape")
    if plain.issuperset(raw):
        return text
    return "".join(chr(byte) if byte in plain else f"%{byte:02X}" for byte in raw)
