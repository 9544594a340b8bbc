"""The C library, once, and the one helper that turns its -1 into an OSError."""

from __future__ import annotations

import ctypes
import os
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)

_syscall = LIBC.syscall
_syscall.restype = ctypes.c_long


def check(result: int, what: str = "") -> int:
    """The result of a call, or an OSError of errno (with ``what`` as its file name) when it is negative."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what or None)
    return result


def syscall(number: int, *arguments: Any, what: str = "") -> int:
    """syscall(2). Integers must come as ctypes values where they are wider than an int. Raises OSError."""
    return check(_syscall(ctypes.c_long(number), *arguments), what)
