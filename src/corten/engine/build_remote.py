"""Sources of ADD, and contexts, that are elsewhere: downloaded into a spool, and held against their checksums."""

from __future__ import annotations

import asyncio
import dataclasses
import email.utils
import hashlib
import logging
import os
import threading
import urllib.parse
from typing import TYPE_CHECKING

import msgspec

from corten.build import remote
from corten.build.files import Entry, Tree
from corten.build.ground import Files
from corten.build.remote import GitSource
from corten.engine.build_client import BuildClient
from corten.engine.build_files import BuildFiles, FileSpool
from corten.errors import CortenError, DataCorrupt, InvalidInput, Unavailable
from corten.spec import digest as digests

if TYPE_CHECKING:
    import urllib3

_CHUNK = 1 << 18
_MOST = 64 << 30
"""Bytes."""
_PATIENCE = 60.0
"""Seconds without a byte."""
_MODE = 0o600


async def fetched(
    files: BuildFiles, url: str, checksum: str, *, keep_git_directory: bool | None, client: BuildClient | None = None
) -> tuple[Files, bool]:
    """What a source of ADD names: a file, or the files of a repository (True). Raises Unavailable, NotFound,
    InvalidInput, DataCorrupt for another checksum."""
    source = remote.of(url)
    if isinstance(source, GitSource):
        from corten.engine.build_git import fetched as repository

        return await repository(files, remote.with_flags(source, checksum, keep_git_directory), client), True
    assert source is not None
    if source.name == remote.UNNAMED:
        raise InvalidInput(f"cannot determine filename for source {_shown(url)}")
    entry, spool = await _downloaded(files, url, checksum)
    return Files(Tree({source.name: entry}), spool), False


async def context(
    files: BuildFiles, url: str, dockerfile: str, client: BuildClient | None = None, *, keep_git_directory: bool = False
) -> Files:
    """A context that is elsewhere: a repository, an archive, or a Dockerfile, which gets the name that is asked for.
    Raises as :func:`fetched`."""
    source = remote.of_context(url)
    if source is None:
        raise InvalidInput(f"build {_shown(url)}: it is no repository, and no file behind http or https")
    if isinstance(source, GitSource):
        from corten.engine.build_git import fetched as repository

        kept = source.keep_git_dir if source.keep_git_dir is not None else keep_git_directory
        return await repository(files, dataclasses.replace(source, keep_git_dir=kept), client)
    entry, spool = await _downloaded(files, url, "")
    one = Files(Tree({"file": entry}), spool)
    inner = await files.unpacked(one, "file")
    return inner or Files(Tree({dockerfile or "Dockerfile": msgspec.structs.replace(entry, mode=0o644)}), spool)


async def _downloaded(files: BuildFiles, url: str, checksum: str) -> tuple[Entry, FileSpool]:
    wanted = digests.parse(checksum) if checksum else None
    spool, cancelled = files.spool(), threading.Event()
    try:
        return await asyncio.to_thread(_download, url, spool, wanted, cancelled), spool
    finally:
        cancelled.set()


def _download(url: str, spool: FileSpool, wanted: digests.Digest | None, cancelled: threading.Event) -> Entry:
    import urllib3

    logging.getLogger("urllib3").setLevel(logging.ERROR)  # its lines have whole URLs in them
    timeout = urllib3.Timeout(connect=_PATIENCE, read=_PATIENCE)
    try:
        retries = urllib3.Retry(connect=0, read=0, status=0, other=0, redirect=10)
        with urllib3.PoolManager(timeout=timeout, retries=retries) as pool:
            response = pool.request("GET", url, preload_content=False, headers=_authorization(url))
            try:
                return _received(url, response, spool, wanted, cancelled)
            finally:
                response.close()
    except urllib3.exceptions.HTTPError as error:
        # Its own text has the whole URL in it.
        raise Unavailable(f"fetch {_shown(url)}: {getattr(error, 'reason', None) or type(error).__name__}") from None


def _authorization(url: str) -> dict[str, str]:
    """What the URL itself gives; urllib3 sends it to no other host that a redirect leads to."""
    import urllib3

    parts = urllib.parse.urlsplit(url)
    if parts.username is None:
        return {}
    user, password = urllib.parse.unquote(parts.username), urllib.parse.unquote(parts.password or "")
    return dict(urllib3.make_headers(basic_auth=f"{user}:{password}"))


def _received(
    url: str, response: urllib3.BaseHTTPResponse, spool: FileSpool, wanted: digests.Digest | None,
    cancelled: threading.Event,
) -> Entry:  # fmt: skip
    if response.status != 200:
        raise Unavailable(f"fetch {_shown(url)}: the server answers {response.status}")
    hashed, size = hashlib.sha256(), 0
    checked = digests.hasher(wanted) if wanted else hashlib.sha256()
    for chunk in response.stream(_CHUNK, decode_content=False):
        if cancelled.is_set():
            raise CortenError(f"fetch {_shown(url)}: given up")
        os.pwrite(spool.descriptor, chunk, size)
        hashed.update(chunk)
        checked.update(chunk)
        size += len(chunk)
        if size > _MOST:
            raise InvalidInput(f"fetch {_shown(url)}: it has more than {_MOST} bytes")
    if wanted and not digests.matches(wanted, checked):
        raise DataCorrupt(
            f"fetch {_shown(url)}: digest mismatch {checked.name}:{checked.hexdigest()}: {wanted}",
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
