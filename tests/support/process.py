"""Processes of a test: a server that is awaited and ended, and the tree below a process."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_STEP_MS = 10


class NotReady(AssertionError):
    """A server ended, or said nothing in time, before it was ready."""


def wait_until(
    condition: Callable[[], bool], what: str, *, seconds: float = 30, pid: int | None = None
) -> None:
    """Wait for a condition, asked every 10 ms, no longer than process ``pid`` lives. Raises NotReady."""
    with _watched(pid) as poller:
        for _ in range(int(seconds * 1000 / _STEP_MS)):
            if condition():
                return
            if poller.poll(_STEP_MS):
                raise NotReady(f"{what}: process {pid} ended before")
    raise NotReady(f"{what}: not within {seconds} s")


@contextmanager
def _watched(pid: int | None) -> Iterator[select.poll]:
    poller = select.poll()
    if pid is None:
        yield poller
        return
    descriptor = os.pidfd_open(pid)
    try:
        poller.register(descriptor, select.POLLIN)
        yield poller
    finally:
        os.close(descriptor)


def end(process: subprocess.Popen[bytes], *, seconds: float = 20) -> int:
    """End a process: SIGTERM, and SIGKILL when that is not enough. Its exit status."""
    if process.poll() is None:
        process.terminate()
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def start_time(pid: int) -> int:
    """When a process started, in clock ticks since boot: with the pid, its identity. Raises OSError."""
    return int(_stat(pid)[19])


def parent(pid: int) -> int:
    """A process's parent. Raises OSError."""
    return int(_stat(pid)[1])


def state(pid: int) -> str:
    """One letter, as proc(5) has it; ``X`` when the process is gone."""
    try:
        return _stat(pid)[0]
    except OSError:
        return "X"


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()


def command_line(pid: int) -> str:
    """A process's arguments, joined by spaces; '' when it is gone or a zombie."""
    try:
        return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")).strip()
    except OSError:
        return ""


def processes() -> Iterator[int]:
    """Every process of this PID namespace."""
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def descendants(root: int) -> set[int]:
    """Every living process below ``root`` (zombies are not living)."""
    children: dict[int, list[int]] = {}
    for pid in processes():
        try:
            fields = _stat(pid)
        except OSError:
            continue
        if fields[0] != "Z":
            children.setdefault(int(fields[1]), []).append(pid)
    found: set[int] = set()
    todo = [root]
    while todo:
        below = children.get(todo.pop(), [])
        found.update(below)
        todo.extend(below)
    return found


def kill_all(pids: set[int]) -> None:
    """SIGKILL for each that still lives."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
