"""The init's side of a start: from the clone to the command."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Sequence
from typing import NoReturn

from corten.runtime.failure import OperationFailed
from corten.runtime.plan import Plan
from corten.runtime.stages.context import LINKED, LaunchContext
from corten.spec.operation import INIT, PARENT, Operation
from corten.sys import process

_NETWORK, _USER_MAP = "network", "namespace.user-map"


def run(plan: Plan, context: LaunchContext, channel: socket.socket, stdio: Sequence[int]) -> NoReturn:
    """Execute the operations of stage ``init``; the last one does not return. Failures go to the monitor.

    The monitor makes the host's ends meanwhile: it is waited for before the first operation that needs them.
    """
    try:
        process.set_dumpable(False)
        parent = plan.stage(PARENT)
        linked = not parent
        if any(step.kind == _USER_MAP for step in parent):
            linked = _await(channel)
            _become_root()
        _take_stdio(stdio)
        for step in plan.stage(INIT):
            if step.group == _NETWORK and not linked:
                linked = _await(channel)
            _one(step, context)
    except OperationFailed as failure:
        channel.send(json.dumps(failure.encode()).encode())
    finally:
        os._exit(1)


def _one(step: Operation, context: LaunchContext) -> None:
    try:
        step.run(context)
    except BaseException as error:
        raise OperationFailed.of(step, error) from error


def _await(channel: socket.socket) -> bool:
    if channel.recv(64) != LINKED:
        os._exit(1)  # the monitor has failed, and knows why
    return True


def _become_root() -> None:
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def _take_stdio(stdio: Sequence[int]) -> None:
    for number, descriptor in enumerate(stdio):
        if descriptor == number:
            os.set_inheritable(descriptor, True)
        elif descriptor >= 0:
            os.dup2(descriptor, number)
