"""Lines for a syslog daemon: by datagram or stream, to a unix socket or over the network, with TLS or without."""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Callable
from typing import Any

from corten.monitor.remote import Link, Remote
from corten.spec.monitor import LogSpec
from corten.wire.syslog import Form

LOCAL = ("/dev/log", "/var/run/syslog", "/var/run/log")
"""Where a daemon of this machine may listen."""


Resolve = Callable[[], "tuple[int, int, Any]"]
"""(family, kind, address); asked anew for each connection. Raises OSError."""


class Datagrams:
    """Each message is one."""

    events = 0

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._socket: socket.socket | None = None

    def fileno(self) -> int:
        return self._socket.fileno() if self._socket is not None else -1

    def _begun(self) -> socket.socket:
        """A socket whose connection is made, or under way."""
        if self._socket is None:
            family, kind, address = self._resolve()
            self._socket = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
            try:
                self._socket.connect(address)
            except BlockingIOError:
                pass
        return self._socket

    def connect(self) -> bool:
        self._begun()
        return True

    def look(self) -> None:
        """Datagrams do not care who hears them."""

    def send(self, message: bytes) -> int:
        assert self._socket is not None
        try:
            return self._socket.send(message)
        except ConnectionRefusedError:
            if self._socket.family == socket.AF_UNIX:
                raise
            return len(message)  # the answer to an earlier one: nobody listens there

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class Stream(Datagrams):
    """One message after the other. The other side says nothing, but it may hang up: then what is sent would be lost."""

    _ready = False

    @property
    def events(self) -> int:  # type: ignore[override]
        return select.POLLIN if self._ready else select.POLLOUT

    def connect(self) -> bool:
        begun = self._begun()
        poll = select.poll()
        poll.register(begun, select.POLLOUT)
        if not poll.poll(0):
            return False
        if number := begun.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(number, os.strerror(number))
        self._ready = True
        return True

    def send(self, message: bytes) -> int:
        assert self._socket is not None
        return self._socket.send(message, socket.MSG_NOSIGNAL)

    def look(self) -> None:
        assert self._socket is not None
        try:
            if not self._socket.recv(4096):
                raise ConnectionResetError("the other side hung up")
        except BlockingIOError:
            return

    def close(self) -> None:
        super().close()
        self._ready = False


class Encrypted(Stream):
    """The same by TLS."""

    _wanted = 0

    def __init__(self, resolve: Resolve, tls: dict[str, Any], name: str) -> None:
        super().__init__(resolve)
        self._tls, self._name = tls, name

    @property
    def events(self) -> int:  # type: ignore[override]
        return self._wanted or super().events

    def connect(self) -> bool:
        if not self._ready and not self._wrapped():
            return False
        import ssl

        assert isinstance(self._socket, ssl.SSLSocket)
        try:
            self._socket.do_handshake()
        except ssl.SSLWantReadError:
            self._wanted = select.POLLIN
            return False
        except ssl.SSLWantWriteError:
            self._wanted = select.POLLOUT
            return False
        self._wanted = 0
        return True

    def _wrapped(self) -> bool:
        if not super().connect():
            return False
        from corten.monitor.tls import context

        assert self._socket is not None
        self._socket = context(self._tls).wrap_socket(
            self._socket, server_hostname=self._name, do_handshake_on_connect=False
        )
        return True

    def send(self, message: bytes) -> int:
        import ssl

        assert self._socket is not None
        try:
            return self._socket.send(message)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as error:
            raise BlockingIOError from error

    def look(self) -> None:
        import ssl

        try:
            super().look()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return

    def close(self) -> None:
        super().close()
        self._wanted = 0


def link(remote: dict[str, Any]) -> Link:
    """The way that a log's options ask for: its ``protocol`` is '', ``unix``, ``unixgram``, ``udp``, ``tcp`` or
    ``tcp+tls``."""
    protocol, address = remote["protocol"], remote["address"]
    if protocol == "unix":
        return Stream(lambda: (socket.AF_UNIX, socket.SOCK_STREAM, address))
    if protocol in ("", "unixgram"):
        return Datagrams(lambda: (socket.AF_UNIX, socket.SOCK_DGRAM, address or local()))
    host, _, port = address.rpartition(":")
    name = host.strip("[]")
    kind = socket.SOCK_DGRAM if protocol.startswith("udp") else socket.SOCK_STREAM

    def resolve() -> tuple[int, int, Any]:
        family, _, _, _, place = socket.getaddrinfo(name, port, type=kind)[0]
        return family, kind, place

    if protocol == "tcp+tls":
        return Encrypted(resolve, remote["tls"], name)
    return Datagrams(resolve) if kind == socket.SOCK_DGRAM else Stream(resolve)


def local() -> str:
    """The socket of this machine's own daemon. Raises FileNotFoundError."""
    for path in LOCAL:
        if os.path.exists(path):
            return path
    raise FileNotFoundError(2, os.strerror(2), LOCAL[0])


def remote(spec: LogSpec, id: str) -> Remote:
    """The daemon that a log's options name."""
    told = spec.remote
    form = Form(
        told["format"], told["facility"], told["tag"], os.uname().nodename, os.getpid(),
        counted=told["protocol"] == "tcp+tls" and told["format"].startswith("rfc5424"),
    )  # fmt: skip

    def encode(line: bytes, stream: str, partial: bool) -> bytes:
        return form.encode(line, stream, time.time()) if line else b""

    return Remote(link(told), encode, limit=spec.buffer, waits=spec.waits)
