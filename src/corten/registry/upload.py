"""The pushing half of the OCI distribution protocol, for one repository."""

from __future__ import annotations

import http.client
import io
import urllib.parse
from collections.abc import Callable, Collection, Sequence
from typing import IO

from urllib3.exceptions import HTTPError

from corten.errors import AccessDenied, CortenError, Unavailable
from corten.registry.auth import Authorizer
from corten.registry.client import registry_error
from corten.registry.credentials import Credentials
from corten.registry.session import Session
from corten.registry.transport import Response, Transport, Wait, closing
from corten.spec.descriptor import Descriptor
from corten.spec.reference import Reference

_ATTEMPTS = 5
"""In a row that brought the upload no further."""
_STEP = 1 << 16
_TRANSIENT = (401, 408, 416, 429, 500, 502, 503, 504)


class Uploads(Session):
    """One repository of a registry, to push to; ``sources`` are others there that blobs may be mounted from. Methods
    may be called from several threads."""

    def __init__(
        self, reference: Reference, credentials: Credentials | None = None, wait: Wait | None = None,
        sources: Collection[str] = (),
    ) -> None:  # fmt: skip
        super().__init__(reference, "pull,push", credentials, wait, sources)

    def has(self, blob: Descriptor) -> bool:
        """Whether the registry has a blob. Raises AccessDenied, Unavailable."""
        return self._has(f"blobs/{blob.digest}", {})

    def has_manifest(self, manifest: Descriptor) -> bool:
        """Whether the repository has a manifest. Raises AccessDenied, Unavailable."""
        return self._has(f"manifests/{manifest.digest}", {"Accept": manifest.media_type})

    def _has(self, path: str, headers: dict[str, str]) -> bool:
        with closing(self._send("HEAD", self._url(path), headers)) as response:
            if response.status in (401, 403):
                raise self._refusal(response)
            return response.status == 200

    def blob(
        self, blob: Descriptor, opened: Callable[[], IO[bytes]], progress: Callable[[int], None],
        sources: Sequence[str] = (),
    ) -> str:  # fmt: skip
        """Bring a blob there: mounted from a repository that has it, whose name is returned, or uploaded (''). What
        breaks off goes on where the registry says. Raises AccessDenied, Unavailable, CortenError."""
        place = ""
        for source in sources:
            place = self._begin(blob, source)
            if not place:
                return source
        self._upload(blob, place or self._begin(blob), opened, progress)
        return ""

    def mount(self, blob: Descriptor, source: str) -> bool:
        """Whether the registry takes a blob over from another of its repositories. Raises AccessDenied,
        Unavailable."""
        return not self._begin(blob, source)

    def _begin(self, blob: Descriptor, source: str = "") -> str:
        """Where a new upload goes on; '' when the blob was mounted from ``source`` instead."""
        query = urllib.parse.urlencode({"mount": blob.digest, "from": source}) if source else ""
        url = self._url("blobs/uploads/")
        with closing(self._send("POST", f"{url}?{query}" if query else url)) as response:
            if source and response.status == 201:
                return ""
            if response.status != 202:
                raise self._refusal(response)
            return _place(url, response)

    def _upload(
        self, blob: Descriptor, place: str, opened: Callable[[], IO[bytes]], progress: Callable[[int], None]
    ) -> None:
        start = fruitless = 0
        while True:
            try:
                if start < blob.size or not start:
                    place = self._send_rest(blob, place, opened, start, progress)
                    start = blob.size
                self._finish(blob, place)
                return
            except HTTPError as error:
                went = self._look(place)
                fruitless = 1 if went and went[1] > start else fruitless + 1
                if fruitless == _ATTEMPTS:
                    raise self._transport.unreachable(self._url(f"blobs/{blob.digest}"), error) from error
                self._transport.pause(fruitless)
                place, start = went or (self._begin(blob), 0)

    def _send_rest(
        self, blob: Descriptor, place: str, opened: Callable[[], IO[bytes]], start: int, progress: Callable[[int], None]
    ) -> str:
        """The blob from a byte on (OCI distribution-spec, "Pushing a blob in chunks"); where the upload goes on."""
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(blob.size - start)}
        if start:
            headers["Content-Range"] = f"{start}-{blob.size - 1}"
        with opened() as file:
            file.seek(start)
            told = _Told(file, progress, start)
            with closing(self._transport.once("PATCH", place, {**headers, **self._shown(place)}, told)) as response:
                self._check(response, 202)
                return _place(place, response)

    def _finish(self, blob: Descriptor, place: str) -> None:
        separator = "&" if urllib.parse.urlsplit(place).query else "?"
        url = f"{place}{separator}digest={urllib.parse.quote(blob.digest)}"
        headers = {"Content-Length": "0", **self._shown(place)}
        with closing(self._transport.once("PUT", url, headers, io.BytesIO())) as response:
            self._check(response, 201)

    def _check(self, response: Response, expected: int) -> None:
        """Raises HTTPError for what may pass, else what the answer means."""
        if response.status == expected:
            return
        if response.status == 401 and not self._authorizer.answer(response, self._authorizer.headers):
            raise self._refusal(response)
        if response.status in _TRANSIENT:
            raise HTTPError(f"the registry answers {response.status}")
        raise self._refusal(response)

    def _look(self, place: str) -> tuple[str, int] | None:
        """Where an upload that broke off goes on, and at which byte; None when the registry has nothing of it."""
        try:
            with closing(self._transport.request("GET", place, self._shown(place))) as response:
                last = response.headers.get("Range", "").removeprefix("bytes=").partition("-")[2]
                if response.status != 204 or not last.isdigit():
                    return None
                # An upload without a byte says 0-0, as does one of a single byte: that one begins anew.
                return (_place(place, response), int(last) + 1) if int(last) else None
        except Unavailable:
            return None

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
        if self._authorizer.lacks(response):
            words = "no basic auth credentials"
        if response.status in (401, 403):
            return AccessDenied(
                f"push access denied for {name}, repository does not exist or may require authorization"
                f": {words or 'denied: requested access to the resource is denied'}",
                hint=f"corten login {self._transport.host}",
            )
        return CortenError(f"push {name}: the registry answers {response.status} {words}".rstrip())


def _place(url: str, response: Response) -> str:
    """Where an upload goes on."""
    return urllib.parse.urljoin(url, response.headers.get("Location", ""))


class _Told:
    """A file whose reader's progress is told; ``done`` bytes of it were read before."""

    def __init__(self, file: IO[bytes], progress: Callable[[int], None], done: int = 0) -> None:
        self._file, self._progress, self._done = file, progress, done

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
