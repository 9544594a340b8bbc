"""Times as the API and people write them: RFC 3339, Unix time with nanoseconds, Go durations, "3 minutes ago"."""

from __future__ import annotations

import time

from corten.errors import InvalidInput

_NS = 10**9
_DAYS_BEFORE_MONTH = (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334)
ZERO = "0001-01-01T00:00:00Z"
"""Go's zero time: the API's "never"."""


def timestamp(text: str) -> str:
    """What ``--since`` and ``--until`` mean, as ``seconds.nanoseconds`` since the epoch; '' for ''."""
    if not text or text.replace(".", "", 1).isdigit():
        return text
    if text[0].isdigit() and "-" in text[:8]:
        return _fixed(_calendar(text))
    from .notation import duration

    try:
        return _fixed(time.time_ns() - duration(text))
    except InvalidInput:
        raise InvalidInput(f'invalid value for "since" or "until": {text!r} is neither a time nor a duration') from None


def _fixed(nanoseconds: int) -> str:
    return f"{nanoseconds // _NS}.{nanoseconds % _NS:09}"


def _calendar(text: str) -> int:
    """A date or time; where it names no zone it is local."""
    date, _, clock = text.partition("T")
    zoned = clock.endswith("Z") or "+" in clock or "-" in clock
    padded = f"{clock}{':00' * (2 - clock[:8].count(':'))}" if clock and not zoned else clock or "00:00:00"
    if zoned:
        return nanoseconds(text)
    naive = nanoseconds(f"{date}T{padded}Z")
    local = time.localtime(naive // _NS)
    return naive - (local.tm_gmtoff or 0) * _NS


def nanoseconds(text: str) -> int:
    """Nanoseconds since the epoch of an RFC 3339 time. Raises InvalidInput.

    By hand: ``datetime`` has microseconds only, and costs more than the command that asks.
    """
    try:
        year, month, day = int(text[:4]), int(text[5:7]), int(text[8:10])
        hour, minute, second = int(text[11:13]), int(text[14:16]), int(text[17:19])
        fraction, offset = _zone(text[19:])
    except (ValueError, IndexError):
        raise InvalidInput(f"time {text!r}: it is not of the form 2006-01-02T15:04:05Z") from None
    seconds = ((_days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second - offset
    return seconds * _NS + fraction


def _zone(text: str) -> tuple[int, int]:
    """Nanoseconds of the fraction, seconds of the offset: ``.123Z``, ``+02:00``."""
    at = max(text.find("Z"), text.find("+"), text.find("-"))
    if at < 0:
        raise ValueError(text)
    fraction, zone = text[:at].removeprefix("."), text[at:]
    offset = 0 if zone == "Z" else int(zone[0] + "1") * (int(zone[1:3]) * 3600 + int(zone[4:6]) * 60)
    return int(fraction.ljust(9, "0")[:9]) if fraction else 0, offset


def _days(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 in the Gregorian calendar."""
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    before = year - 1
    days = before * 365 + before // 4 - before // 100 + before // 400
    return days + _DAYS_BEFORE_MONTH[month - 1] + (1 if leap and month > 2 else 0) + day - 1 - 719162


def ago(then_ns: int) -> str:
    """``3 minutes``: how long ago, as go-units' HumanDuration has it."""
    return human_duration((time.time_ns() - then_ns) / _NS)


def human_duration(seconds: float) -> str:
    """A length of time in one rough unit."""
    whole = int(seconds)
    if whole < 1:
        return "Less than a second"
    if whole < 60:
        return "1 second" if whole == 1 else f"{whole} seconds"
    minutes = whole // 60
    if minutes < 60:
        return "About a minute" if minutes == 1 else f"{minutes} minutes"
    hours = int(seconds / 3600 + 0.5)
    if hours < 48:
        return "About an hour" if hours == 1 else f"{hours} hours"
    for limit, unit, length in (
        (24 * 7 * 2, 24, "days"),
        (24 * 30 * 2, 24 * 7, "weeks"),
        (24 * 365 * 2, 24 * 30, "months"),
    ):
        if hours < limit:
            return f"{hours // unit} {length}"
    return f"{int(seconds / 3600 / 24 / 365)} years"


def local_time(unix: float) -> str:
    """``2024-01-02 15:04:05 +0000 UTC``: Go's form of a time with seconds."""
    parts = time.localtime(unix)
    return time.strftime("%Y-%m-%d %H:%M:%S %z %Z", parts)
