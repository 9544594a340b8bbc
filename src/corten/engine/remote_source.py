"""What an import reads from the web."""

from __future__ import annotations

import asyncio
import urllib.parse
from collections.abc import AsyncIterator

from urllib3.exceptions import HTTPError

from corten.errors import CortenError, InvalidInput
from corten.registry.transport import Transport, closing

_CHUNK = 1 << 18


async def chunks(url: str) -> AsyncIterator[bytes]:
    """The content at a URL, http or https. Raises InvalidInput, Unavailable, CortenError."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise InvalidInput(f"import {url}: it is no URL of http or https")
    transport = Transport(parts.netloc)
    try:
        with closing(await asyncio.to_thread(transport.request, "GET", url, {})) as response:
            if response.status != 200:
                raise CortenError(f"import {url}: the server answers {response.status}")
            while data := await asyncio.to_thread(response.read, _CHUNK):
                yield data
    except HTTPError as error:
        raise transport.unreachable(url, error) from error
    finally:
        transport.close()
