"""HTTP of the registry: one connection, in a thread of its own."""

from __future__ import annotations

import json
import os
import re
import urllib.parse
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler
from typing import IO, TYPE_CHECKING, Any

from corten import __version__
from corten.errors import CortenError, InvalidInput
from corten.hub.errors import Refusal, denied
from corten.hub.registry import page
from corten.spec import digest as digests
from corten.spec.descriptor import MAX_MANIFEST
from corten.spec.digest import Digest

if TYPE_CHECKING:
    from corten.hub.server import Server

_CHUNK = 1 << 18
_LONGEST_LINE = 1 << 12
_LONGEST_NAME = 255
_NAME = r"(?P<name>[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*)"
_ROUTES = tuple(
    (re.compile(rf"/v2/{pattern}", re.ASCII), noun)
    for pattern, noun in (
        ("", "root"),
        ("_catalog", "catalog"),
        (rf"{_NAME}/tags/list", "tags"),
        (rf"{_NAME}/manifests/(?P<what>[^/]+)", "manifest"),
        (rf"{_NAME}/referrers/(?P<what>[^/]+)", "referrers"),
        (rf"{_NAME}/blobs/uploads/?", "uploads"),
        (rf"{_NAME}/blobs/uploads/(?P<what>[^/]+)", "upload"),
        (rf"{_NAME}/blobs/(?P<what>[^/]+)", "blob"),
    )
)
_ACTIONS = {"GET": "pull", "HEAD": "pull", "DELETE": "delete"}
_RANGE = re.compile(r"bytes=(\d*)-(\d*)", re.ASCII)
_CONTENT_RANGE = re.compile(r"(?:bytes )?(\d+)-(\d+)(?:/.*)?", re.ASCII)
Headers = Mapping[str, str]


class Handler(BaseHTTPRequestHandler):
    """Of one server, whose ``registry``, ``door`` and permissions it asks."""

    server: Server
    protocol_version = "HTTP/1.1"
    timeout = 60
    server_version = f"corten/{__version__}"
    sys_version = ""

    def do_GET(self) -> None:
        """All methods are one: the way is in the path."""
        self._body_left = self._has_body()
        try:
            self._answer()
        except Refusal as refusal:
            self._send(refusal.status, {"Content-Type": "application/json", **refusal.headers}, refusal.body())
        except CortenError as error:
            self._send(500, {"Content-Type": "text/plain"}, error.message.encode())
        except (ConnectionError, TimeoutError):
            self.close_connection = True
        except OSError as error:
            self.server.note(f"{self.command} {self.path[:200]}: {error}")
            self._send(500, {"Content-Type": "text/plain"}, b"the registry cannot use its files")
        if self._body_left:  # what was not read would be taken for the next request
            self.close_connection = True

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged."""

    def handle_expect_100(self) -> bool:
        """Who waits for the word to send a body gets it when the body is read, and not before a refusal."""
        return True

    # --- the way of a request

    def _answer(self) -> None:
        split = urllib.parse.urlsplit(self.path)
        self._query = urllib.parse.parse_qs(split.query)
        path = urllib.parse.unquote(split.path)
        shown = self.headers.get("Authorization", "")
        if path == "/token" and self.server.door.has_tokens:
            body = self.server.door.token(shown, self._query.get("scope", []), self.server.allowed)
            self._send(200, {"Content-Type": "application/json"}, body)
            return
        if path == "/v2":
            path = "/v2/"
        for pattern, noun in _ROUTES:
            if matched := pattern.fullmatch(path):
                parts = matched.groupdict()
                name, what = parts.get("name", ""), parts.get("what", "")
                if len(name) > _LONGEST_NAME:
                    break
                action = _ACTIONS.get(self.command, "push") if name else "*"
                self.server.door.enter(shown, name, action, self._base())
                self._allow(action)
                getattr(self, f"_{noun}")(name, what)
                return
        raise Refusal(404, "NAME_UNKNOWN", "there is nothing of this name")

    def _base(self) -> str:
        """The address that the client knows this registry by."""
        return f"{'https' if self.server.is_secure else 'http'}://{self.headers.get('Host', '')}"

    def _allow(self, action: str) -> None:
        if action != "*" and action not in self.server.allowed:
            raise denied(f"this registry was not started with --allow-{action}")

    def _only(self, *methods: str) -> None:
        if self.command not in methods:
            raise Refusal(405, "UNSUPPORTED", f"{self.command} is not possible here", {"Allow": ", ".join(methods)})

    def _one(self, name: str) -> str:
        return self._query.get(name, [""])[-1]

    # --- nouns

    def _root(self, name: str, what: str) -> None:
        self._only("GET", "HEAD")
        self._send(200, {"Content-Type": "application/json"}, b"{}")

    def _catalog(self, name: str, what: str) -> None:
        self._only("GET", "HEAD")
        self._page("/v2/_catalog", "repositories", self.server.registry.repositories(), {})

    def _tags(self, name: str, what: str) -> None:
        self._only("GET", "HEAD")
        self._page(f"/v2/{name}/tags/list", "tags", self.server.registry.tags(name), {"name": name})

    def _page(self, path: str, member: str, names: list[str], rest: Mapping[str, str]) -> None:
        count = self._one("n")
        shown, link = page(
            names, count, self._one("last"),
            lambda last: f'<{path}?{urllib.parse.urlencode({"n": count, "last": last})}>; rel="next"',
        )  # fmt: skip
        headers = {"Content-Type": "application/json", **({"Link": link} if link else {})}
        self._send(200, headers, json.dumps({**rest, member: shown}).encode())

    def _manifest(self, name: str, what: str) -> None:
        registry = self.server.registry
        if self.command == "DELETE":
            registry.delete(name, what)
            self._send(202, {}, b"")
        elif self.command == "PUT":
            media_type = self.headers.get("Content-Type", "").partition(";")[0].strip()
            put = registry.put(name, what, media_type, self._whole_body(MAX_MANIFEST))
            if put.told:
                self.server.note(f"{name}:{what} is kept by the registry alone: {put.told}")
            headers = {"Location": f"/v2/{name}/manifests/{put.digest}", "Docker-Content-Digest": put.digest}
            self._send(201, {**headers, **({"OCI-Subject": put.subject} if put.subject else {})}, b"")
        else:
            self._only("GET", "HEAD")
            found = registry.manifest(name, what)
            headers = {"Content-Type": found.media_type, "Docker-Content-Digest": found.digest,
                       "ETag": f'"{found.digest}"'}  # fmt: skip
            self._send(200, headers, found.content)

    def _referrers(self, name: str, what: str) -> None:
        self._only("GET", "HEAD")
        kind = self._one("artifactType")
        headers = {"Content-Type": "application/vnd.oci.image.index.v1+json"}
        if kind:
            headers["OCI-Filters-Applied"] = "artifactType"
        self._send(200, headers, self.server.registry.referrers(name, _digest(what), kind))

    def _blob(self, name: str, what: str) -> None:
        registry, digest = self.server.registry, _digest(what)
        if self.command == "DELETE":
            registry.delete_blob(digest)
            self._send(202, {}, b"")
            return
        self._only("GET", "HEAD")
        try:
            file = open(registry.blob(digest), "rb")  # noqa: SIM115  the next line
        except FileNotFoundError:
            raise Refusal(404, "BLOB_UNKNOWN", f"blob {digest} is not known here") from None
        with file:
            self._send_file(file, digest)

    def _send_file(self, file: IO[bytes], digest: Digest) -> None:
        size = os.fstat(file.fileno()).st_size
        headers = {"Content-Type": "application/octet-stream", "Docker-Content-Digest": digest,
                   "Accept-Ranges": "bytes", "ETag": f'"{digest}"'}  # fmt: skip
        start, end = 0, size
        status = 200
        if asked := self.headers.get("Range"):
            start, end = _range(asked, size)
            status = 206
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        self._head(status, {**headers, "Content-Length": str(end - start)})
        if self.command == "GET" and end > start:
            # sendfile(2), unless there is TLS in between.
            self.connection.sendfile(file, start, end - start)

    # --- uploads

    def _uploads(self, name: str, what: str) -> None:
        self._only("POST")
        storage = self.server.registry.storage
        if mounted := self._one("mount"):
            digest = _digest(mounted)
            if self.server.registry.has_blob(digest):
                self._created(name, digest)
                return
        id = storage.begin()
        if self._one("digest"):
            self._append(id)
            storage.finish(id, _digest(self._one("digest")))
            self._created(name, _digest(self._one("digest")))
            return
        self._went(202, name, id)

    def _upload(self, name: str, what: str) -> None:
        storage = self.server.registry.storage
        if self.command == "DELETE":
            storage.cancel(what)
            self._send(204, {}, b"")
        elif self.command == "GET":
            self._went(204, name, what)
        elif self.command == "PATCH":
            self._append(what)
            self._went(202, name, what)
        else:
            self._only("PUT", "PATCH", "GET", "DELETE")
            storage.upload(what)
            digest = _digest(self._one("digest"))
            self._append(what)
            storage.finish(what, digest)
            self._created(name, digest)

    def _append(self, id: str) -> None:
        with self.server.registry.storage.appending(id) as file:
            if told := self.headers.get("Content-Range"):
                matched = _CONTENT_RANGE.fullmatch(told.strip())
                if not matched or int(matched[1]) != file.tell():
                    raise Refusal(416, "BLOB_UPLOAD_INVALID", f"the upload goes on at byte {file.tell()}")
            for chunk in self._body():
                file.write(chunk)

    def _went(self, status: int, name: str, id: str) -> None:
        size = self.server.registry.storage.upload(id).stat().st_size
        headers = {"Location": f"/v2/{name}/blobs/uploads/{id}", "Range": f"0-{max(0, size - 1)}",
                   "Docker-Upload-UUID": id}  # fmt: skip
        self._send(status, headers, b"")

    def _created(self, name: str, digest: Digest) -> None:
        self._send(201, {"Location": f"/v2/{name}/blobs/{digest}", "Docker-Content-Digest": digest}, b"")

    # --- bytes

    def _has_body(self) -> bool:
        return self.headers.get("Content-Length", "0").strip() not in ("0", "") or "Transfer-Encoding" in self.headers

    def _whole_body(self, most: int) -> bytes:
        content = b""
        for chunk in self._body():
            content += chunk
            if len(content) > most:
                raise Refusal(413, "SIZE_INVALID", f"more than {most} bytes")
        return content

    def _body(self) -> Iterator[bytes]:
        """The request's body, as it comes. Raises Refusal, ConnectionError where it ends too early."""
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.send_response_only(100)
            self.end_headers()
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while size := self._chunk_size():
                yield from self._exactly(size)
                self.rfile.readline(_LONGEST_LINE)
            while self.rfile.readline(_LONGEST_LINE).strip():
                pass
        else:
            length = self.headers.get("Content-Length", "0")
            if not length.isdigit() or "Transfer-Encoding" in self.headers:
                raise Refusal(400, "SIZE_INVALID", "the length of the body is not told")
            yield from self._exactly(int(length))
        self._body_left = False

    def _chunk_size(self) -> int:
        line = self.rfile.readline(_LONGEST_LINE).partition(b";")[0].strip()
        try:
            return int(line, 16)
        except ValueError:
            raise Refusal(400, "SIZE_INVALID", "a chunk without its size") from None

    def _exactly(self, size: int) -> Iterator[bytes]:
        while size:
            chunk = self.rfile.read1(min(size, _CHUNK))
            if not chunk:
                raise ConnectionResetError("the body ends too early")
            size -= len(chunk)
            yield chunk

    def _send(self, status: int, headers: Headers, body: bytes) -> None:
        length = {} if status == 204 else {"Content-Length": str(len(body))}
        self._head(status, {**headers, **length})
        if self.command != "HEAD":
            self.wfile.write(body)

    def _head(self, status: int, headers: Headers) -> None:
        self.send_response(status)
        self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        for name, value in headers.items():
            self.send_header(name, value)
        if self._body_left:
            self.send_header("Connection", "close")
        self.end_headers()


def _digest(text: str) -> Digest:
    try:
        return digests.parse(text)
    except InvalidInput as error:
        raise Refusal(400, "DIGEST_INVALID", error.message) from None


def _range(asked: str, size: int) -> tuple[int, int]:
    """First byte, and the one after the last (RFC 9110, 14.1.2; one range only). Raises Refusal."""
    matched = _RANGE.fullmatch(asked.replace(" ", ""))
    unsatisfied = Refusal(416, "SIZE_INVALID", "there is no such range", {"Content-Range": f"bytes */{size}"})
    if not matched or not (matched[1] or matched[2]):
        raise unsatisfied
    if not matched[1]:
        start, end = max(0, size - int(matched[2])), size
    else:
        start = int(matched[1])
        end = min(int(matched[2]) + 1, size) if matched[2] else size
    if start >= size or end <= start:
        raise unsatisfied
    return start, end
