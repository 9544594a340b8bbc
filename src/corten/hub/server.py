"""The registry's listening socket; a thread a connection."""

from __future__ import annotations

import socket
import ssl
import sys
import threading
from collections.abc import Collection
from http.server import ThreadingHTTPServer
from typing import Any

from corten.errors import CortenError, InvalidInput
from corten.hub.auth import Door
from corten.hub.handler import Handler
from corten.hub.registry import Registry

_MOST = 256
"""Connections at a time."""


class Server(ThreadingHTTPServer):
    """Serves one registry. ``allowed`` are of ``pull``, ``push`` and ``delete``."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, address: tuple[str, int], registry: Registry, door: Door, allowed: Collection[str],
        context: ssl.SSLContext | None = None,
    ) -> None:  # fmt: skip
        self.registry, self.door, self.allowed = registry, door, tuple(allowed)
        self._context = context
        self._places = threading.BoundedSemaphore(_MOST)
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        try:
            super().__init__(address, Handler)
        except (OSError, OverflowError) as error:
            raise CortenError(f"listen on {address[0]} port {address[1]}: {error}") from error

    @property
    def is_secure(self) -> bool:
        """Whether it speaks TLS."""
        return self._context is not None

    @staticmethod
    def note(text: str) -> None:
        """Something that whoever runs the registry should know."""
        print(text.replace("\n", " "), file=sys.stderr, flush=True)

    def get_request(self) -> tuple[Any, Any]:
        """A connection; the handshake is for its own thread."""
        connection, peer = super().get_request()
        if self._context is not None:
            connection = self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, peer

    def process_request(self, request: Any, client_address: Any) -> None:
        """In a thread, when there is a place."""
        self._places.acquire()
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Until the connection ends."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has left, or speaks no TLS, is no news; all else is."""
        error = sys.exc_info()[1]
        if not isinstance(error, (ConnectionError, TimeoutError, ssl.SSLError)):
            self.note(f"{client_address[0]}: {type(error).__name__}: {error}")


def tls(certificate: str, key: str) -> ssl.SSLContext | None:
    """The context of a certificate; None without one. Raises InvalidInput, CortenError."""
    if not certificate and not key:
        return None
    if not (certificate and key):
        raise InvalidInput("a certificate and its key go together: --cert, --key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise CortenError(f"read {certificate} and {key}: {error}") from error
    return context
