"""The process that starts what a monitor watches, and is gone when it runs.

It is a fork of the monitor, and the init that it clones is the monitor's child, not its own (CLONE_PARENT). All that a
start touches in memory goes with it: what stays beside a container, for as long as that runs, is a process that has
done next to nothing but wait.
"""

from __future__ import annotations

import contextlib
import functools
import os
import select
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from corten.errors import CortenError
from corten.monitor import record
from corten.monitor.engine_link import EngineLink
from corten.monitor.monitor import listen, unlisten
from corten.monitor.streams import opened as opened_streams
from corten.runtime.ahead import Ahead, Order
from corten.runtime.failure import OperationFailed
from corten.runtime.stages.context import LaunchContext
from corten.runtime.stages.join import Joined, join, spawn
from corten.runtime.stages.launch import Init, Stdio, Waiting, cloning, end, launch, prepared
from corten.spec.monitor import LINE, LISTENER, MASTER, MOUNTS, PIDFD, MonitorSpec
from corten.spec.operation import Operation
from corten.spec.plan import Plan
from corten.sys import messages, process

_HOOKS = '{"kind":"hooks.'
"""In an order: whoever writes this into a text of his own has it escaped there."""


class _Abandoned(Exception):
    """The engine has thought better of it, or is gone."""


class Starter:
    """Starts one thing. ``channel`` is the monitor's line to the engine, ``line`` the one to the monitor."""

    def __init__(self, channel: socket.socket, line: socket.socket) -> None:
        self._channel = channel
        self._line = line

    def stand_by(self, home: str, ahead: Ahead, likely: Mapping[str, Any]) -> None:
        """Wait for the engine's word, and do what it says: ``start`` or ``exec``. When it hangs up, or says ``bye``,
        nobody needs this one.

        What is done ``ahead`` an init has done already, and only a start that fits will come, of the container whose
        directory is ``home``. ``likely`` is the request of an earlier start, to rehearse with. The working directory is
        the data root.
        """
        with contextlib.suppress(messages.Closed):
            if ahead.steps:
                record.reserve(home)
                if ahead.poised:
                    self._poise(ahead)
                self._stand_by_with_init(ahead, likely)
            else:
                known = _rehearse(likely) if likely else ()
                messages.send(self._channel, {"event": "standing"})
                self._do(*messages.receive(self._channel), known)

    def _poise(self, ahead: Ahead) -> NoReturn:
        """Leave an init that has all but its command to the monitor, and to the engine the line to it."""
        steps, foreseen, plugged, poised = ahead.plans()
        with opened_streams(MonitorSpec("")) as (streams, theirs), prepared(
            steps, os.getcwd(), foreseen=foreseen, plugged=plugged, poised=poised, stdio=Stdio(*theirs), sibling=True
        ) as waiting:
            init = waiting.look()
            line = init.await_poised()
            init.keep_mounts()
            shared = _open({PIDFD: init.pidfd, **streams.held})
            what = {"init": {"pid": init.pid, "start_time": init.start_time}}
            named = {**shared, **_open({MOUNTS: init.mounts})}
            messages.send(self._line, {**what, "fds": list(named)}, list(named.values()))
            monitor = os.getppid()
            who = {"pid": monitor, "start_time": process.start_time(monitor), "home": init.home}
            told = {**shared, LINE: line.fileno()}
            messages.send(self._channel, {"event": "standing", **what, **who, "fds": list(told)}, list(told.values()))
            os._exit(0)

    def _stand_by_with_init(self, ahead: Ahead, likely: Mapping[str, Any]) -> None:
        steps, foreseen, plugged, _ = ahead.plans()
        with prepared(
            steps, os.getcwd(), foreseen=foreseen, plugged=plugged, likely=likely["order"]["inside"], sibling=True
        ) as waiting:
            known = _rehearse(likely)
            messages.send(self._channel, {"event": "standing"})
            if _is_wanted(self._channel, waiting):
                message, _ = messages.receive(self._channel)
                if message["do"] != "bye":
                    self._start_waiting(message, waiting, known)

    def _do(self, message: Mapping[str, Any], descriptors: list[int], known: Sequence[Operation]) -> None:
        if message["do"] == "bye":
            return
        if hooked := _HOOKS in message["order"]["inside"]:
            import corten.runtime.operations.hooks  # noqa: F401  # few containers have any
        plan, spec = Order.decode(message["order"]).plan(known), MonitorSpec.decode(message["monitor"])
        if message["do"] == "exec":
            self._execute(spec, plan, descriptors[0], own_pids=message["own_pids"], spawns=message["spawns"])
        else:
            self._start(spec, plan, hooked=hooked)

    def _start(self, spec: MonitorSpec, plan: Plan, *, hooked: bool) -> None:
        """Start a container."""
        hooks = None
        if hooked:
            from corten.runtime.operations.hooks import outside

            hooks = functools.partial(outside, plan)

        def begin(stdio: Stdio, go: Callable[[], None]) -> Init:
            clone = cloning(plan, stdio, sibling=True)

            def go_and_clone() -> Init:
                go()
                return clone()

            return launch(plan, go_and_clone, keep_mounts=spec.mounts_linger, hooks=hooks)

        self._begin(spec, begin)

    def _execute(self, spec: MonitorSpec, plan: Plan, pidfd: int, *, own_pids: bool, spawns: bool) -> None:
        """Run one more command in a container. One that is spawned falls to the monitor with this process's end."""

        def begin(stdio: Stdio, go: Callable[[], None]) -> Init | Joined:
            if spawns:
                return spawn(plan, pidfd, stdio, own_pids=own_pids)
            return join(plan, pidfd, stdio, own_pids=own_pids, sibling=True)

        self._begin(spec, begin)

    def _start_waiting(self, message: Mapping[str, Any], waiting: Waiting, known: Sequence[Operation]) -> None:
        order, spec = Order.decode(message["order"]), MonitorSpec.decode(message["monitor"])

        def begin(stdio: Stdio, go: Callable[[], None]) -> Init:
            init = waiting.take()
            init.hand_over(order, stdio)
            return launch(
                Plan.decode(order.outside), lambda: _begun(init, order, known, go), keep_mounts=spec.mounts_linger,
                made=waiting.made,
            )  # fmt: skip

        self._begin(spec, begin)

    def _begin(self, spec: MonitorSpec, begin: Callable[[Stdio, Callable[[], None]], Init | Joined]) -> None:
        engine = EngineLink(self._channel)
        listener = listen(spec.socket)
        try:
            engine.hello(spec.id, os.getppid())
            with opened_streams(spec) as (streams, theirs):
                try:
                    init = begin(Stdio(*theirs), lambda: _await_go(engine))
                except _Abandoned:
                    return
                except OperationFailed as failure:
                    engine.send({"event": "failed", **failure.encode()})
                    return
            self._hand_over(spec, init, engine, streams.held, listener.fileno() if listener else -1)
        finally:
            unlisten(listener, spec.socket)
            engine.close()

    def _hand_over(
        self, spec: MonitorSpec, init: Init | Joined, engine: EngineLink, streams: dict[str, int], listener: int
    ) -> NoReturn:
        """Tell the engine that it runs; from here on it is the monitor's. Whatever this process still has of it goes
        with its end."""
        shared = _open({PIDFD: init.pidfd, MASTER: init.master, **streams})
        what = {"init": {"pid": init.pid, "start_time": init.start_time}, "started_at": time.time_ns()}
        engine.send({"event": "running", **what, "log": None, "fds": list(shared)}, list(shared.values()))
        named = {**shared, **_open({MOUNTS: init.mounts, LISTENER: listener})}
        # One that the engine did not take at once would be lost with this process.
        report = {"monitor": spec.encode(), **what, "told": not engine.congested, "fds": list(named)}
        messages.send(self._line, report, list(named.values()))
        os._exit(0)


def _open(named: dict[str, int]) -> dict[str, int]:
    return {name: descriptor for name, descriptor in named.items() if descriptor >= 0}


def _rehearse(likely: Mapping[str, Any]) -> list[Operation]:
    """The init's operations of an earlier start, or exec. What this process will do itself is rehearsed."""
    context, order = LaunchContext(), _read(likely)
    inside = order.steps()
    for step in inside if likely["do"] == "exec" else Plan.decode(order.outside).steps:
        with contextlib.suppress(OSError, CortenError):
            step.rehearse(context)
    return inside


def _read(likely: Mapping[str, Any]) -> Order:
    """Read a request as the next one will be read: the pages that it takes are this process's own then."""
    ours, theirs = messages.pair()
    with ours, theirs, open(os.devnull) as null:
        messages.send(ours, dict(likely), [null.fileno()])
        message, descriptors = messages.receive(theirs)
        for descriptor in descriptors:
            os.close(descriptor)
    MonitorSpec.decode(message["monitor"])
    return Order.decode(message["order"])


def _is_wanted(channel: socket.socket, waiting: Waiting) -> bool:
    """Wait for a word of the engine's; False when the init has ended meanwhile."""
    poll = select.poll()
    poll.register(channel, select.POLLIN)
    poll.register(waiting.pidfd, select.POLLIN)
    return waiting.pidfd not in dict(poll.poll())


def _await_go(engine: EngineLink) -> None:
    if not engine.await_go():
        raise _Abandoned


def _begun(init: Init, order: Order, known: Sequence[Operation], go: Callable[[], None]) -> Init:
    """The init that stood by, told to begin when the engine has done its part; ended when that cannot be."""
    try:
        go()
        return init.begin()
    except OSError as error:
        end(init)
        raise _missing(order.steps(known), error) from error
    except BaseException:
        end(init)
        raise


def _missing(steps: Sequence[Operation], error: OSError) -> OperationFailed:
    """The failure of the operation whose source is not there, as the init itself would tell it."""
    for step in steps:
        if any(path == error.filename for path, _ in step.sources()):
            return OperationFailed.of(step, error)
    number = error.errno or 0
    return OperationFailed("mount.bind", str(error.filename), os.strerror(number).lower(), errno=number)
