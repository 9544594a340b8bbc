"""ADD of a URL: downloaded into a spool, and held against its checksum."""

from __future__ import annotations

import asyncio
import email.utils
import hashlib
import os
import posixpath
import threading
import urllib.parse
from typing import TYPE_CHECKING

from corten.build.files import Entry, Tree
from corten.build.ground import Files
from corten.engine.build_files import BuildFiles, FileSpool
from corten.errors import CortenError, DataCorrupt, InvalidInput, Unavailable, Unsupported
from corten.spec import digest as digests

if TYPE_CHECKING:
    import urllib3

_CHUNK = 1 << 18
_MOST = 64 << 30
"""Bytes."""
_PATIENCE = 60.0
"""Seconds without a byte."""
_MODE = 0o600


async def fetched(files: BuildFiles, url: str, checksum: str, *, keep_git_directory: bool) -> tuple[Files, bool]:
    """The file of a URL. Raises Unavailable, DataCorrupt for another checksum, InvalidInput."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or parts.path.endswith(".git") or keep_git_directory:
        raise Unsupported(f"ADD {_shown(url)}: git repositories are not fetched")
    name = posixpath.basename(parts.path)
    if not name:
        raise InvalidInput(f"cannot determine filename for source {_shown(url)}")
    wanted = digests.parse(checksum) if checksum else None
    spool, cancelled = files.spool(), threading.Event()
    try:
        entry = await asyncio.to_thread(_download, url, spool, wanted, cancelled)
    finally:
        cancelled.set()
    return Files(Tree({name: entry}), spool), False


def _download(url: str, spool: FileSpool, wanted: digests.Digest | None, cancelled: threading.Event) -> Entry:
    import urllib3

    timeout = urllib3.Timeout(connect=_PATIENCE, read=_PATIENCE)
    try:
        with urllib3.PoolManager(timeout=timeout, retries=urllib3.Retry(3, redirect=10)) as pool:
            response = pool.request("GET", url, preload_content=False)
            try:
                return _received(url, response, spool, wanted, cancelled)
            finally:
                response.close()
    except urllib3.exceptions.HTTPError as error:
        raise Unavailable(f"ADD {_shown(url)}: {error}") from None


def _received(
    url: str, response: urllib3.BaseHTTPResponse, spool: FileSpool, wanted: digests.Digest | None,
    cancelled: threading.Event,
) -> Entry:  # fmt: skip
    if response.status != 200:
        raise Unavailable(f"ADD {_shown(url)}: the server answers {response.status}")
    hashed, size = hashlib.sha256(), 0
    checked = digests.hasher(wanted) if wanted else hashlib.sha256()
    for chunk in response.stream(_CHUNK, decode_content=False):
        if cancelled.is_set():
            raise CortenError(f"ADD {_shown(url)}: given up")
        os.pwrite(spool.descriptor, chunk, size)
        hashed.update(chunk)
        checked.update(chunk)
        size += len(chunk)
        if size > _MOST:
            raise InvalidInput(f"ADD {_shown(url)}: it has more than {_MOST} bytes")
    if wanted and not digests.matches(wanted, checked):
        raise DataCorrupt(
            f"ADD {_shown(url)}: digest mismatch {checked.name}:{checked.hexdigest()}: {wanted}",
            hint="the server has another file now, or the checksum is of another one",
        )
    spool.end = size
    return Entry("file", _MODE, 0, 0, _modified(response.headers.get("Last-Modified")), size, 0, hashed.hexdigest())


def _modified(header: str | None) -> int:
    """Nanoseconds since the epoch, of a Last-Modified."""
    try:
        return int(email.utils.parsedate_to_datetime(header or "").timestamp()) * 10**9
    except ValueError:
        return 0


def _shown(url: str) -> str:
    """The URL without what may be secret in it."""
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
