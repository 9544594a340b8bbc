"""mount(2), umount2(2), pivot_root(2), the mount_setattr(2) family, and fsopen(2) with what follows it."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping

from corten.sys.libc import LIBC, check, syscall
from corten.sys.machine import MACHINE

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_SYNCHRONOUS, MS_REMOUNT, MS_MANDLOCK, MS_DIRSYNC, MS_NOSYMFOLLOW = 16, 32, 64, 128, 256
MS_NOATIME, MS_NODIRATIME, MS_BIND, MS_MOVE, MS_REC, MS_SILENT = 1024, 2048, 4096, 8192, 16384, 32768
MS_UNBINDABLE, MS_PRIVATE, MS_SLAVE, MS_SHARED = 1 << 17, 1 << 18, 1 << 19, 1 << 20
MS_RELATIME, MS_STRICTATIME, MS_LAZYTIME = 1 << 21, 1 << 24, 1 << 25
MNT_DETACH = 2

MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC = 1, 2, 4, 8
MOUNT_ATTR_NOATIME, MOUNT_ATTR_STRICTATIME, MOUNT_ATTR_NODIRATIME, MOUNT_ATTR_NOSYMFOLLOW = 0x10, 0x20, 0x80, 0x200000
_MOUNT_ATTR_ATIME = 0x70

_AT_EMPTY_PATH, _AT_RECURSIVE = 0x1000, 0x8000
_OPEN_TREE_CLONE, _OPEN_TREE_CLOEXEC = 1, 0o2000000
_MOVE_MOUNT_F_EMPTY_PATH, _MOVE_MOUNT_T_EMPTY_PATH = 0x4, 0x40
_NR_OPEN_TREE, _NR_MOVE_MOUNT, _NR_MOUNT_SETATTR = 428, 429, 442
_NR_FSOPEN, _NR_FSCONFIG, _NR_FSMOUNT = 430, 431, 432
_FSOPEN_CLOEXEC, _FSMOUNT_CLOEXEC = 1, 1
_FSCONFIG_SET_FLAG, _FSCONFIG_SET_STRING, _FSCONFIG_CMD_CREATE = 0, 1, 6
_NR_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}

_mount = LIBC.mount
_mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
_umount2 = LIBC.umount2
_umount2.argtypes = (ctypes.c_char_p, ctypes.c_int)


class _MountAttr(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in ("attr_set", "attr_clr", "propagation", "userns_fd"))


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2); an empty ``kind`` or ``data`` is NULL. Raises OSError that names the target."""
    check(
        _mount(
            source.encode() or None,
            target.encode(),
            kind.encode() or None,
            flags,
            data.encode() or None,
        ),
        target,
    )


def umount(target: str, flags: int = 0) -> None:
    """umount2(2). Raises OSError."""
    check(_umount2(target.encode(), flags), target)


def pivot_root(new: str, old: str) -> None:
    """pivot_root(2). Raises OSError."""
    syscall(_NR_PIVOT_ROOT[MACHINE], ctypes.c_char_p(new.encode()), ctypes.c_char_p(old.encode()), what=new)


def open_tree(descriptor: int, *, recursive: bool) -> int:
    """A detached copy of the mount at an O_PATH descriptor, as a descriptor: open_tree(2), Linux 5.2."""
    flags = _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC | _AT_EMPTY_PATH | (_AT_RECURSIVE if recursive else 0)
    return syscall(_NR_OPEN_TREE, ctypes.c_int(descriptor), ctypes.c_char_p(b""), ctypes.c_uint(flags))


def move_mount(tree: int, target: int) -> None:
    """Attach a detached mount at an O_PATH descriptor: move_mount(2), Linux 5.2."""
    flags = _MOVE_MOUNT_F_EMPTY_PATH | _MOVE_MOUNT_T_EMPTY_PATH
    empty = ctypes.c_char_p(b"")
    syscall(_NR_MOVE_MOUNT, ctypes.c_int(tree), empty, ctypes.c_int(target), empty, ctypes.c_uint(flags))


def file_system(kind: str, options: Mapping[str, str], attributes: int = 0) -> int:
    """A new file system, detached, as a descriptor of its root: fsopen(2), Linux 5.2. An option with an empty value is
    a flag; ``attributes`` are the mount's, MOUNT_ATTR_*. Raises OSError that names the option which was refused."""
    context = syscall(_NR_FSOPEN, ctypes.c_char_p(kind.encode()), ctypes.c_uint(_FSOPEN_CLOEXEC), what=kind)
    try:
        for name, value in options.items():
            _configure(context, _FSCONFIG_SET_STRING if value else _FSCONFIG_SET_FLAG, name, value)
        _configure(context, _FSCONFIG_CMD_CREATE, "", "", what=options.get("source", kind))
        return syscall(
            _NR_FSMOUNT, ctypes.c_int(context), ctypes.c_uint(_FSMOUNT_CLOEXEC), ctypes.c_uint(attributes), what=kind
        )
    finally:
        os.close(context)


def _configure(context: int, command: int, name: str, value: str, what: str = "") -> None:
    key, text = (ctypes.c_char_p(one.encode() or None) for one in (name, value))
    arguments = ctypes.c_int(context), ctypes.c_uint(command), key, text, ctypes.c_int(0)
    syscall(_NR_FSCONFIG, *arguments, what=what or name)


def set_attributes(tree: int, attributes: int, *, recursive: bool) -> None:
    """Set MOUNT_ATTR_* flags on a mount: mount_setattr(2), Linux 5.12. Raises OSError.

    Those of access times are one value of several bits: to set one, all are cleared.
    """
    cleared = _MOUNT_ATTR_ATIME if attributes & _MOUNT_ATTR_ATIME else 0
    value = _MountAttr(attributes, cleared, 0, 0)
    flags = _AT_EMPTY_PATH | (_AT_RECURSIVE if recursive else 0)
    syscall(
        _NR_MOUNT_SETATTR,
        ctypes.c_int(tree),
        ctypes.c_char_p(b""),
        ctypes.c_uint(flags),
        ctypes.byref(value),
        ctypes.c_size_t(ctypes.sizeof(value)),
    )
