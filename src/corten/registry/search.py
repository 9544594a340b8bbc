"""Searching a hub: the one request of Docker's first registry protocol that is still answered."""

from __future__ import annotations

import dataclasses
import urllib.parse
from collections.abc import Sequence

from corten.errors import CortenError, Unavailable
from corten.registry.transport import Response, Transport, Wait, closing
from corten.spec.document import Document

_HUB = "index.docker.io"
_MAX_ANSWER = 4 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class Hit:
    """A repository that was found."""

    name: str
    description: str
    stars: int
    official: bool


def search(term: str, limit: int, wait: Wait | None = None) -> Sequence[Hit]:
    """Repositories for a term, ``registry.example/term`` for another hub. Raises Unavailable, CortenError."""
    host, slash, rest = term.partition("/")
    host, term = (host, rest) if slash and set(".:") & set(host) else (_HUB, term)
    transport = Transport(host, wait)
    query = urllib.parse.urlencode({"q": term, "n": limit})
    try:
        with closing(_ask(transport, f"/v1/search?{query}")) as response:
            content = response.read(_MAX_ANSWER)
            if response.status != 200:
                raise CortenError(f"search {host}: it answers {response.status}")
    finally:
        transport.close()
    found = Document.parse(content, f"search of {host}").children("results")
    return [
        Hit(one.text("name"), one.text("description"), one.number("star_count"), one.flag("is_official"))
        for one in found
    ]


def _ask(transport: Transport, target: str) -> Response:
    """HTTPS, and of loopback plain HTTP where that is not spoken there, as with every registry."""
    try:
        return transport.request("GET", f"{transport.base}{target}", {})
    except Unavailable:
        if not transport.insecure:
            raise
    transport.base = f"http://{transport.host}"
    return transport.request("GET", f"{transport.base}{target}", {})
