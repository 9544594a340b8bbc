"""Messages of syslog in the forms that Docker's driver of that name knows, without I/O.

RFC 3164 (BSD), RFC 5424 with times to the second or the microsecond, the form of the local daemon's socket, and the
octet counting of RFC 5425 (4.3) for TLS.
"""

from __future__ import annotations

import dataclasses
import time

FACILITIES = {
    name: number
    for number, name in enumerate(
        ("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp")
    )
} | {f"local{number}": 16 + number for number in range(8)}
"""RFC 5424, 6.2.1."""
FORMATS = ("", "rfc3164", "rfc5424", "rfc5424micro")
_ERROR, _INFORMATIONAL = 3, 6
_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()


@dataclasses.dataclass(frozen=True, slots=True)
class Form:
    """How one container's lines are told. ``format`` is one of FORMATS; ``counted`` puts the length in front."""

    format: str
    facility: int
    tag: str
    host: str
    pid: int
    counted: bool = False

    def encode(self, line: bytes, stream: str, now: float) -> bytes:
        """The message of a line; ``now`` is in seconds since the epoch."""
        priority = self.facility << 3 | (_ERROR if stream == "stderr" else _INFORMATIONAL)
        head = self._head(priority, now).encode("utf-8", "surrogateescape")
        message = head + line.removesuffix(b"\n") + b"\n"
        return b"%d " % len(message) + message if self.counted else message

    def _head(self, priority: int, now: float) -> str:
        local = time.localtime(now)
        if self.format in ("", "rfc3164"):
            stamp = f"{_MONTHS[local.tm_mon - 1]} {local.tm_mday:2d} {time.strftime('%H:%M:%S', local)}"
            host = f"{self.host} " if self.format else ""
            return f"<{priority}>{stamp} {host}{self.tag}[{self.pid}]: "
        fraction = f".{int(now % 1 * 1_000_000):06d}" if self.format == "rfc5424micro" else ""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", local) + fraction + _zone(local.tm_gmtoff)
        return f"<{priority}>1 {stamp} {self.host} {self.tag} {self.pid} {self.tag} - "


def _zone(offset: int) -> str:
    if not offset:
        return "Z"
    minutes = abs(offset) // 60
    return f"{'+' if offset > 0 else '-'}{minutes // 60:02d}:{minutes % 60:02d}"


def facility(text: str) -> int:
    """The number of a facility that is named or numbered; '' is ``daemon``. Raises ValueError."""
    if not text:
        return FACILITIES["daemon"]
    if text in FACILITIES:
        return FACILITIES[text]
    number = int(text)
    if not 0 <= number <= 23:
        raise ValueError(text)
    return number
