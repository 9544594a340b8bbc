"""bpf(2): the program that guards a control group's devices."""

from __future__ import annotations

import ctypes
import os

from corten.sys.libc import syscall
from corten.sys.machine import MACHINE

_NR_BPF = {"x86_64": 321, "aarch64": 280}
_PROG_LOAD, _PROG_ATTACH = 5, 8
_TYPE_CGROUP_DEVICE, _ATTACH_CGROUP_DEVICE = 15, 6
_ALLOW_MULTI = 2
"""BPF_F_ALLOW_MULTI: programs of groups above (systemd's) go on deciding, too."""
_INSTRUCTION = 8


class _Load(ctypes.Structure):
    _fields_ = (
        ("prog_type", ctypes.c_uint32), ("insn_cnt", ctypes.c_uint32), ("insns", ctypes.c_char_p),
        ("license", ctypes.c_char_p), ("log_level", ctypes.c_uint32), ("log_size", ctypes.c_uint32),
        ("log_buf", ctypes.c_uint64), ("kern_version", ctypes.c_uint32), ("prog_flags", ctypes.c_uint32),
        ("prog_name", ctypes.c_char * 16),
    )  # fmt: skip


class _Attach(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_uint32) for name in ("target_fd", "attach_bpf_fd", "attach_type", "attach_flags")
    )


def _bpf(command: int, value: ctypes.Structure) -> int:
    size = ctypes.sizeof(value)
    return syscall(_NR_BPF[MACHINE], ctypes.c_int(command), ctypes.byref(value), ctypes.c_uint(size), what="bpf")


def attach_device_filter(group: str, program: bytes) -> None:
    """Let ``program`` (an array of ``struct bpf_insn``) decide on device nodes for a cgroup v2 directory.

    The kernel keeps it for as long as there is the group. Raises OSError: EPERM without CAP_BPF or CAP_SYS_ADMIN,
    EINVAL for a program that the verifier refuses or a kernel without CONFIG_CGROUP_BPF.
    """
    load = _Load(
        prog_type=_TYPE_CGROUP_DEVICE, insn_cnt=len(program) // _INSTRUCTION, insns=program,
        license=b"Apache-2.0", prog_name=b"corten_devices",
    )  # fmt: skip
    loaded = _bpf(_PROG_LOAD, load)
    try:
        directory = os.open(group, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _bpf(_PROG_ATTACH, _Attach(directory, loaded, _ATTACH_CGROUP_DEVICE, _ALLOW_MULTI))
        finally:
            os.close(directory)
    finally:
        os.close(loaded)
