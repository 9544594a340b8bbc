"""A reference of whatever bytes is refused, or read back from what is written of it."""

from __future__ import annotations

from corten.errors import InvalidInput
from corten.spec import reference as references


def one(data: bytes) -> None:
    """Read it, and what is written of it."""
    try:
        found = references.parse(data.decode("utf-8", "surrogateescape"))
    except InvalidInput:
        return
    assert references.parse(str(found)) == found
    first = found.path.partition("/")[0]
    if "." not in first and first != "localhost":  # what looks like a host after the hub's name is one, without it
        assert references.parse(found.familiar) == found
