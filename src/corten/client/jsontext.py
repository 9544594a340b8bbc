"""JSON for a command that lives for milliseconds: the standard library's C scanner and encoder, alone.

``import json`` costs a third of a whole ``corten ps`` (it imports ``re``, ``enum`` and ``functools``); its C
accelerator costs a fifth of a millisecond and does all the work. Semantics are those of ``json``.
"""

from __future__ import annotations

from _json import encode_basestring_ascii, make_encoder, make_scanner

from corten.errors import DataCorrupt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

_BLANKS = " \t\r\n"
_CONSTANTS = {"-Infinity": float("-inf"), "Infinity": float("inf"), "NaN": float("nan")}


class _Context:
    """What the C scanner reads its options from: json.decoder.JSONDecoder's attributes."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = _CONSTANTS.__getitem__
    memo: dict[str, str] = {}  # noqa: RUF012 (the scanner empties it itself)


_scan = make_scanner(_Context())  # type: ignore[arg-type]


def _refuse(value: object) -> None:
    raise TypeError(f"{type(value).__name__} is not a JSON value")


def decode(text: str | bytes) -> Any:
    """The value of one JSON document. Raises DataCorrupt."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    text = text.strip(_BLANKS)
    try:
        value, end = _scan(text, 0)
    except (StopIteration, ValueError) as error:
        raise DataCorrupt(f"read JSON {text[:80]!r}: {error}") from None
    if end != len(text):
        raise DataCorrupt(f"read JSON {text[:80]!r}: more than one document")
    return value


def encode(value: Any) -> bytes:
    """The shortest JSON text of a value, in ASCII. Raises TypeError."""
    encoder = make_encoder({}, _refuse, encode_basestring_ascii, None, ":", ",", False, False, True)
    return "".join(encoder(value, 0)).encode("ascii")


def documents(pieces: Iterable[bytes]) -> Iterator[Any]:
    """The documents of a stream, one a line, as the Docker Engine API sends them. Raises DataCorrupt."""
    for line in lines(pieces):
        if line.strip():
            yield decode(line)


def lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The lines of a stream of bytes cut anywhere."""
    pending: list[bytes] = []
    for piece in pieces:
        head, *rest = piece.split(b"\n")
        pending.append(head)
        for line in rest:
            yield b"".join(pending)
            pending = [line]
    if any(pending):
        yield b"".join(pending)
