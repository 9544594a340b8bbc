"""seccomp(2): loading a filter program."""

from __future__ import annotations

import ctypes

from corten.sys.libc import syscall
from corten.sys.machine import MACHINE

_NR_SECCOMP = {"x86_64": 317, "aarch64": 277}
_SECCOMP_SET_MODE_FILTER = 1
_INSTRUCTION = 8


class _Program(ctypes.Structure):
    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def load(program: bytes, flags: int = 0) -> None:
    """Filter this thread's system calls from now on, and all that it becomes. ``program`` is an array of
    ``struct sock_filter``. Raises OSError: EACCES without CAP_SYS_ADMIN or no_new_privs, EINVAL for a bad program."""
    value = _Program(len(program) // _INSTRUCTION, program)
    syscall(_NR_SECCOMP[MACHINE], ctypes.c_uint(_SECCOMP_SET_MODE_FILTER), ctypes.c_uint(flags), ctypes.byref(value))
