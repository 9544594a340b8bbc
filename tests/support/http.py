"""A plain HTTP client for a unix socket: what the wire says, seen without any of Corten's own code."""

from __future__ import annotations

import dataclasses
import http.client
import json
import socket
from pathlib import Path
from typing import Any


class UnixConnection(http.client.HTTPConnection):
    """``http.client`` over a unix socket."""

    def __init__(self, path: Path | str, timeout: float = 30) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = str(path)

    def connect(self) -> None:
        """Connect to the socket's path. Raises OSError."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.sock.settimeout(self.timeout)
            self.sock.connect(self._path)
        except OSError:
            self.sock.close()
            raise


@dataclasses.dataclass(frozen=True, slots=True)
class Response:
    """One answer of the API."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON; None when it is empty."""
        return json.loads(self.body) if self.body else None

    def check(self) -> Response:
        """This response, or an AssertionError that shows the engine's message."""
        assert self.status < 400, f"HTTP {self.status}: {self.body.decode(errors='replace')}"
        return self


def request(
    path: Path | str,
    method: str,
    target: str,
    body: Any = None,
    *,
    headers: dict[str, str] | None = None,
    timeout: float = 30,
) -> Response:
    """One request over a connection of its own; a body that is not bytes is sent as JSON."""
    content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    fields = {"Content-Type": "application/json", **(headers or {})} if content is not None else headers or {}
    connection = UnixConnection(path, timeout)
    try:
        connection.request(method, target, content, fields)
        answer = connection.getresponse()
        named = {name.lower(): value for name, value in answer.getheaders()}
        return Response(answer.status, named, answer.read())
    finally:
        connection.close()
