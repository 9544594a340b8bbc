"""The pulling half of the OCI distribution protocol, for one repository."""

from __future__ import annotations

import dataclasses
import re
import urllib.parse
from collections.abc import Callable
from typing import Protocol

from urllib3.exceptions import HTTPError

from corten.errors import AccessDenied, CortenError, DataCorrupt, NotFound
from corten.registry.credentials import Credentials
from corten.registry.session import Session
from corten.registry.transport import Response, Wait, closing
from corten.spec import digest as digests
from corten.spec.descriptor import INDEXES, MANIFESTS, MAX_MANIFEST, Descriptor
from corten.spec.digest import Digest
from corten.spec.document import Document
from corten.spec.reference import Reference

_ACCEPT = ", ".join((*INDEXES, *MANIFESTS))
_CHUNK = 1 << 17
_MAX_ERROR = 1 << 16
_PAGE, _MOST_TAGS = 1000, 100_000
_NEXT = re.compile(r'<([^<>]*)>\s*;\s*rel="?next')
_FRUITLESS = 5
"""Attempts in a row that brought no byte, after which a download is given up."""


class Sink(Protocol):
    """Where a blob goes: the store's writer."""

    @property
    def written(self) -> int:
        """Bytes that it has."""

    def write(self, data: bytes) -> None:
        """Append."""

    def restart(self) -> None:
        """Forget what was written."""


@dataclasses.dataclass(frozen=True, slots=True)
class Fetched:
    """A manifest or index, to the byte, with the digest that names it."""

    content: bytes
    media_type: str
    digest: Digest


class Repository(Session):
    """One repository of a registry. Methods may be called from several threads."""

    def __init__(
        self, reference: Reference, credentials: Credentials | None = None, wait: Wait | None = None,
        mirror: str = "", kind: str = "repository",
    ) -> None:  # fmt: skip
        super().__init__(reference, "pull", credentials, wait, mirror=mirror, kind=kind)

    def manifest(self, identifier: str) -> Fetched:
        """The manifest of a tag or digest, verified. Raises NotFound in Docker's words, DataCorrupt."""
        with closing(self._get(f"manifests/{identifier}", {"Accept": _ACCEPT})) as response:
            if response.status != 200:
                raise self._refusal(response, identifier)
            content = _body(response, MAX_MANIFEST, f"manifest {identifier}")
            media_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
            stated = response.headers.get("Docker-Content-Digest", "")
        found = digests.of(content)
        wanted = digests.parse(identifier) if ":" in identifier else None
        if wanted:
            hashed = digests.hasher(wanted)
            hashed.update(content)
            if not digests.matches(wanted, hashed):
                raise DataCorrupt(f"manifest verification failed for digest {identifier}: its content is {found}")
        elif stated.startswith("sha256:") and stated != found:
            raise DataCorrupt(
                f"manifest {identifier}: the registry calls it {stated}, its content is {found}"
            )
        return Fetched(content, media_type, wanted or found)

    def tags(self) -> list[str]:
        """All tags, of however many pages (OCI distribution-spec, "Content Discovery"). Raises as :meth:`manifest`."""
        found: dict[str, None] = {}
        query = f"n={_PAGE}"
        while query and len(found) < _MOST_TAGS:
            with closing(self._get(f"tags/list?{query}", {})) as response:
                if response.status != 200:
                    raise self._refusal(response, "")
                document = Document.parse(_body(response, MAX_MANIFEST, "list of tags"), "list of tags")
                following = _NEXT.search(response.headers.get("Link", ""))
            found.update(dict.fromkeys(document.texts("tags")))
            # Of the link the query alone: this repository of this registry is asked, and nobody else.
            query = urllib.parse.urlsplit(following[1]).query if following else ""
        return [*found]

    def blob(self, blob: Descriptor, sink: Sink, progress: Callable[[int], None]) -> None:
        """Download a blob; what breaks off is resumed. The sink verifies. Raises NotFound, Unavailable."""
        fruitless = 0
        while sink.written < blob.size or not fruitless:
            before = sink.written
            try:
                self._download(blob, sink, progress)
                return
            except HTTPError as error:
                fruitless = fruitless + 1 if sink.written <= before else 1
                if fruitless == _FRUITLESS:
                    what = f"{self._transport.base}/v2/{self._reference.path}/blobs/{blob.digest}"
                    raise self._transport.unreachable(what, error) from error
                self._transport.pause(fruitless)

    def _download(self, blob: Descriptor, sink: Sink, progress: Callable[[int], None]) -> None:
        headers = {"Range": f"bytes={sink.written}-"} if sink.written else {}
        with closing(self._get(f"blobs/{blob.digest}", headers)) as response:
            resumed = response.status == 206 and _start(response) == sink.written
            if response.status == 416 or (response.status == 206 and not resumed):
                sink.restart()
                raise HTTPError("the registry cannot resume")
            if response.status not in (200, 206):
                raise self._refusal(response, blob.digest)
            if sink.written and not resumed:
                sink.restart()
            while data := response.read(_CHUNK):
                sink.write(data)
                progress(sink.written)

    def _get(self, path: str, headers: dict[str, str]) -> Response:
        """An answer that is not a 401 that could be answered."""
        url = f"{self._transport.base}/v2/{self._reference.path}/{path}"
        sent = self._authorizer.headers
        response = self._transport.request("GET", url, {**headers, **sent})
        if response.status != 401:
            return response
        renewed = self._authorizer.answer(response, sent)
        if not renewed:
            return response
        response.drain_conn()
        return self._transport.request("GET", url, {**headers, **self._authorizer.headers})

    def _refusal(self, response: Response, identifier: str) -> CortenError:
        """What a status that is not success means, in Docker's sentences."""
        name = self._reference.familiar_name
        code, words = registry_error(response)
        if response.status in (401, 403):
            return AccessDenied(
                f"pull access denied for {name}, repository does not exist or may require 'corten login'"
                f": {words or 'denied: requested access to the resource is denied'}",
                hint=f"asked {self._transport.base}",
            )
        if response.status == 404 and code == "NAME_UNKNOWN":
            return NotFound(f"repository {name} not found: {words}", hint=f"asked {self._transport.base}")
        if response.status == 404:
            separator = "@" if ":" in identifier else ":"
            what = "blob" if code == "BLOB_UNKNOWN" else "manifest"
            return NotFound(
                f"{what} for {name}{separator}{identifier} not found: {words or 'manifest unknown'}",
                hint=f"asked {self._transport.base}",
            )
        return CortenError(f"request {self._transport.base}: {response.status} {words}".rstrip())


def _start(response: Response) -> int:
    """Where a partial answer begins (RFC 9110, section 14.4); -1 when it does not say."""
    first = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    return int(first) if first.isdigit() else -1


def _body(response: Response, limit: int, what: str) -> bytes:
    content = b""
    while data := response.read(_CHUNK):
        content += data
        if len(content) > limit:
            raise DataCorrupt(f"{what}: over the limit of {limit} bytes")
    return content


def registry_error(response: Response) -> tuple[str, str]:
    """Code and sentence of a registry's error (OCI distribution-spec, "Error Codes"); '' where it has none."""
    try:
        errors = Document.parse(response.read(_MAX_ERROR), "error").children("errors")
        code, message = errors[0].text("code"), errors[0].text("message")
    except (DataCorrupt, IndexError):
        return "", ""
    return code, f"{code.lower().replace('_', ' ')}: {message}"
