"""Dispositions and the mask of signals, for processes that are about to become something else.

By the C library: Python's own functions turn every number into an enum and back, which touches dozens of pages in a
process that has just been forked, and each of them costs a page fault.
"""

from __future__ import annotations

import ctypes

from corten.sys.libc import LIBC, check

SIGHUP, SIGINT, SIGQUIT, SIGPIPE, SIGTERM, SIGCHLD = 1, 2, 3, 13, 15, 17
_SIG_DFL, _SIG_IGN, _SIG_SETMASK = 0, 1, 2
_LAST = 64
_SIGSET_BYTES = 128

ALL = (*range(1, 32), *range(34, _LAST + 1))
"""Every number but the two that the C library keeps for itself."""

_signal = LIBC.signal
_signal.argtypes = (ctypes.c_int, ctypes.c_void_p)
_signal.restype = ctypes.c_void_p
_sigprocmask = LIBC.sigprocmask
_sigprocmask.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)


def ignore(*numbers: int) -> None:
    """SIG_IGN for each: signal(2)."""
    for number in numbers:
        _signal(number, _SIG_IGN)


def restore(*numbers: int) -> None:
    """SIG_DFL for each."""
    for number in numbers:
        _signal(number, _SIG_DFL)


def reset() -> None:
    """SIG_DFL for every signal, and none blocked: what is ignored or blocked stays so across an exec."""
    restore(*range(1, _LAST + 1))  # refused for SIGKILL, SIGSTOP and those of the C library's own
    check(_sigprocmask(_SIG_SETMASK, bytes(_SIGSET_BYTES), None))
