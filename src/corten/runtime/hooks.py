"""Hooks: programs that a bundle wants run at points of its container's life.

Each reads the container's state on its standard input. Source: OCI runtime-spec, config.md, "POSIX-platform Hooks".
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from corten.errors import CortenError
from corten.spec.runtime import Hook
from corten.sys import process

_SHOWN = 2000
"""Bytes of a failed hook's output that its error shows."""


def run_hook(hook: Hook, state: bytes) -> None:
    """Run one hook to its end. Raises CortenError when it cannot run, fails, or takes longer than it may."""
    with _memory("state", state) as stdin, _memory("output") as output:
        actions = ((os.POSIX_SPAWN_DUP2, stdin, 0), *((os.POSIX_SPAWN_DUP2, output, number) for number in (1, 2)))
        env = dict(item.partition("=")[::2] for item in hook.env)
        try:
            pid = os.posix_spawn(
                hook.path, list(hook.args or (hook.path,)), env, file_actions=actions, setsigmask=(),
                setsigdef=signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP},
            )  # fmt: skip
        except OSError as error:
            raise CortenError(f"run hook {hook.path}: {os.strerror(error.errno or 0).lower()}") from error
        code = _wait(pid, hook)
        if code:
            said = os.pread(output, _SHOWN, 0).decode("utf-8", "replace").strip()
            how = f"exit status {code}" if code > 0 else signal.Signals(-code).name
            raise CortenError(f"run hook {hook.path}: {how}{': ' if said else ''}{said}")


@contextmanager
def _memory(name: str, content: bytes = b"") -> Iterator[int]:
    """A file in memory: a hook that reads nothing, or writes much, blocks nobody."""
    file = os.memfd_create(name)
    try:
        os.write(file, content)
        os.lseek(file, 0, os.SEEK_SET)
        yield file
    finally:
        os.close(file)


def _wait(pid: int, hook: Hook) -> int:
    """How it ended; without a timeout by waitpid(2) alone, which every seccomp filter allows."""
    if hook.timeout is None:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    pidfd = process.pidfd_open(pid)
    try:
        poller = select.poll()
        poller.register(pidfd, select.POLLIN)
        in_time = poller.poll(hook.timeout * 1000)
        if not in_time:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    finally:
        os.close(pidfd)
    if not in_time:
        raise CortenError(f"run hook {hook.path}: it took longer than its timeout of {hook.timeout} s")
    return code
