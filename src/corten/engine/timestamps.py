"""Points in time as users and clients write them: Unix times, RFC 3339, durations back from now."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

from corten.errors import InvalidInput

_UNIX = re.compile(r"(\d+)(?:\.(\d{1,9}))?")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}


def parse_timestamp(text: str, now: int | None = None) -> int:
    """Nanoseconds since the epoch of ``1700000000.5``, ``2026-01-01T00:00:00Z``, ``2026-01-01`` or ``10m`` (ago).

    Raises InvalidInput.
    """
    if matched := _UNIX.fullmatch(text):
        return int(matched[1]) * 10**9 + int((matched[2] or "").ljust(9, "0"))
    if (ago := _duration(text)) is not None:
        return (time.time_ns() if now is None else now) - ago
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(f"invalid time: {text!r}") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) * 10**9 + moment.microsecond * 1000


def _duration(text: str) -> int | None:
    parts = _DURATION.findall(text)
    if not parts or "".join(f"{number}{unit}" for number, unit in parts) != text:
        return None
    return sum(int(float(number) * _UNITS[unit]) for number, unit in parts)
