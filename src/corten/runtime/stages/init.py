"""The init's side of a start: from the clone to the command."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import gc
import json
import os
import socket
from collections.abc import Callable, Sequence
from typing import NoReturn

from corten.errors import CortenError
from corten.runtime import latch
from corten.runtime.ahead import Order
from corten.runtime.failure import OperationFailed
from corten.runtime.operations.root import OverlayMount, PivotRoot
from corten.runtime.stages.context import BEGIN, LINKED, PREPARED, InitContext
from corten.runtime.stages.staging import Staging
from corten.spec.operation import INIT, PARENT, Operation, decode
from corten.spec.plan import Plan
from corten.sys import messages, process

_NETWORK, _USER_MAP = "network", "namespace.user-map"
_ALL = 2**31 - 1


def run(plan: Plan, context: InitContext, channel: socket.socket, stdio: Sequence[int]) -> NoReturn:
    """Execute the operations of stage ``init``; the last one does not return. Failures go to the monitor.

    The monitor makes the host's ends meanwhile: it is waited for before the first operation that needs them.
    """

    def execute() -> None:
        _take_stdio(stdio)
        _close_others(channel.fileno(), context.target, context.gate, context.shelf)
        _execute(plan, context, channel)

    _reporting(context, execute, dumpable=_is_mapped(plan))


@dataclasses.dataclass(frozen=True, slots=True)
class Share:
    """What an init that stands by is to do before it waits: what nearly every start has, what is foreseen of the root,
    a place in a network, and all else but the command (see :class:`corten.runtime.ahead.Ready`)."""

    steps: Sequence[Operation]
    foreseen: Sequence[Operation] = ()
    plugged: Sequence[Operation] = ()
    poised: Sequence[Operation] = ()


def stand_by(share: Share, base: str, likely: str, context: InitContext, channel: socket.socket) -> NoReturn:
    """Do what can be done ahead; wait for a container, and do the rest of its own.

    ``base`` is the data root; ``likely`` are the operations of an earlier start, as JSON. An end of file on the
    channel, instead of an order, ends it.
    """

    def execute() -> None:
        _close_others(channel.fileno(), context.shelf)
        staging = _staged(share, base, context, channel)
        known = _rehearse(likely, context)
        channel.send(PREPARED)
        message, descriptors = messages.receive(channel)
        _take_stdio(descriptors)
        _follow(Order.decode(message["order"]), known, staging, context, channel)

    _reporting(context, execute)


def poise(share: Share, base: str, context: InitContext, channel: socket.socket, stdio: Sequence[int]) -> NoReturn:
    """Do all but the command, say where its user is at home, and wait as a program that can do nothing but become
    it."""

    def execute() -> None:
        _take_stdio(stdio)
        _close_others(channel.fileno(), context.shelf)
        _staged(share, base, context, channel)
        for step in share.poised:
            _one(step, context)
        home = os.fsencode(context.home)
        if len(home) > latch.LONGEST_HOME:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), context.home)
        channel.send(PREPARED + home)
        latch.become(channel)

    _reporting(context, execute)


def _staged(share: Share, base: str, context: InitContext, channel: socket.socket) -> Staging:
    """Do what is done in a tree of its own, and what goes into the root if that is known."""
    staging = Staging(base, share.steps)
    context.root = staging.build()
    for step in share.steps:
        _one(step, context)
    staging.enter()
    context.root = -1
    for step in share.foreseen:
        _one(step, context)
        if isinstance(step, OverlayMount):
            staging.place_all(context.root)
    if share.plugged:
        _await(channel)
    for step in share.plugged:
        _one(step, context)
    return staging


def _rehearse(likely: str, context: InitContext) -> list[Operation]:
    """The operations that were rehearsed."""
    root, context.root = context.root, os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    steps = [decode(value) for value in json.loads(likely)]
    try:
        for step in steps:
            with contextlib.suppress(OSError, CortenError):
                step.rehearse(context)
    finally:
        os.close(context.root)
        context.root = root
    return steps


def _follow(
    order: Order, known: Sequence[Operation], staging: Staging, context: InitContext, channel: socket.socket
) -> None:
    """Do what an order asks for beyond what is done already. What was mounted ahead is moved into the root in its
    turn."""
    steps, ready = order.steps(known), frozenset(order.ready)
    if context.root >= 0 and not order.is_placed:
        staging.take_back(context.root)
    word, given, _, _ = socket.recv_fds(channel, 64, len(order.sources), socket.MSG_CMSG_CLOEXEC)
    if word != BEGIN:
        os._exit(1)  # the starter has failed, and knows why
    context.bring(order.sources, given)
    linked = not order.awaits
    for place, step in enumerate(steps):
        if not linked and place not in ready and (step.group == _NETWORK or step.kind == PivotRoot.kind):
            linked = _await(channel)
        if place not in ready:
            _one(step, context)
        elif not order.is_placed:
            staging.place(step, context.root)


def _reporting(context: InitContext, execute: Callable[[], None], *, dumpable: bool = False) -> NoReturn:
    """Execute; what fails goes to the monitor. Nothing comes back here from a fork."""
    try:
        gc.disable()  # the monitor's objects are not this process's to finalize: their descriptors are closed here
        process.set_dumpable(dumpable)
        process.import_nothing()
        execute()
    except messages.Closed:  # nobody needed this one
        os._exit(0)
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
            os.close(descriptor)


def _close_others(*kept: int) -> None:
    """What the monitor has open is the host's: nothing in the container may reach it through this process."""
    first = 3
    for descriptor in sorted(kept):
        if descriptor >= first:
            os.closerange(first, descriptor)
            first = descriptor + 1
    os.closerange(first, _ALL)
