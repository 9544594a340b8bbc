"""The work of plugging links into a container that runs, and out of it.

The operations are those of a start. Those of stage ``parent`` are executed here, on the host; those of stage ``init``
in a fork that has entered the container's network namespace, and that stands there already when links are put into
"its" namespace: a number of a process that has ended could be another's by now.

Descriptors: the report, a pipe that takes one JSON object; the container's pidfd.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

from corten.runtime.stages.context import LaunchContext
from corten.spec.operation import INIT, PARENT, Operation, decode
from corten.sys import process

_GO, _DONE = b"go", b"done"
_LONGEST = 1 << 16


def rewire(arguments: dict[str, Any], descriptors: list[int]) -> int:
    """Execute ``operations``, as far as the first that fails; 0 when all were."""
    report, pidfd = descriptors
    steps = [decode(value) for value in arguments["operations"]]
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    child = os.fork()
    if child == 0:
        ours.close()
        _stand_inside(pidfd, theirs, [step for step in steps if step.stage == INIT])
    theirs.close()
    context = LaunchContext()
    context.init_pid = child
    try:
        failure = _hear(ours) or _run([step for step in steps if step.stage == PARENT], context)
        if not failure:
            ours.send(_GO)
            failure = _hear(ours)
    finally:
        ours.close()
        os.waitpid(child, 0)
    os.write(report, json.dumps({"error": failure} if failure else {}).encode() + b"\n")
    return 1 if failure else 0


def _stand_inside(pidfd: int, channel: socket.socket, steps: Sequence[Operation]) -> NoReturn:
    try:
        channel.send(_enter(pidfd).encode() or _DONE)
        if channel.recv(len(_GO)) == _GO:
            channel.send(_run(steps, LaunchContext()).encode() or _DONE)
    except BaseException:  # noqa: BLE001  a fork must not return into the worker
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(0)


def _enter(pidfd: int) -> str:
    """Enter the container's network namespace; '', or what failed."""
    try:
        process.setns(pidfd, process.CLONE_NEWNET)
    except OSError as error:
        return f"enter the network namespace of the container: {_cause(error)}"
    return ""


def _run(steps: Sequence[Operation], context: LaunchContext) -> str:
    """Execute them in order; '', or what failed."""
    for step in steps:
        try:
            step.run(context)
        except OSError as error:
            return f"{step.kind} {step.what()}: {_cause(error)}"
    return ""


def _cause(error: OSError) -> str:
    return str(error.strerror or error).lower()


def _hear(channel: socket.socket) -> str:
    """What the fork inside says: '' when all went well."""
    said = channel.recv(_LONGEST)
    return "" if said == _DONE else said.decode() or "the process in the container's network namespace died"
