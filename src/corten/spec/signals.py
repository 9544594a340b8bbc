"""Signals by name or number, as Docker writes them."""

from __future__ import annotations

import re
import signal

from corten.errors import InvalidInput

_NAMES = {one.name[3:]: int(one) for one in signal.Signals} | {"POLL": int(signal.SIGIO), "CLD": int(signal.SIGCHLD)}


def parse(text: str) -> int:
    """``TERM``, ``SIGTERM``, ``15`` or ``RTMIN+3``. Raises InvalidInput in Docker's words."""
    name = text.strip().upper().removeprefix("SIG")
    if name == text.strip() and name.isdigit() and 0 < int(name) <= signal.SIGRTMAX:
        return int(name)
    if name in _NAMES:
        return _NAMES[name]
    if matched := re.fullmatch(r"RTMIN\+(\d+)|RTMAX-(\d+)", name):
        number = signal.SIGRTMIN + int(matched[1]) if matched[1] else signal.SIGRTMAX - int(matched[2])
        if signal.SIGRTMIN <= number <= signal.SIGRTMAX:
            return int(number)
    raise InvalidInput(f"invalid signal: {text}")
