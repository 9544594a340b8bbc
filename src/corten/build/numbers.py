"""Numbers, sizes, durations and truth as Go's strconv, time and go-units read them: what flags of a Dockerfile hold."""

from __future__ import annotations

import re

from corten.build.expansion import quoted

_TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE = frozenset(("0", "f", "F", "FALSE", "false", "False"))
_UNITS = {
    "ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9,
}  # fmt: skip
_PART = re.compile(r"([0-9]*)(?:(\.)([0-9]*))?([^0-9.]*)")
_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{0,18})?|\.[0-9]{1,18}) ?(?:([kmgtp])(?:i?b)?|b)?", re.IGNORECASE)
_LONGEST = 18  # digits that surely fit 63 bits


def boolean(text: str) -> bool:
    """``1 t true 0 f false``. Raises ValueError."""
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise ValueError(text)


def unsigned(text: str, base: int, bits: int = 32) -> int:
    """Digits of the base, without a sign. Raises ValueError."""
    digits = "01234567" if base == 8 else "0123456789"
    if not text or len(text) > 4 * _LONGEST or not set(text) <= set(digits) or int(text, base) >> bits:
        raise ValueError(text)
    return int(text, base)


def size(text: str) -> int:
    """Bytes; ``k m g t p`` are powers of 1024, with ``b`` or ``ib`` behind them or not. Raises ValueError."""
    found = _SIZE.fullmatch(text)
    if not found:
        raise ValueError(text)
    power = " kmgtp".index((found[2] or " ").lower())
    return int(float(found[1]) * 1024**power)


def retries(text: str) -> int:
    """A signed number of 32 bits. Raises ValueError with strconv's sentence."""
    if not re.fullmatch(r"[+-]?[0-9]+", text, re.ASCII):
        raise ValueError(f"strconv.ParseInt: parsing {quoted(text)}: invalid syntax")
    digits = text.lstrip("+-").lstrip("0") or "0"
    value = int(digits[:_LONGEST]) * (-1 if text[0] == "-" else 1)
    if not -(2**31) <= value < 2**31:
        raise ValueError(f"strconv.ParseInt: parsing {quoted(text)}: value out of range")
    return value


def duration(text: str) -> int:
    """Nanoseconds of ``1h2m3.5s``. Raises ValueError with the sentence of Go's time.ParseDuration."""
    rest = text[1:] if text[:1] in ("+", "-") else text
    if rest == "0":
        return 0
    total, at = 0, 0
    while at < len(rest) or not rest:
        found = _PART.match(rest, at)
        if not found or not (found[1] or found[3]) or len(found[1]) > _LONGEST:
            raise ValueError(f"time: invalid duration {quoted(text)}")
        if not found[4]:
            raise ValueError(f"time: missing unit in duration {quoted(text)}")
        if found[4] not in _UNITS:
            raise ValueError(f"time: unknown unit {quoted(found[4])} in duration {quoted(text)}")
        unit, fraction = _UNITS[found[4]], (found[3] or "")[:_LONGEST]
        total += int(found[1] or "0") * unit + int(fraction or "0") * unit // 10 ** len(fraction)
        if total >= 2**63:
            raise ValueError(f"time: invalid duration {quoted(text)}")
        at = found.end()
    return -total if text[0] == "-" else total
