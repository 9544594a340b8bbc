"""Log drivers and their options."""

from __future__ import annotations

import re

from corten.engine.model import LogConfig
from corten.errors import InvalidInput
from corten.spec.monitor import LogSpec

_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)([kmg]?)(?:i?b)?", re.IGNORECASE)
_KNOWN = frozenset({"max-size", "max-file", "labels", "labels-regex", "env", "env-regex", "tag", "mode", "compress",
                    "max-buffer-size"})  # fmt: skip


def settle(config: LogConfig) -> LogConfig:
    """The configuration with its default driver. Raises InvalidInput in Docker's words."""
    driver = config.type or "json-file"
    if driver not in ("json-file", "none"):
        raise InvalidInput(f"logger: no log driver named '{driver}' is registered")
    settled = LogConfig(driver, config.config or {})
    log_spec(settled, "")
    return settled


def log_spec(config: LogConfig, path: str) -> LogSpec:
    """What the monitor is to do. Raises InvalidInput."""
    if config.type == "none":
        return LogSpec(driver="none")
    options = config.config or {}
    for name in sorted(options.keys() - _KNOWN):
        raise InvalidInput(f"unknown log opt '{name}' for json-file log driver")
    default = LogSpec()
    return LogSpec(
        "json-file",
        path,
        _size(options["max-size"]) if "max-size" in options else default.max_size,
        _count(options["max-file"]) if "max-file" in options else default.max_file,
    )


def _size(text: str) -> int:
    """``10m`` in bytes; ``-1`` is no limit, here 0."""
    if text == "-1":
        return 0
    matched = _SIZE.fullmatch(text)
    if not matched or not float(matched[1]):
        raise InvalidInput(f"invalid size: '{text}'")
    return int(float(matched[1]) * _UNITS[matched[2].lower()])


def _count(text: str) -> int:
    if not text.isdigit():
        raise InvalidInput(f'strconv.Atoi: parsing "{text}": invalid syntax')
    if int(text) < 1:
        raise InvalidInput("max-file cannot be less than 1")
    return int(text)
