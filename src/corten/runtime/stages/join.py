"""The monitor's side of an exec: one more command in a living container."""

from __future__ import annotations

from corten.runtime.failure import OperationFailed
from corten.runtime.stages.launch import Init, Stdio, end, fork_init, settle
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
