"""An upload that a registry wants at another host goes there without the credentials that the registry was shown."""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from corten.registry.credentials import Credentials
from corten.registry.upload import Uploads
from corten.spec import reference as references
from corten.spec.descriptor import OCI_LAYER, Descriptor
from corten.spec.digest import Digest
from tests.support import images as make

CONTENT = b"a layer" * 1000


class Place(ThreadingHTTPServer):
    """A registry that has no blobs, wants a password if it is told to, and sends uploads to ``uploads``."""

    daemon_threads = True

    def __init__(self, *, guarded: bool, uploads: str = "") -> None:
        self.guarded, self.uploads = guarded, uploads
        self.seen: list[tuple[str, str]] = []
        """Methods, with what each was shown."""
        self.taken = b""
        super().__init__(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Place

    def _serve(self) -> None:
        place, shown = self.server, self.headers.get("Authorization", "")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        place.seen.append((self.command, shown))
        if place.guarded and not shown:
            self._answer(401, **{"WWW-Authenticate": 'Basic realm="here"'})
        elif self.command == "POST":
            self._answer(202, Location=f"http://{place.uploads}/upload")
        elif self.command == "PATCH":
            place.taken += body
            self._answer(202, Location=f"http://{place.host}/upload?next")
        else:
            self._answer({"PUT": 201, "HEAD": 404}.get(self.command, 200))

    do_GET = do_HEAD = do_POST = do_PATCH = do_PUT = _serve

    def _answer(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": "0"}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextlib.contextmanager
def listening(place: Place) -> Iterator[Place]:
    thread = threading.Thread(target=place.serve_forever, daemon=True)
    thread.start()
    try:
        yield place
    finally:
        place.shutdown()
        place.server_close()
        thread.join()


def test_credentials_are_for_the_registry_alone() -> None:
    blob = Descriptor(OCI_LAYER, Digest(make.digest(CONTENT)), len(CONTENT))
    with listening(Place(guarded=False)) as other, listening(Place(guarded=True, uploads=other.host)) as own:
        with Uploads(references.parse(f"{own.host}/guarded"), Credentials("me", "secret")) as uploads:
            uploads.ping()
            uploads.blob(blob, lambda: io.BytesIO(CONTENT), lambda _: None)
    assert other.taken == CONTENT
    assert other.seen == [("PATCH", ""), ("PUT", "")]
    assert [shown.partition(" ")[0] for method, shown in own.seen if method == "POST"] == ["Basic"]
