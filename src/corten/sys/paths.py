"""Paths that are resolved inside a directory and nowhere else: openat2(2); and syncfs(2)."""

from __future__ import annotations

import ctypes
import os

from corten.sys.libc import LIBC, check, syscall

_NR_OPENAT2 = 437
"""The same on every architecture, as for all system calls since Linux 5.0."""

RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

_ATTEMPTS = 128

_syncfs = LIBC.syncfs
_syncfs.argtypes = (ctypes.c_int,)


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def openat2(directory: int, path: bytes, flags: int, *, mode: int = 0, resolve: int = 0) -> int:
    """Open ``path`` below ``directory`` under the rules of ``resolve``, close-on-exec. Raises OSError.

    A rename or mount anywhere on the machine can make the kernel doubt a ``..`` and answer EAGAIN; asking
    again is what openat2(2) recommends.
    """
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return syscall(
                _NR_OPENAT2,
                ctypes.c_int(directory),
                ctypes.c_char_p(path),
                ctypes.byref(how),
                ctypes.c_size_t(ctypes.sizeof(how)),
                what=os.fsdecode(path),
            )
        except BlockingIOError:
            if attempt == _ATTEMPTS:
                raise
    raise AssertionError("not reached")


def syncfs(descriptor: int) -> None:
    """Write everything of the file system that ``descriptor`` is on. Raises OSError."""
    check(_syncfs(descriptor))
