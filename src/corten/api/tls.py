"""TLS between a socket and the API, with both halves of a connection closed apart.

asyncio's own TLS closes the whole connection when the peer has ended its half (``close_notify``, RFC 8446, 6.1), which
is how a client says that stdin is over while it goes on reading. So the TLS engine is fed by hand here.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Iterable
from typing import Any

from corten.errors import CortenError

_CHUNK = 256 << 10
_HANDSHAKE = 20.0
"""Seconds that a client gets to show who it is."""
_PLAIN_HTTP = (
    b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"
    b"Client sent an HTTP request to an HTTPS server.\n"
)


def context(certificate: str, key: str, authority: str) -> ssl.SSLContext:
    """A server's context. With ``authority``, a file of certificates, only clients that it vouches for come in.

    Raises CortenError for files that cannot be used, and for a key that is encrypted: nobody is there to be asked.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.options |= ssl.OP_NO_RENEGOTIATION
    try:
        made.load_cert_chain(certificate, key, password=lambda: b"")
    except (OSError, ssl.SSLError) as error:
        raise CortenError(f"use certificate {certificate} with key {key}: {_reason(error)}") from error
    if authority:
        try:
            made.load_verify_locations(authority)
        except (OSError, ssl.SSLError) as error:
            raise CortenError(f"use certificate authority {authority}: {_reason(error)}") from error
        made.verify_mode = ssl.CERT_REQUIRED
    return made


def _reason(error: OSError) -> str:
    said = getattr(error, "reason", None) or error.strerror or str(error)
    return str(said).replace("_", " ").lower()


class _Transport(asyncio.Transport):
    """What the inner protocol writes to."""

    def __init__(self, raw: asyncio.Transport, tls: ssl.SSLObject, outgoing: ssl.MemoryBIO) -> None:
        super().__init__()
        self._raw, self._tls, self._outgoing = raw, tls, outgoing
        self._ended = False

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        if data and not self._ended:
            self._tls.write(data)
            self.flush()

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview[Any]]) -> None:
        self.write(b"".join(list_of_data))

    def flush(self) -> None:
        if data := self._outgoing.read():
            self._raw.write(data)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """End our half: the peer may go on sending."""
        if not self._ended:
            self._ended = True
            with contextlib.suppress(ssl.SSLError):  # what it wants is the peer's own end, which nobody waits for
                self._tls.unwrap()
            self.flush()

    def close(self) -> None:
        self.write_eof()
        self._raw.close()

    def abort(self) -> None:
        self._raw.abort()

    def is_closing(self) -> bool:
        return self._raw.is_closing()

    def pause_reading(self) -> None:
        self._raw.pause_reading()

    def resume_reading(self) -> None:
        self._raw.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._raw.get_extra_info(name, default)


class TlsProtocol(asyncio.Protocol):
    """Stands between a socket and ``inner``, which is connected when the client has shown who it is."""

    def __init__(self, context: ssl.SSLContext, inner: asyncio.Protocol) -> None:
        self._inner = inner
        self._incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._outgoing = outgoing
        self._tls = context.wrap_bio(self._incoming, outgoing, server_side=True)
        self._raw: asyncio.Transport | None = None
        self._transport: _Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._raw = transport
        self._deadline = asyncio.get_running_loop().call_later(_HANDSHAKE, transport.abort)

    def data_received(self, data: bytes) -> None:
        self._incoming.write(data)
        try:
            if self._transport is None:
                self._shake_hands()
            while not self._ended and (plain := self._tls.read(_CHUNK)):
                self._inner.data_received(plain)
            self._end_of_input()
        except ssl.SSLWantReadError:
            self._flush()
        except ssl.SSLZeroReturnError:
            self._end_of_input()
        except ssl.SSLError as error:
            self._fail(error)

    def _shake_hands(self) -> None:
        assert self._raw is not None
        self._tls.do_handshake()
        if self._deadline is not None:
            self._deadline.cancel()
        self._flush()
        self._transport = _Transport(self._raw, self._tls, self._outgoing)
        self._inner.connection_made(self._transport)

    def _flush(self) -> None:
        if self._raw is not None and (data := self._outgoing.read()):
            self._raw.write(data)

    def _end_of_input(self) -> None:
        """The client has said that it will send no more; what it is owed goes on."""
        if not self._ended:
            self._ended = True
            self._inner.eof_received()

    def _fail(self, error: ssl.SSLError) -> None:
        """The client is told why, by an alert, or in the words of the protocol that it spoke instead."""
        assert self._raw is not None
        if self._transport is None and error.reason == "HTTP_REQUEST":
            self._raw.write(_PLAIN_HTTP)
        else:
            self._flush()
        self._raw.close()

    def eof_received(self) -> bool:
        """A client that has ended its half in TLS's own way may end the socket's, too. Any other end is a cut: taken
        for the end of input, it would let who sits on the wire shorten what a client sends."""
        return self._ended

    def connection_lost(self, exc: Exception | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        if self._transport is not None:
            self._inner.connection_lost(exc or (None if self._ended else ConnectionResetError("cut off")))

    def pause_writing(self) -> None:
        if self._transport is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._transport is not None:
            self._inner.resume_writing()
