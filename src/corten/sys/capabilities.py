"""Capability sets of this thread: capget(2), capset(2), the bounding and the ambient set."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterable

from corten.sys.libc import LIBC, check
from corten.sys.process import prctl

NAMES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
    "CHECKPOINT_RESTORE",
)  # fmt: skip
"""capabilities(7), by number."""

_VERSION_3 = 0x20080522
_PR_CAPBSET_READ, _PR_CAPBSET_DROP = 23, 24
_PR_CAP_AMBIENT, _RAISE, _CLEAR_ALL = 47, 2, 4
_PR_SET_KEEPCAPS = 8


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint32) for name in ("effective", "permitted", "inheritable"))


_capget = LIBC.capget
_capset = LIBC.capset


def mask(names: Iterable[str]) -> int:
    """The bit mask of capability names, with or without ``CAP_``. Raises ValueError for an unknown one."""
    return _mask(tuple(names))


@functools.lru_cache(maxsize=64)
def _mask(names: tuple[str, ...]) -> int:
    bits = 0
    for name in names:
        bits |= 1 << NAMES.index(name.upper().removeprefix("CAP_"))
    return bits


_held: int | None = None
"""What :func:`bounding` found: asking takes a system call a capability, and only :func:`limit_bounding` changes it."""


def bounding() -> int:
    """The bounding set that is left to this process, as a mask."""
    global _held
    if _held is None:
        _held = _read_bounding()
    return _held


def _read_bounding() -> int:
    bits = 0
    for number in range(64):
        try:
            bits |= prctl(_PR_CAPBSET_READ, number) << number
        except OSError:  # EINVAL: the kernel knows no capability of this number, nor of a higher one
            break
    return bits


def limit_bounding(keep: int) -> None:
    """Drop every capability from the bounding set that ``keep`` lacks. Raises OSError."""
    global _held
    present = bounding()
    _held = present & keep
    for number in range(present.bit_length()):
        if present >> number & 1 and not keep >> number & 1:
            prctl(_PR_CAPBSET_DROP, number)


def keep_on_setuid() -> None:
    """PR_SET_KEEPCAPS: the permitted set survives the change to another user."""
    prctl(_PR_SET_KEEPCAPS, 1)


def permitted() -> int:
    """The permitted set of this thread."""
    header, data = _Header(_VERSION_3, 0), (_Data * 2)()
    check(_capget(ctypes.byref(header), ctypes.byref(data)))
    return int(data[0].permitted) | int(data[1].permitted) << 32


def set_all(*, effective: int, permitted: int, inheritable: int) -> None:
    """capset(2) of the calling thread. Raises OSError."""
    header, data = _Header(_VERSION_3, 0), (_Data * 2)()
    for half in range(2):
        data[half] = _Data(*(bits >> 32 * half & 0xFFFFFFFF for bits in (effective, permitted, inheritable)))
    check(_capset(ctypes.byref(header), ctypes.byref(data)))


def set_ambient(keep: int) -> None:
    """Make the ambient set exactly ``keep``, which must be permitted and inheritable. Raises OSError."""
    prctl(_PR_CAP_AMBIENT, _CLEAR_ALL)
    for number in range(keep.bit_length()):
        if keep >> number & 1:
            prctl(_PR_CAP_AMBIENT, _RAISE, number)
