"""Addresses of engines: ``unix:///path``, ``tcp://host:port``, or a bare path."""

from __future__ import annotations

import _socket

from corten.errors import AccessDenied, InvalidInput, Unavailable

_PORT, _TLS_PORT = 2375, 2376
"""Docker's, for an address without one."""
_LONGEST_PATH = 107
"""Bytes of a unix socket's path (unix(7): sun_path has 108 with its NUL)."""


class Trust:
    """Whom a client trusts over TCP, and how it shows who it is: files of PEM, '' for none. Without ``authority`` the
    engine's certificate is not verified."""

    __slots__ = ("authority", "certificate", "key")

    def __init__(self, *, authority: str = "", certificate: str = "", key: str = "") -> None:
        self.authority = authority
        self.certificate = certificate
        self.key = key


class Address:
    """A parsed address; ``str()`` is the form that users write. With ``trust`` its TCP connections speak TLS."""

    __slots__ = ("host", "path", "port", "trust")

    def __init__(self, *, path: str = "", host: str = "", port: int = 0, trust: Trust | None = None) -> None:
        self.path = path
        self.host = host
        self.port = port
        self.trust = trust

    def __str__(self) -> str:
        return f"unix://{self.path}" if self.path else f"tcp://{self.host}:{self.port}"

    @property
    def authority(self) -> str:
        """The value of the Host field: a unix socket has no name, so any will do."""
        return f"{self.host}:{self.port}" if self.host else "corten"

    def connect(self) -> _socket.socket:
        """A connected stream socket, blocking, close-on-exec. Raises Unavailable, and AccessDenied."""
        family = _socket.AF_UNIX if self.path else (_socket.AF_INET6 if ":" in self.host else _socket.AF_INET)
        connection = _socket.socket(family, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        try:
            connection.connect(self.path or (self.host, self.port))
        except OSError as error:
            connection.close()
            raise self._unreachable(error) from error
        return connection if self.trust is None or self.path else self._encrypted(connection, self.trust)

    def _encrypted(self, connection: _socket.socket, trust: Trust) -> _socket.socket:
        from . import tls

        return tls.encrypted(connection, self, trust)

    def _unreachable(self, error: OSError) -> AccessDenied | Unavailable:
        message = f"connect to the engine at {self}: {(error.strerror or str(error)).lower()}"
        if isinstance(error, PermissionError):
            return AccessDenied(message, hint="the socket is another user's; your own engine needs no -H")
        return Unavailable(message, hint="is the engine running?")


def parse(text: str, trust: Trust | None = None) -> Address:
    """Read an address; ``trust`` is for one of TCP. Raises InvalidInput."""
    scheme, mark, rest = text.partition("://")
    if not mark and text.startswith("/"):
        scheme, rest = "unix", text
    if scheme == "unix":
        return _unix(rest)
    if scheme == "tcp" or not mark:
        return _tcp(rest if mark else text, trust)
    raise InvalidInput(f"host {text!r}: {scheme}:// is not known here", hint="use unix:// or tcp://")


def _unix(path: str) -> Address:
    if not path.startswith("/"):
        raise InvalidInput(f"host unix://{path}: the path is not absolute")
    if len(path.encode("utf-8", "surrogateescape")) > _LONGEST_PATH:
        raise InvalidInput(f"host unix://{path}: a socket's path has at most {_LONGEST_PATH} bytes")
    return Address(path=path)


def _tcp(rest: str, trust: Trust | None) -> Address:
    place = rest.rstrip("/")
    host, colon, port = place.rpartition(":")
    if not colon or place.endswith("]"):
        host, port = place, str(_PORT if trust is None else _TLS_PORT)
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise InvalidInput(f"host tcp://{rest}: it reads tcp://HOST:PORT")
    return Address(host=host.strip("[]") or "127.0.0.1", port=int(port), trust=trust)
