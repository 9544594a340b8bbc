"""TLS for a client's connections: loaded only for an address of TCP that asks for it.

What is handed out is one end of a socket pair, and a thread that moves bytes between its other end and the engine. So
whoever has it polls, peeks and ends its half as on a unix socket, which Python's TLS sockets cannot: their bytes may
be waiting where poll(2) does not see them, and an end of one half (RFC 8446, 6.1) is not to be had.
"""

from __future__ import annotations

import _socket
import contextlib
import os
import select
import ssl
import threading

from corten.errors import AccessDenied, CortenError, InvalidInput, Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .address import Address, Trust

_PIECE = 64 << 10
_HANDSHAKE = 20.0
"""Seconds that an engine gets to answer."""
_HELD = 1 << 20
"""Bytes that wait for a side that does not read, before no more is read for it."""


class TlsSocket(_socket.socket):
    """This process's end of a connection that is encrypted beyond it. Raises, at the end, what broke it off."""

    failure: CortenError | None = None

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """As of a socket. Raises Unavailable, AccessDenied when the connection did not end in TLS's own way."""
        try:
            data = super().recv(size, flags)
        except ConnectionResetError:  # as of a unix socket that was closed before all that was sent was read
            data = b""
        if not data and self.failure is not None:
            raise self.failure
        return data


def encrypted(connection: _socket.socket, address: Address, trust: Trust) -> _socket.socket:
    """A connected socket, now of TLS; takes it. Raises AccessDenied where one side does not trust the other,
    InvalidInput for files that cannot be used, Unavailable."""
    try:
        tls = _Tls(connection, address, context(trust))
        tls.shake_hands()
    except BaseException:
        connection.close()
        raise
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
    end = TlsSocket(fileno=ours.detach())
    threading.Thread(target=_Pump(tls, theirs, end).run, daemon=True, name="tls").start()
    return end


def context(trust: Trust) -> ssl.SSLContext:
    """A client's context. Raises InvalidInput for files that cannot be used."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if not trust.authority:
        made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    used = trust.authority
    try:
        if trust.authority:
            made.load_verify_locations(trust.authority)
        if trust.certificate or trust.key:
            used = f"{trust.certificate} with key {trust.key}"
            made.load_cert_chain(trust.certificate, trust.key or None, password=lambda: b"")
    except OSError as error:
        said = getattr(error, "reason", None) or error.strerror or str(error)
        raise InvalidInput(f"use certificate {used}: {str(said).replace('_', ' ').lower()}") from error
    return made


class _Tls:
    """The engine of TLS over a socket that never blocks for long."""

    def __init__(self, connection: _socket.socket, address: Address, context: ssl.SSLContext) -> None:
        self.socket = connection
        self._address = address
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_hostname=address.host)
        self._to_send = b""
        self.over = False

    def shake_hands(self) -> None:
        """Blocking, within a bound. Raises AccessDenied, Unavailable."""
        self.socket.settimeout(_HANDSHAKE)
        try:
            while not self._shaken():
                self._incoming.write(self._received())
        except ssl.SSLError as error:
            raise self.failure(error) from error
        except OSError as error:
            raise Unavailable(f"connect to the engine at {self._address}: {str(error).lower()}") from error
        self.socket.setblocking(False)

    def _shaken(self) -> bool:
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        finally:
            self.socket.sendall(self._outgoing.read())
        return True

    def _received(self) -> bytes:
        data = self.socket.recv(_PIECE)
        if not data:
            raise OSError("the other side closed the connection")
        return data

    def failure(self, error: ssl.SSLError) -> CortenError:
        """What a failure of TLS means to a user."""
        said = getattr(error, "verify_message", "") or (error.reason or str(error)).replace("_", " ").lower()
        message = f"connect to the engine at {self._address}: TLS: {said}"
        if isinstance(error, ssl.SSLCertVerificationError):
            return AccessDenied(message, hint="--tlscacert names the authority that vouches for the engine")
        if "ALERT" in (error.reason or ""):
            return AccessDenied(message, hint="--tlscert and --tlskey show the engine who you are")
        return Unavailable(message, hint="does that port speak TLS?")

    @property
    def congested(self) -> bool:
        return bool(self._to_send)

    def send(self, data: bytes) -> None:
        self._object.write(data)
        self.flush()

    def end(self) -> None:
        """No more will be sent."""
        with contextlib.suppress(ssl.SSLError):  # what it wants is the other side's end
            self._object.unwrap()
        self.flush()

    def flush(self) -> None:
        self._to_send += self._outgoing.read()
        with contextlib.suppress(BlockingIOError):
            self._to_send = self._to_send[self.socket.send(self._to_send, _socket.MSG_NOSIGNAL) :]

    def receive(self) -> bytes:
        """What has come. Raises ssl.SSLError; ``over`` is set by the other side's end."""
        with contextlib.suppress(BlockingIOError):
            data = self.socket.recv(_PIECE)
            self._incoming.write(data) if data else self._incoming.write_eof()
        pieces: list[bytes] = []
        with contextlib.suppress(ssl.SSLWantReadError):
            while piece := self._read():
                pieces.append(piece)
            self.over = True
        self.flush()
        return b"".join(pieces)

    def _read(self) -> bytes:
        try:
            return self._object.read(_PIECE)
        except ssl.SSLZeroReturnError:
            return b""


class _Pump:
    """Moves bytes between TLS and the near end of a socket pair until one of them is gone."""

    def __init__(self, tls: _Tls, near: _socket.socket, end: TlsSocket) -> None:
        self._tls, self._near, self._end = tls, near, end
        self._to_user = b""
        self._ended = False
        near.setblocking(False)

    def run(self) -> None:
        try:
            while not (self._tls.over and not self._to_user):
                self._turn(dict(self._poll()))
        except ssl.SSLError as error:
            self._end.failure = self._tls.failure(error)
        except OSError:
            pass  # one side is gone: the other learns it from the end of its connection
        finally:
            self._near.close()
            self._tls.socket.close()

    def _poll(self) -> list[tuple[int, int]]:
        poll = select.poll()
        tls = select.POLLOUT if self._tls.congested else 0
        near = select.POLLOUT if self._to_user else 0
        if len(self._to_user) < _HELD and not self._tls.over:
            tls |= select.POLLIN
        if not self._tls.congested and not self._ended:
            near |= select.POLLIN
        if tls or not self._tls.over:
            poll.register(self._tls.socket.fileno(), tls)
        # Not registered is not heard of: a near end that is gone would wake the poll for ever, or not at all.
        if near or self._ended:
            poll.register(self._near.fileno(), near)
        return poll.poll()

    def _turn(self, ready: dict[int, int]) -> None:
        tls, near = ready.get(self._tls.socket.fileno(), 0), ready.get(self._near.fileno(), 0)
        if near & (select.POLLERR | select.POLLHUP) and self._ended:
            raise BrokenPipeError(os.strerror(32))  # the user's end is closed, not only its half
        if tls & select.POLLOUT:
            self._tls.flush()
        if near & select.POLLIN:
            self._send()
        if tls & ~select.POLLOUT and not self._tls.over:
            self._to_user += self._tls.receive()
        if self._to_user:
            with contextlib.suppress(BlockingIOError):
                self._to_user = self._to_user[self._near.send(self._to_user, _socket.MSG_NOSIGNAL) :]

    def _send(self) -> None:
        data = self._near.recv(_PIECE)
        if data:
            self._tls.send(data)
        else:
            self._ended = True
            self._tls.end()
