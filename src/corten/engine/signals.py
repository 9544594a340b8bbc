"""Signals by name or number, and whether waiting after one can be of use."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

from corten.spec.signals import parse

__all__ = ["is_heard", "name", "parse"]

# rt_sigtimedwait(2) by machine, on x86 also those of 32-bit programs: sigwait and sigwaitinfo are this call, too.
_SIGTIMEDWAIT = {"x86_64": ("128", "177", "421")}.get(os.uname().machine, ("137",))


def name(number: int) -> str:
    """``SIGTERM`` of 15."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"


def is_heard(pid: int, number: int, *, proc: Path = Path("/proc")) -> bool:
    """Whether the namespace's PID 1, here ``pid``, can notice a signal.

    The kernel drops a signal with default action that is sent to the PID 1 of a namespace (signal(7),
    pid_namespaces(7)). It is noticed when a thread catches it, blocks it (signalfd, sigwait later), or waits in
    rt_sigtimedwait(2), which takes it although it is neither caught nor, just then, shown as blocked. A process
    that cannot be looked at counts as hearing: waiting is the harmless error.
    """
    try:
        return any(_hears(task, number) for task in (proc / str(pid) / "task").iterdir())
    except OSError:
        return True


def _hears(task: Path, number: int) -> bool:
    """The wait is looked at before and after the masks: a thread that leaves or enters it between two looks is in
    one of them, either waiting or, with the signal blocked again, not."""
    bit = 1 << (number - 1)
    return _waits(task) or any(mask & bit for mask in _masks((task / "status").read_text())) or _waits(task)


def _waits(task: Path) -> bool:
    call = (task / "syscall").read_text().split()
    return bool(call) and call[0] in _SIGTIMEDWAIT


def _masks(status: str) -> Iterator[int]:
    for line in status.splitlines():
        key, _, value = line.partition(":")
        if key in ("SigCgt", "SigBlk"):
            yield int(value, 16)
