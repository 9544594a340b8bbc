"""The init's side of a start: from the clone to the command."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import json
import os
import socket
from collections.abc import Sequence
from typing import NoReturn

from corten.runtime.failure import OperationFailed
from corten.runtime.plan import Plan
from corten.runtime.stages.context import LINKED, InitContext
from corten.spec.operation import INIT, PARENT, Operation
from corten.sys import process

_NETWORK, _USER_MAP = "network", "namespace.user-map"
_ALL = 2**31 - 1


def run(plan: Plan, context: InitContext, channel: socket.socket, stdio: Sequence[int]) -> NoReturn:
    """Execute the operations of stage ``init``; the last one does not return. Failures go to the monitor.

    The monitor makes the host's ends meanwhile: it is waited for before the first operation that needs them.
    """
    try:
        gc.disable()  # the monitor's objects are not this process's to finalize: their descriptors are closed here
        process.set_dumpable(_is_mapped(plan))
        _take_stdio(stdio)
        _close_others(channel.fileno(), context.target, context.gate)
        _execute(plan, context, channel)
    except OperationFailed as failure:
        context.report(json.dumps(failure.encode()).encode())
    except OSError as error:
        report = OperationFailed("process.start", "init", error.strerror or repr(error), errno=error.errno or 0)
        context.report(json.dumps(report.encode()).encode())
    finally:
        os._exit(1)


def _execute(plan: Plan, context: InitContext, channel: socket.socket) -> None:
    parent = plan.stage(PARENT)
    linked = not parent
    if _is_mapped(plan):
        linked = _await(channel)
        _become_root()
        process.set_dumpable(False)  # only now: until then its /proc is the monitor's, who writes the maps
    for step in plan.stage(INIT):
        if step.group == _NETWORK and not linked:
            linked = _await(channel)
        _one(step, context)


def _one(step: Operation, context: InitContext) -> None:
    try:
        step.run(context)
    except BaseException as error:
        raise OperationFailed.of(step, error) from error


def _await(channel: socket.socket) -> bool:
    if channel.recv(64) != LINKED:
        os._exit(1)  # the monitor has failed, and knows why
    return True


def _is_mapped(plan: Plan) -> bool:
    return any(step.kind == _USER_MAP for step in plan.stage(PARENT))


def _become_root() -> None:
    with contextlib.suppress(PermissionError):  # given up, for the right to map a group
        os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def _take_stdio(stdio: Sequence[int]) -> None:
    """Put them at 0 to 2, first out of each other's way."""
    away = [
        fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, 3) if 0 <= one < 3 and one != number else one
        for number, one in enumerate(stdio)
    ]
    for number, descriptor in enumerate(away):
        if descriptor == number:
            os.set_inheritable(descriptor, True)
        elif descriptor >= 0:
            os.dup2(descriptor, number)


def _close_others(*kept: int) -> None:
    """What the monitor has open is the host's: nothing in the container may reach it through this process."""
    first = 3
    for descriptor in sorted(kept):
        if descriptor >= first:
            os.closerange(first, descriptor)
            first = descriptor + 1
    os.closerange(first, _ALL)
