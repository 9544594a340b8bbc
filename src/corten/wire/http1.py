"""The client's requests as HTTP/1.1 (RFC 9112): values in, bytes out. Answers are read by :mod:`.responses`, which a
command loads only while it waits for one.

Imports nothing but the errors: the command line pays for every import at every start.
"""

from __future__ import annotations

from corten.errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final


def request(method: str, target: str, headers: Mapping[str, str], body: bytes | None = None) -> bytes:
    """The bytes of a request; with ``body`` None the caller names the framing, if any, in ``headers``.

    Raises InvalidInput for a value that would end its line: no user's input can start another request.
    """
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    if any(character in line for line in lines for character in "\r\n\0") or " " in target:
        raise InvalidInput(f"request {target!r}: line break, NUL or space in a request line or header field")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + (body or b"")


def chunk(data: bytes) -> bytes:
    """One chunk of a body of unknown length (RFC 9112, 7.1); empty data would be LAST_CHUNK."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


LAST_CHUNK: Final = b"0\r\n\r\n"
