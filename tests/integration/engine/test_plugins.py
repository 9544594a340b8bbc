"""A token server is asked for a plugin as the hub wants it: one without the class opens no repository of plugins."""

from __future__ import annotations

import asyncio
import json
import threading
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from corten.engine import plugins
from tests.support import images as make

_CONFIG = b'{"Network": {"Type": "host"}}'
_MANIFEST = json.dumps({
    "schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json", "layers": [],
    "config": make.descriptor("application/vnd.docker.plugin.v1+json", _CONFIG),
}).encode()  # fmt: skip


class _Hub(ThreadingHTTPServer):
    """A registry, and its token server, whose tokens are the scopes that they were asked for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.host = f"127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: _Hub

    def do_GET(self) -> None:
        target = urllib.parse.urlsplit(self.path)
        if target.path == "/token":
            scope = urllib.parse.parse_qs(target.query)["scope"][0]
            self._answer(200, json.dumps({"token": scope}).encode())
        elif self.headers.get("Authorization") != "Bearer repository(plugin):me/it:pull":
            self._answer(401, b"", challenge=f'Bearer realm="http://{self.server.host}/token",service="here"')
        else:
            self._answer(200, _MANIFEST if "/manifests/" in target.path else _CONFIG)

    def _answer(self, status: int, content: bytes, challenge: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        if challenge:
            self.send_header("WWW-Authenticate", challenge)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[_Hub]:
    made = _Hub()
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.shutdown()
        made.server_close()
        thread.join()


def test_the_scope_has_the_class_of_plugins(hub: _Hub) -> None:
    (asked,) = asyncio.run(plugins.privileges(f"{hub.host}/me/it", None))
    assert (asked.name, asked.value) == ("network", ("host",))
