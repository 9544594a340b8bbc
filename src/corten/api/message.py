"""Requests and responses as the routes see them: values, streams of bytes, and connections that change hands."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec

from corten.api.members import as_named
from corten.errors import InvalidInput

if TYPE_CHECKING:
    from corten.api.services import Services

JSON = "application/json"
RAW_STREAM = "application/vnd.docker.raw-stream"
MULTIPLEXED_STREAM = "application/vnd.docker.multiplexed-stream"
_MULTIPLEXED_SINCE = (1, 42)
_LARGEST_JSON = 16 << 20
_FALSE = frozenset({"", "0", "no", "false", "none"})
T = TypeVar("T")


class Body(Protocol):
    """A request's body: read it whole, bounded, or chunk by chunk."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Chunks as they come."""


class Duplex(Protocol):
    """A connection that speaks HTTP no more."""

    async def read(self) -> bytes:
        """The next bytes; empty when the client has sent its last."""

    async def write(self, data: bytes) -> None:
        """Send; returns when the client has room for more. Raises ConnectionError when it is gone."""


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """One request. ``version`` is the API's, of the path's prefix or the default; ``params`` are the route's."""

    method: str
    path: str
    version: tuple[int, int]
    query: Mapping[str, Sequence[str]]
    headers: Mapping[str, str]
    """Names in lower case."""
    body: Body
    params: Mapping[str, str]
    services: Services

    def text(self, name: str, default: str = "") -> str:
        """A query parameter; the first one where there are several, as Go's forms have it."""
        values = self.query.get(name)
        return values[0] if values else default

    def flag(self, name: str, default: bool = False) -> bool:
        """A query parameter that is on or off, by Docker's rule: all but 0, no, false, none and '' is on."""
        return self.text(name).strip().lower() not in _FALSE if name in self.query else default

    def number(self, name: str) -> int | None:
        """A query parameter that is a whole number; None where there is none. Raises InvalidInput."""
        value = self.text(name)
        if not value:
            return None
        try:
            return int(value)
        except ValueError:
            raise InvalidInput(f"invalid value for {name}: {value!r} is not a number") from None

    def terminal_size(self) -> tuple[int, int]:
        """``h`` and ``w``: rows and columns, which the kernel keeps in 16 bits. Raises InvalidInput."""
        return self._cells("h", "height"), self._cells("w", "width")

    def _cells(self, name: str, what: str) -> int:
        text = self.text(name)
        if not (text.isascii() and text.removeprefix("-").isdigit()):
            raise InvalidInput(f'invalid resize {what} "{text}": invalid syntax')
        if not 0 <= int(text) < 1 << 16:
            raise InvalidInput(f'invalid resize {what} "{text}": value out of range')
        return int(text)

    def filters(self, name: str = "filters") -> dict[str, list[str]]:
        """``filters``: a JSON object of lists, or, as older clients send it, of objects. Raises InvalidInput."""
        text = self.text(name)
        if not text:
            return {}
        try:
            value = msgspec.json.decode(text, type=dict[str, list[str] | dict[str, bool]])
        except msgspec.DecodeError as error:
            raise InvalidInput(f"invalid filter: {error}") from error
        return {
            key: values if isinstance(values, list) else [one for one, on in values.items() if on]
            for key, values in value.items()
        }

    async def bytes(self, bound: int = _LARGEST_JSON) -> bytes:
        """The whole body. Raises InvalidInput when it is larger than ``bound``."""
        chunks, size = [], 0
        async for chunk in self.body:
            chunks.append(chunk)
            size += len(chunk)
            if size > bound:
                raise InvalidInput(f"read request: its body is larger than {bound} bytes")
        return b"".join(chunks)

    async def json(self, kind: type[T], *, empty: T | None = None) -> T:
        """The body as a value; ``empty`` where there is none. Raises InvalidInput for what is not of its shape."""
        content = await self.bytes()
        self._check_type(bool(content))
        if not content.strip():
            if empty is not None:
                return empty
            raise InvalidInput("invalid JSON: got EOF while reading request body")
        try:
            return msgspec.convert(as_named(msgspec.json.decode(content), kind), kind)
        except msgspec.ValidationError:
            return _lenient(content, kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InvalidInput(_as_go_says(str(error), content)) from error

    def _check_type(self, has_body: bool) -> None:
        """A body has to say that it is JSON, as for dockerd: a web page's form cannot. Raises InvalidInput."""
        told = self.headers.get("content-type", "")
        kind = told.partition(";")[0].strip().lower()
        if not kind and has_body:
            raise InvalidInput(f"malformed Content-Type header ({told}): mime: no media type")
        if kind not in ("", JSON):
            raise InvalidInput(f"unsupported Content-Type header ({told}): must be '{JSON}'")


_PLACE = re.compile(r"object keys must be strings \(byte (\d+)\)")


def _as_go_says(problem: str, content: bytes) -> str:
    """What is wrong with a JSON document, in the words of Go's decoder where they are known to be looked for."""
    if "trailing characters" in problem:
        return "unexpected content after JSON"
    if matched := _PLACE.search(problem):
        letter = content[int(matched[1]) :][:1].decode(errors="replace")
        return f"invalid JSON: invalid character '{letter}' looking for beginning of object key string"
    return f"invalid JSON: {problem}"


_MAPS = frozenset({"PortBindings", "EndpointsConfig", "ExposedPorts", "Volumes"})
"""Members whose own members are the user's: a null there says something."""


def _lenient(content: bytes, kind: type[T]) -> T:
    """As Go decodes: a null is a member that is not there. Raises InvalidInput."""
    try:
        return msgspec.convert(_without_nulls(as_named(msgspec.json.decode(content), kind)), kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"invalid JSON: {error}") from error


def _without_nulls(value: Any, keep: bool = False) -> Any:
    if isinstance(value, list):
        return [_without_nulls(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {name: _without_nulls(one, name in _MAPS) for name, one in value.items() if keep or one is not None}


@dataclasses.dataclass(frozen=True, slots=True)
class Response:
    """An answer; ``content`` is bytes, or an iterator of chunks that are sent as they come."""

    status: int = 200
    content: bytes | AsyncIterator[bytes] = b""
    headers: Sequence[tuple[str, str]] = ()
    type: str = JSON


@dataclasses.dataclass(frozen=True, slots=True)
class Hijack:
    """The connection becomes a stream both ways, and ``serve`` has it until it returns."""

    serve: Callable[[Duplex], Awaitable[None]]
    type: str = RAW_STREAM
    protocol: str = "tcp"
    """What an upgrade is to."""
    headers: Sequence[tuple[str, str]] = ()
    is_early: bool = False
    """Its clients may begin before they have the answer's head, which goes with the first that they are told."""


def reply(value: Any, status: int = 200) -> Response:
    """An answer in JSON."""
    return Response(status, msgspec.json.encode(value) + b"\n")


def no_content(hint: str = "") -> Response:
    """Done, and there is nothing to say but, to those who know the header, a hint."""
    plain = "".join(one if " " <= one <= "~" else "?" for one in hint)
    return Response(204, headers=(("Corten-Hint", plain),) if plain else ())


def stream_type(version: tuple[int, int], *, tty: bool) -> str:
    """The content type of stdio: framed, unless it is a terminal's; older clients know only the one name."""
    return RAW_STREAM if tty or version < _MULTIPLEXED_SINCE else MULTIPLEXED_STREAM
