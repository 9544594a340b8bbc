"""The pushing half of the OCI distribution protocol, for one repository."""

from __future__ import annotations

import http.client
import urllib.parse
from collections.abc import Callable
from typing import IO

from urllib3.exceptions import HTTPError

from corten.errors import AccessDenied, CortenError
from corten.registry.auth import Authorizer
from corten.registry.client import registry_error
from corten.registry.credentials import Credentials
from corten.registry.session import Session
from corten.registry.transport import Response, Transport, Wait, closing
from corten.spec.descriptor import Descriptor
from corten.spec.reference import Reference

_ATTEMPTS = 5
_STEP = 1 << 16


class Uploads(Session):
    """One repository of a registry, to push to. Methods may be called from several threads."""

    def __init__(
        self, reference: Reference, credentials: Credentials | None = None, wait: Wait | None = None
    ) -> None:
        super().__init__(reference, "pull,push", credentials, wait)

    def has(self, blob: Descriptor) -> bool:
        """Whether the registry has a blob. Raises AccessDenied, Unavailable."""
        with closing(self._send("HEAD", self._url(f"blobs/{blob.digest}"))) as response:
            if response.status in (401, 403):
                raise self._refusal(response)
            return response.status == 200

    def blob(self, blob: Descriptor, opened: Callable[[], IO[bytes]], progress: Callable[[int], None]) -> None:
        """Upload a blob; what breaks off begins anew. Raises AccessDenied, Unavailable, CortenError."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._upload(blob, opened, progress)
                return
            except HTTPError as error:
                if attempt == _ATTEMPTS:
                    raise self._transport.unreachable(self._url(f"blobs/{blob.digest}"), error) from error
                self._transport.pause(attempt)

    def _upload(self, blob: Descriptor, opened: Callable[[], IO[bytes]], progress: Callable[[int], None]) -> None:
        url = self._url("blobs/uploads/")
        with closing(self._send("POST", url)) as response:
            if response.status != 202:
                raise self._refusal(response)
            place = urllib.parse.urljoin(url, response.headers.get("Location", ""))
        separator = "&" if urllib.parse.urlsplit(place).query else "?"
        place += f"{separator}digest={urllib.parse.quote(blob.digest)}"
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(blob.size), **self._shown(place)}
        with opened() as file, closing(self._transport.once("PUT", place, headers, _Told(file, progress))) as response:
            if response.status != 201:
                raise self._refusal(response)

    def manifest(self, identifier: str, content: bytes, media_type: str) -> None:
        """Give a manifest, whose blobs are there, its name. Raises AccessDenied, Unavailable, CortenError."""
        headers = {"Content-Type": media_type}
        with closing(self._send("PUT", self._url(f"manifests/{identifier}"), headers, content)) as response:
            if response.status != 201:
                raise self._refusal(response)

    def _url(self, path: str) -> str:
        return f"{self._transport.base}/v2/{self._reference.path}/{path}"

    def _shown(self, url: str) -> dict[str, str]:
        """Credentials are for the registry alone: an upload may be sent elsewhere."""
        own, other = urllib.parse.urlsplit(self._transport.base), urllib.parse.urlsplit(url)
        same = (own.scheme, own.netloc) == (other.scheme, other.netloc)
        return self._authorizer.headers if same else {}

    def _send(
        self, method: str, url: str, headers: dict[str, str] | None = None, body: bytes | None = None
    ) -> Response:
        """An answer that is not a 401 that could be answered."""
        sent = self._authorizer.headers
        response = self._transport.request(method, url, {**(headers or {}), **sent}, body)
        if response.status != 401 or not self._authorizer.answer(response, sent):
            return response
        response.drain_conn()
        return self._transport.request(method, url, {**(headers or {}), **self._authorizer.headers}, body)

    def _refusal(self, response: Response) -> CortenError:
        name = self._reference.familiar_name
        _, words = registry_error(response)
        if response.status in (401, 403):
            return AccessDenied(
                f"push access denied for {name}, repository does not exist or may require authorization"
                f": {words or 'denied: requested access to the resource is denied'}",
                hint=f"corten login {self._transport.host}",
            )
        return CortenError(f"push {name}: the registry answers {response.status} {words}".rstrip())


class _Told:
    """A file whose reader's progress is told."""

    def __init__(self, file: IO[bytes], progress: Callable[[int], None]) -> None:
        self._file, self._progress, self._done = file, progress, 0

    def read(self, size: int = _STEP) -> bytes:
        """As a file's."""
        data = self._file.read(size)
        self._done += len(data)
        self._progress(self._done)
        return data


def check_login(host: str, credentials: Credentials, wait: Wait | None = None) -> None:
    """Whether a registry takes credentials. Raises AccessDenied, Unavailable."""
    transport = Transport(host, wait)
    try:
        authorizer = Authorizer(transport, "", credentials)
        with closing(transport.probe()) as response:
            if response.status == 200:
                return
            authorizer.answer(response, authorizer.headers)
        with closing(transport.request("GET", f"{transport.base}/v2/", authorizer.headers)) as response:
            if response.status != 200:
                status = f"{response.status} {http.client.responses.get(response.status, '')}".strip()
                raise AccessDenied(f"login attempt to {transport.base}/v2/ failed with status: {status}")
    finally:
        transport.close()
