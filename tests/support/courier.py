"""A server in front of a registry, which hands every request on and can be told to misbehave: break a connection off,
send a client elsewhere, want a password. What it was asked, and with which headers, it remembers."""

from __future__ import annotations

import contextlib
import http.client
import ssl
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_CHUNK = 1 << 16
_OWN = {"connection", "transfer-encoding", "content-length", "date", "server", "host"}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes is no error here."""


class Courier:
    """Listens on ``address`` (loopback), and hands on to a registry ``upstream``, ``host:port``."""

    def __init__(self, upstream: str, address: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        self.upstream = upstream
        self.seen: list[tuple[str, Mapping[str, str]]] = []
        """Method and path, with the headers."""
        self.breaks: dict[str, int] = {}
        """By what a path holds: the bytes of an answer after which the connection is broken, once."""
        self.elsewhere: dict[str, str] = {}
        """By what a path holds: where a client is sent, with the path behind it."""
        self.refuses: list[int] = []
        """Statuses that the next requests are answered with."""
        self.password = ""
        """A Basic ``Authorization`` without which nobody is served."""
        courier = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                courier._serve(self)

            do_HEAD = do_GET

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = _Server((address, 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.host = f"{address}:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Courier:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def asked(self, part: str) -> list[Mapping[str, str]]:
        """The headers of the requests whose method and path hold something."""
        return [headers for what, headers in self.seen if part in what]

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        self.seen.append((f"{handler.command} {handler.path}", dict(handler.headers.items())))
        if self.refuses:
            self._answer(handler, self.refuses.pop(0))
        elif self.password and handler.headers.get("Authorization") != self.password:
            self._answer(handler, 401, {"WWW-Authenticate": 'Basic realm="courier"'})
        elif target := next((url for part, url in self.elsewhere.items() if part in handler.path), ""):
            self._answer(handler, 307, {"Location": target + handler.path})
        else:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self._hand_on(handler)

    def _answer(self, handler: BaseHTTPRequestHandler, status: int, headers: Mapping[str, str] | None = None) -> None:
        handler.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": "0"}.items():
            handler.send_header(name, value)
        handler.end_headers()

    def _hand_on(self, handler: BaseHTTPRequestHandler) -> None:
        upstream = http.client.HTTPConnection(self.upstream, timeout=30)
        with contextlib.closing(upstream):
            headers = {name: value for name, value in handler.headers.items() if name.lower() not in _OWN}
            upstream.request(handler.command, handler.path, headers={**headers, "Host": self.upstream})
            answer = upstream.getresponse()
            handler.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in _OWN:
                    handler.send_header(name, value)
            handler.send_header("Content-Length", answer.headers.get("Content-Length", "0"))
            handler.end_headers()
            part = next((part for part in self.breaks if part in handler.path), "")
            self._copy(answer, handler, self.breaks.pop(part, None))

    def _copy(self, answer: http.client.HTTPResponse, handler: BaseHTTPRequestHandler, left: int | None) -> None:
        while data := answer.read(_CHUNK if left is None else min(_CHUNK, left)):
            handler.wfile.write(data)
            left = None if left is None else left - len(data)
            if left == 0:
                handler.wfile.flush()
                handler.close_connection = True
                return
