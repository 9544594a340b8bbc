"""The client of the Docker Engine API, and of Corten's own part of it: requests, streams, tunnels, errors."""

from __future__ import annotations

from corten import errors

from .address import Address, parse
from .connection import Connection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from .connection import Body
    from .response import Response, Tunnel

    Query = Mapping[str, Any]

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
        return self.send(method, path, query, value, body=body, headers=headers).checked()

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
        """As :meth:`open`, but without waiting for the answer: see :meth:`.response.Response.checked`."""
        fields = dict(headers or {})
        if value is not None:
            body = _encoded(value)
            fields.setdefault("Content-Type", "application/json")
        connection = self._sent(method, target(path, query), fields, body)
        from .response import Response  # while the engine works

        return Response(connection, method, self._give_back)

    def hijack(
        self, path: str, query: Query | None = None, value: Any = None, *, headers: Mapping[str, str] | None = None
    ) -> Tunnel:
        """POST, and the connection itself: attach and exec (Docker Engine API, "ContainerAttach"), or what
        ``headers`` ask to upgrade to."""
        body = _encoded(value) if value is not None else None
        fields = {"Content-Type": "application/json"} if body else headers or {}
        return self.upgrade(path, query, fields, body).tunnel()

    def upgrade(
        self, path: str, query: Query | None, headers: Mapping[str, str], body: bytes | None = None
    ) -> Upgrade:
        """As :meth:`hijack`, but without waiting for the answer."""
        return Upgrade(self._sent("POST", target(path, query), {**_UPGRADE, **headers}, body))

    def _sent(self, method: str, target: str, headers: Mapping[str, str], body: Body) -> Connection:
        """The connection on which a request was sent."""
        connection = self._connection()
        try:
            connection.send(method, target, headers, body)
        except BaseException:
            connection.close()
            raise
        return connection

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


class Upgrade:
    """A request to leave HTTP that was sent. The new protocol can be begun before it is known whether the peer speaks
    it: the request is complete by then, which is all that RFC 9110, 7.8 asks for; what is sent must be no HTTP.

    A context manager; leaving it closes the connection.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._response: Response | None = None

    def __enter__(self) -> Upgrade:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def begin(self, data: bytes) -> None:
        """Send the first of the new protocol."""
        self._connection.begin(data)

    def check(self) -> Response:
        """The peer's answer. Raises the error that it tells, as one of :mod:`corten.errors`."""
        if self._response is None:
            from .response import Response

            self._response = Response(self._connection, "POST", _closed, hijack=True)
        return self._response.checked()

    def tunnel(self) -> Tunnel:
        """The connection, once the peer has agreed. Raises as :meth:`check`."""
        return self.check().tunnel()


def _closed(connection: Connection, _: bool) -> None:
    connection.close()


def _encoded(value: Any) -> bytes:
    """As JSON, whose C part is a library of its own to load: who says and hears none does without."""
    from . import jsontext

    return jsontext.encode(value)


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
        return _encoded(value).decode()
    return str(value)


def quote(text: str, *, plain: frozenset[int] = _PLAIN) -> str:
    """Percent-encode what is not unreserved (RFC 3986, 2.1); bytes that are no UTF-8 pass through."""
    raw = text.encode("utf-8", "surrogateescape")
    if plain.issuperset(raw):
        return text
    return "".join(chr(byte) if byte in plain else f"%{byte:02X}" for byte in raw)
