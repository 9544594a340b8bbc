"""One more command in a living container: an exec.

:func:`join` forks a child that enters the container and becomes the command. :func:`spawn` enters it first, and has the
command run by a vfork: a fork copies what it touches, page by page, and nearly all of an exec's time is that.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence

from corten.errors import CommandNotFound
from corten.runtime import command, shelf
from corten.runtime.failure import OperationFailed
from corten.runtime.stages.context import LaunchContext
from corten.runtime.stages.launch import Init, Stdio, end, fork_init, settle
from corten.spec.operation import Operation
from corten.spec.plan import Plan
from corten.sys import process


def join(plan: Plan, pidfd: int, stdio: Stdio, *, own_pids: bool = True, sibling: bool = False) -> Init:
    """Run the operations of :func:`corten.runtime.plan.exec_plan` beside the init of ``pidfd``.

    ``own_pids``: the container has a pid namespace of its own; the caller's children are born into it from now on.
    Raises OperationFailed.
    """
    started: Init | None = None
    try:
        if own_pids:
            process.setns(pidfd, process.CLONE_NEWPID)
        started = fork_init(plan, stdio, 0, target=pidfd, sibling=sibling)
        settle(started)
        return started
    except OSError as error:
        raise OperationFailed.of(plan.steps[0], error) from error
    except BaseException:
        if started is not None:
            end(started)
        raise


@dataclasses.dataclass(frozen=True, slots=True)
class Joined:
    """A command that runs, as an :class:`~corten.runtime.stages.launch.Init` is seen from outside: a child of who
    called. The pidfd is the caller's to close."""

    pid: int
    pidfd: int
    start_time: int
    master: int = -1
    mounts: int = -1


class _Joining(LaunchContext):
    """Of a process that has the command run, instead of becoming it."""

    def __init__(self, target: int) -> None:
        super().__init__()
        self.target = target
        self.pid = 0

    def lead_session(self) -> None:
        """The command does, from its first moment."""

    def ready(self) -> None:
        """Nobody holds it."""

    def execute(self, args: Sequence[str], env: Mapping[str, str]) -> None:
        """As a child."""
        self.pid = command.spawn(self.command, args, env)


def spawn(plan: Plan, pidfd: int, stdio: Stdio, *, own_pids: bool = True) -> Joined | Init:
    """As :func:`join`, for a plan without a terminal and without limits of its own; its filter must allow to spawn.

    The calling process is in the container from then on, with its standard streams, and with no more rights than the
    command has: all that is left for it to do is to tell, and to end. Raises OperationFailed.
    """
    context = _Joining(pidfd)
    proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    shelf.let_go()  # what runs in the container is to have no way to it
    try:
        if own_pids:
            process.setns(pidfd, process.CLONE_NEWPID)
        for number, descriptor in enumerate(dataclasses.astuple(stdio)):
            os.dup2(descriptor, number)
        process.import_nothing()
        for place, step in enumerate(plan.steps):
            try:
                step.run(context)
            except CommandNotFound:
                # By a path through /proc/self, perhaps: there is none for who is not in the pid namespace. A fork is.
                return _forked(plan.steps[place:], pidfd, proc)
            except Exception as error:
                raise OperationFailed.of(step, error) from error
        return Joined(context.pid, process.pidfd_open(context.pid), process.start_time(context.pid, proc))
    except OSError as error:
        raise OperationFailed.of(plan.steps[0], error) from error
    finally:
        os.close(proc)


def _forked(steps: Sequence[Operation], pidfd: int, proc: int) -> Init:
    started = fork_init(Plan((*steps,)), Stdio(), 0, target=pidfd, sibling=True, proc=proc)
    try:
        settle(started)
    except BaseException:
        end(started)
        raise
    return started
