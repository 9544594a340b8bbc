"""Times in queries: ``since`` and ``until``."""

from __future__ import annotations

import datetime
import re
import time

from corten.errors import InvalidInput

_SECOND = 1_000_000_000
_NUMBER = re.compile(r"(-?\d+)(?:\.(\d{1,9}))?")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s)")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def nanoseconds(text: str) -> int | None:
    """Nanoseconds since the epoch of a Unix time with a fraction, an RFC 3339 time, or a duration before now (``10m``).

    None for '' and 0, which clients send for "not set". Raises InvalidInput.
    """
    if text in ("", "0"):
        return None
    if (match := _NUMBER.fullmatch(text)) is not None:
        return int(match[1]) * _SECOND + int((match[2] or "0").ljust(9, "0"))
    if _DURATION.sub("", text) == "":
        ago = sum(float(value) * _UNITS[unit] for value, unit in _DURATION.findall(text))
        return time.time_ns() - int(ago * _SECOND)
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(f"invalid value for a time: {text!r}") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return int(moment.timestamp()) * _SECOND + moment.microsecond * 1000


def unix_seconds(text: str) -> int:
    """Seconds since the epoch of an RFC 3339 time; 0 for ''."""
    if not text:
        return 0
    head, _, _ = text.partition(".")
    moment = datetime.datetime.fromisoformat(head.rstrip("Z"))
    return int(moment.replace(tzinfo=datetime.UTC).timestamp())
