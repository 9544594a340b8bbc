"""Processes and namespaces: clone3, unshare, setns, pidfd, prctl."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import signal
import sys
from collections.abc import Iterator

from corten.sys.libc import LIBC, check, syscall
from corten.sys.machine import MACHINE

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
_CLONE_PIDFD, _CLONE_PARENT = 0x00001000, 0x00008000

_NR_CLONE3 = 435
_NR_PIDFD_OPEN = 434
_PIDFD_GET_INFO = 0xC040FF0B
_PIDFD_INFO_EXIT = 8
_NR_KEYCTL = {"x86_64": 250, "aarch64": 219}
_KEYCTL_JOIN_SESSION_KEYRING = 1

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_NAME = 15

_unshare = LIBC.unshare
_unshare.argtypes = (ctypes.c_int,)
_setns = LIBC.setns
_setns.argtypes = (ctypes.c_int, ctypes.c_int)
_prctl = LIBC.prctl
_prctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong)
_prctl_text = LIBC["prctl"]
_prctl_text.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong)
_sethostname = LIBC.sethostname
_sethostname.argtypes = (ctypes.c_char_p, ctypes.c_size_t)
_setdomainname = LIBC.setdomainname
_setdomainname.argtypes = (ctypes.c_char_p, ctypes.c_size_t)

# The raw system call must not let go of the interpreter's lock: the child has no other thread to give it back.
_clone = ctypes.PyDLL(None, use_errno=True).syscall
_clone.restype = ctypes.c_long


class _CloneArgs(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in (
            "flags", "pidfd", "child_tid", "parent_tid", "exit_signal", "stack",
            "stack_size", "tls", "set_tid", "set_tid_size", "cgroup",
        )
    )  # fmt: skip


def clone(namespaces: int, *, sibling: bool = False) -> tuple[int, int]:
    """Fork into new namespaces: (pid, pidfd) in the caller, (0, -1) in the new process, which is the caller's child, or
    with ``sibling`` the child of the caller's parent. clone3(2), Linux 5.5.

    CPython must hear of a fork that it did not make, or its locks and thread state are wrong in the child.
    Raises OSError.
    """
    pidfd = ctypes.c_int(-1)
    how, ends_with = (_CLONE_PARENT, 0) if sibling else (0, signal.SIGCHLD)  # whose parent it is has chosen already
    arguments = _CloneArgs(namespaces | _CLONE_PIDFD | how, ctypes.addressof(pidfd), 0, 0, ends_with)
    api = ctypes.pythonapi
    api.PyOS_BeforeFork()
    pid = _clone(ctypes.c_long(_NR_CLONE3), ctypes.byref(arguments), ctypes.c_size_t(ctypes.sizeof(arguments)))
    if pid == 0:
        api.PyOS_AfterFork_Child()
        return 0, -1
    number = ctypes.get_errno()
    api.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(number, os.strerror(number))
    return pid, pidfd.value


def unshare(namespaces: int) -> None:
    """unshare(2). Raises OSError."""
    check(_unshare(namespaces))


def setns(descriptor: int, kinds: int = 0) -> None:
    """setns(2) by a namespace's descriptor, or by a pidfd and a mask of namespaces (Linux 5.8). Raises OSError."""
    check(_setns(descriptor, kinds))


_OWN = {CLONE_NEWNET: "net", CLONE_NEWNS: "mnt"}


@contextlib.contextmanager
def visiting(descriptor: int, kind: int) -> Iterator[None]:
    """Be in a namespace for a while, by its descriptor or a pidfd of who is in it: CLONE_NEWNET, where a socket that is
    made stays, or CLONE_NEWNS. Raises OSError."""
    home = os.open(f"/proc/self/ns/{_OWN[kind]}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns(descriptor, kind)
        try:
            yield
        finally:
            _return(home, kind)
    finally:
        os.close(home)


def _return(home: int, kind: int) -> None:
    try:
        setns(home, kind)
    except OSError:
        os._exit(1)  # nothing may go on among strangers as if it were at home


def pidfd_open(pid: int) -> int:
    """A descriptor of a process, close-on-exec: pidfd_open(2). Raises OSError."""
    return syscall(_NR_PIDFD_OPEN, ctypes.c_int(pid), ctypes.c_uint(0), what=str(pid))


class _PidfdInfo(ctypes.Structure):
    _fields_ = (
        ("mask", ctypes.c_uint64), ("cgroupid", ctypes.c_uint64),
        *((name, ctypes.c_uint32) for name in (
            "pid", "tgid", "ppid", "ruid", "rgid", "euid", "egid", "suid", "sgid", "fsuid", "fsgid",
        )),
        ("exit_code", ctypes.c_int32),
    )  # fmt: skip


def exit_status(pidfd: int) -> int | None:
    """The wait status of a process that was reaped by another: PIDFD_GET_INFO, Linux 6.15. None while it is not
    known, and on kernels without it."""
    info = _PidfdInfo(mask=_PIDFD_INFO_EXIT)
    try:
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, info)
    except OSError:
        return None
    return int(info.exit_code) if info.mask & _PIDFD_INFO_EXIT else None


def zombie_status(pid: int, start_time: int) -> int | None:
    """The wait status of a process that has ended and that its parent has not reaped yet: field 52 of
    proc_pid_stat(5), for who may trace it. None when there is no such zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return int(fields[49]) if fields[0] == b"Z" and int(fields[19]) == start_time else None


def start_time(pid: int, proc: int | None = None) -> int:
    """When a process started, in clock ticks since boot: field 22 of proc_pid_stat(5), in ``/proc`` or the directory
    ``proc``. Raises OSError."""
    place = f"/proc/{pid}/stat" if proc is None else f"{pid}/stat"
    file = os.open(place, os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc)
    try:
        return int(os.read(file, 1024).rpartition(b")")[2].split()[19])
    finally:
        os.close(file)


def in_pid_namespace_of(pid: int) -> list[int]:
    """The processes that are in the same pid namespace as ``pid``, by their numbers here; those that this process may
    not look at are not among them. Raises OSError when ``pid`` has ended."""
    wanted = os.stat(f"/proc/{pid}/ns/pid")
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                same = os.path.samestat(os.stat(f"/proc/{name}/ns/pid"), wanted)
            except OSError:  # ended, or not ours
                continue
            if same:
                found.append(int(name))
    return found


def boot_id() -> str:
    """The identity of this boot of the machine: proc_sys_kernel(5)."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


def prctl(option: int, *values: int) -> int:
    """prctl(2); arguments left out are 0. Raises OSError."""
    return check(_prctl(option, *(*values, 0, 0, 0, 0)[:4]))


def set_dumpable(on: bool) -> None:
    """PR_SET_DUMPABLE: off, /proc/PID is root's and no unprivileged process may trace this one."""
    prctl(_PR_SET_DUMPABLE, int(on))


def set_subreaper(on: bool = True) -> None:
    """PR_SET_CHILD_SUBREAPER: orphans below this process become its children."""
    prctl(_PR_SET_CHILD_SUBREAPER, int(on))


def import_nothing() -> None:
    """What is not loaded by now is not looked for any more: the paths that it would be found at are a container's."""
    sys.meta_path.clear()


def die_with_parent() -> None:
    """PR_SET_PDEATHSIG: SIGKILL when the parent has ended. Whether it has already is for the caller to look."""
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def confine(profile: str) -> None:
    """Have AppArmor confine the next program that this process, or a child, executes. Raises OSError: ENOENT where
    the kernel has no such profile, or no AppArmor."""
    # The first is AppArmor's own; the second is that of the one module that older kernels have.
    for path in ("/proc/thread-self/attr/apparmor/exec", "/proc/thread-self/attr/exec"):
        try:
            file = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            os.write(file, f"exec {profile}".encode())
        finally:
            os.close(file)
        return
    raise FileNotFoundError(errno.ENOENT, "this kernel has no AppArmor")


def set_no_new_privileges() -> None:
    """PR_SET_NO_NEW_PRIVS: no exec gives more privileges from now on."""
    prctl(_PR_SET_NO_NEW_PRIVS, 1)


def set_name(name: str) -> None:
    """PR_SET_NAME: what ps and top call this thread, 15 bytes."""
    _prctl_text(_PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def name(pid: int) -> str:
    """What a process, or one that has ended and was not reaped, calls itself; '' when it is gone."""
    try:
        with open(f"/proc/{pid}/comm") as file:
            return file.read().rstrip("\n")
    except OSError:
        return ""


def set_hostname(name: str) -> None:
    """sethostname(2). Raises OSError."""
    check(_sethostname(name.encode(), len(name.encode())))


def set_domainname(name: str) -> None:
    """setdomainname(2). Raises OSError."""
    check(_setdomainname(name.encode(), len(name.encode())))


def new_session_keyring() -> None:
    """Leave the keys of whoever started this process behind: keyctl(2). Raises OSError."""
    syscall(_NR_KEYCTL[MACHINE], ctypes.c_int(_KEYCTL_JOIN_SESSION_KEYRING), ctypes.c_char_p(None))
