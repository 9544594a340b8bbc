"""The monitor's side of a start: host operations, the clone, the links, and the word to execute.

::

    monitor                               init
    host operations (cgroups)
    clone3 ────────────────────────────►  joins its groups, mounts …
    parent operations (links) ─ linked ►  … configures its links, pivots, drops privileges
                              ◄─ ready ─
          (held: it waits at its gate)
                              ◄── end of file: the command runs, or a report of what failed
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import socket
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from corten.runtime.failure import OperationFailed
from corten.runtime.operations.namespaces import NewNamespaces
from corten.runtime.plan import Plan
from corten.runtime.stages import init
from corten.runtime.stages.context import EXECUTE, HOOKS, LINKED, READY, InitContext, LaunchContext
from corten.spec.operation import CLONE, HOST, PARENT, Operation
from corten.sys import process

_REPORT = 1 << 16


@dataclasses.dataclass(frozen=True, slots=True)
class Stdio:
    """The init's ends of its standard streams; the caller closes its copies. -1, or a terminal: not taken."""

    stdin: int = -1
    stdout: int = -1
    stderr: int = -1


class Init:
    """A container's first process, seen from its parent. ``pid`` is the caller's view, ``master`` the terminal's
    other end (-1 without one); pidfd and master are the caller's to close."""

    def __init__(self, pid: int, pidfd: int, channel: socket.socket) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self.start_time = process.start_time(pid)
        self.master = -1
        self.hooks: Callable[[int], bytes] | None = None
        """Runs the runtime's hooks for the init's pid; what the init is to be told then."""
        self._channel = channel
        self._ready = False

    def await_ready(self) -> None:
        """Return when all but the command is done. Raises OperationFailed."""
        while not self._ready:
            self._hear()

    def tell(self, word: bytes) -> None:
        """Say a word to the init; if it is gone, the next look says why."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._channel.send(word)

    def await_running(self) -> None:
        """Return when the command runs. Raises OperationFailed."""
        while self._hear():
            continue

    def _hear(self) -> bool:
        """Take one message; False at end of file."""
        try:
            data, descriptors, _, _ = socket.recv_fds(self._channel, _REPORT, 1, socket.MSG_CMSG_CLOEXEC)
        except ConnectionResetError:
            data, descriptors = b"", []
        if data.startswith(b"{"):
            raise OperationFailed.decode(json.loads(data))
        if descriptors:
            self.master = descriptors[0]
        if data == HOOKS and self.hooks is not None:
            self.tell(self.hooks(self.pid))
        elif data == READY:
            self._ready = True
        elif not data and not self._ready:
            raise OperationFailed("process.start", "init", "it ended before it could execute the command")
        return bool(data)

    def close(self) -> None:
        """Close the channel; an init that still waits for its word ends."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def launch(plan: Plan, stdio: Stdio, *, gate: int = -1, hooks: Callable[[int], bytes] | None = None) -> Init:
    """Start a container; returns when its command runs, or, with a ``gate``, when all is ready for it:
    the init waits at that listening socket then, for :func:`open_gate`.

    Raises OperationFailed; nothing is left then: the init is reaped, host and parent operations are undone.
    """
    context = LaunchContext()
    done: list[Operation] = []
    started: Init | None = None
    try:
        _run(plan.stage(HOST), context, done)
        started = _clone(plan, stdio, gate)
        context.init_pid, started.hooks = started.pid, hooks
        _run(plan.stage(PARENT), context, done)
        if plan.stage(PARENT):
            started.tell(LINKED)
        settle(started, held=gate >= 0)
        return started
    except BaseException:
        if started is not None:
            end(started)
        undo(done, context)
        raise


def settle(started: Init, *, held: bool = False) -> None:
    """Wait until the command runs, or, ``held``, until all is ready for it. Raises OperationFailed."""
    if held:
        started.await_ready()
    else:
        started.await_running()
    started.close()


def open_gate(path: str) -> None:
    """Let a held init execute; returns when its command runs. Raises OperationFailed, and OSError when none waits."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as opener:
        opener.connect(path)
        opener.send(EXECUTE)
        if report := opener.recv(_REPORT):
            raise OperationFailed.decode(json.loads(report))


def _run(steps: Sequence[Operation], context: LaunchContext, done: list[Operation]) -> None:
    for step in steps:
        done.append(step)
        try:
            step.run(context)
        except Exception as error:
            raise OperationFailed.of(step, error) from error


def undo(steps: Sequence[Operation], context: LaunchContext | None = None) -> None:
    """Take back host and parent operations, the last one first; one that cannot be does not keep the others."""
    for step in reversed(steps):
        with contextlib.suppress(OSError):
            step.undo(context or LaunchContext())


def _clone(plan: Plan, stdio: Stdio, gate: int) -> Init:
    (namespaces,) = (step for step in plan.stage(CLONE) if isinstance(step, NewNamespaces))
    try:
        return fork_init(plan, stdio, namespaces.flags(), gate=gate)
    except OSError as error:
        raise OperationFailed.of(namespaces, error) from error


def fork_init(plan: Plan, stdio: Stdio, namespaces: int, *, gate: int = -1, target: int = -1) -> Init:
    """Clone the process that executes the operations of stage ``init``. Raises OSError."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        try:
            pid, pidfd = process.clone(namespaces)
        except OSError:
            ours.close()
            raise
        if pid == 0:
            ours.close()
            context = InitContext(theirs, gate=gate, target=target)
            init.run(plan, context, theirs, dataclasses.astuple(stdio))
    return Init(pid, pidfd, ours)


def end(started: Init) -> None:
    """Kill an init, reap it and close what was held of it."""
    started.close()
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(started.pidfd, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(started.pid, 0)
    os.close(started.pidfd)
    if started.master >= 0:
        os.close(started.master)
