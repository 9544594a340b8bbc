"""Sizes as people read them: go-units' forms."""

from __future__ import annotations

_DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def human_size(size: float, digits: int = 4) -> str:
    """``1.98MB``: powers of 1000."""
    return _human(size, 1000.0, _DECIMAL, digits)


def bytes_size(size: float, digits: int = 4) -> str:
    """``23.54GiB``: powers of 1024."""
    return _human(size, 1024.0, _BINARY, digits)


def _human(size: float, base: float, units: tuple[str, ...], digits: int) -> str:
    at = 0
    while size >= base and at < len(units) - 1:
        size /= base
        at += 1
    return f"{size:.{digits}g}{units[at]}"
