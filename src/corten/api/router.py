"""Which function answers which request."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Awaitable, Callable, Mapping

from corten.api.message import Hijack, Request, Response
from corten.errors import InvalidInput, NotFound

MINIMUM, DEFAULT, NEWEST = (1, 24), (1, 51), (1, 56)
"""The API versions that are spoken, and the one for who names none. What is announced is the default: 1.52 took
members away that clients still read, and some (docker-py) take whatever version is announced."""

Handler = Callable[[Request], Awaitable[Response | Hijack]]
_PREFIX = re.compile(r"/v([0-9.]+)(?=/)")
_SLASHES = re.compile("/{2,}")
_VERSION = re.compile(r"(\d{1,3})(?:\.(\d{1,3}))?")
_PARAMETER = re.compile(r"\{(\w+)(:path)?\}")


class ClientTooOld(InvalidInput):
    """A client of before 1.24: it takes errors as plain text."""


@dataclasses.dataclass(frozen=True, slots=True)
class Route:
    """A pattern and its handler; ``reads_body``: the handler takes the body as a stream, however long it is;
    ``at_once``: it is so short that it waits for no turn."""

    pattern: re.Pattern[str]
    handler: Handler
    reads_body: bool
    at_once: bool = False


async def _options(request: Request) -> Response:
    return Response()


_OPTIONS = Route(re.compile(".*"), _options, reads_body=False)
"""As dockerd, whatever the path."""


class Router:
    """Routes by method and first word of the path; the first that matches answers."""

    def __init__(self) -> None:
        self._routes: dict[tuple[str, str], list[Route]] = {}

    def route(
        self, method: str, path: str, *, reads_body: bool = False, at_once: bool = False
    ) -> Callable[[Handler], Handler]:
        """Register a handler. ``{id}`` is one segment, ``{name:path}`` as many as fit."""
        source = _PARAMETER.sub(lambda m: f"(?P<{m[1]}>{'.+' if m[2] else '[^/]+'})", path)
        pattern = re.compile(source)

        def register(handler: Handler) -> Handler:
            key = (method, path.split("/", 2)[1])
            self._routes.setdefault(key, []).append(Route(pattern, handler, reads_body, at_once))
            return handler

        return register

    def include(self, other: Router) -> None:
        """Take all routes of another."""
        for key, routes in other._routes.items():
            self._routes.setdefault(key, []).extend(routes)

    def find(self, method: str, path: str) -> tuple[Route, Mapping[str, str]]:
        """The route and its parameters. Raises NotFound ``page not found``."""
        if method == "OPTIONS":
            return _OPTIONS, {}
        path = path.rstrip("/") or path  # ``/networks/`` is ``/networks``
        for route in self._routes.get((method, path.split("/", 2)[1] if "/" in path else ""), ()):
            if (match := route.pattern.fullmatch(path)) is not None:
                return route, match.groupdict()
        raise NotFound("page not found")


def split_version(path: str) -> tuple[tuple[int, int], str]:
    """The API version of a path's prefix, or the default, and the rest. Raises InvalidInput in dockerd's words."""
    if "//" in path:  # a name with its slash, ``/containers//name/json``
        path = _SLASHES.sub("/", path)
    match = _PREFIX.match(path)
    if match is None:
        return DEFAULT, path
    numbers = _VERSION.fullmatch(match[1])
    version = (int(numbers[1]), int(numbers[2] or 0)) if numbers else (0, 0)
    if version > NEWEST:
        raise InvalidInput(
            f"client version {match[1]} is too new. Maximum supported API version is {text_of(NEWEST)}"
        )
    if version < MINIMUM:
        raise ClientTooOld(
            f"client version {match[1]} is too old. Minimum supported API version is {text_of(MINIMUM)}, "
            "please upgrade your client to a newer version"
        )
    return version, path[match.end() :]


def text_of(version: tuple[int, int]) -> str:
    """As it is written in a path: ``1.24``."""
    return f"{version[0]}.{version[1]}"
