"""Times as the API and the logs have them: RFC 3339 with nanoseconds, UTC."""

from __future__ import annotations

import time
from datetime import UTC, datetime

ZERO = "0001-01-01T00:00:00Z"
"""Docker's "never"."""
TOLD = 0.002
"""Seconds in which whoever waits for a start has been told: an answer is written some turns of the loop later."""


def format_time(nanoseconds: int) -> str:
    """A time since the epoch; of fixed width, so that times compare as text."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def format_seconds(seconds: int) -> str:
    """A time since the epoch without a fraction, as in documents of images."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}Z"


def parse_time(text: str) -> int:
    """Nanoseconds since the epoch of what :func:`format_time` made; 0 for :data:`ZERO`."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    seconds = int(datetime.fromisoformat(f"{whole}+00:00").timestamp())
    return max(0, seconds * 1_000_000_000 + int(fraction.ljust(9, "0")[:9] or 0))


def now() -> str:
    """This moment."""
    return format_time(time.time_ns())
