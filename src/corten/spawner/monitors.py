"""What a fork of the spawner does to become a monitor: start a container, run an exec, or take a dead one's place."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

from corten.monitor.engine_link import EngineLink
from corten.monitor.monitor import InitProcess, Monitor, listen, unlisten
from corten.monitor.streams import Streams
from corten.monitor.streams import opened as opened_streams
from corten.runtime.ahead import Order
from corten.runtime.cgroups import detect
from corten.runtime.failure import OperationFailed
from corten.runtime.stages.join import join
from corten.runtime.stages.launch import Init, Stdio, Waiting, end, launch, prepared
from corten.spec.monitor import CONTAINER, MASTER, PIDFD, STARTING, VERSION, MonitorSpec
from corten.spec.plan import Plan
from corten.sys import messages, process, signals

NAME, EXEC_NAME, STANDBY = "corten-monitor", "corten-exec", "corten-standby"
_REMOVAL_TRIES = 200
_REMOVAL_PAUSE = 0.005


def detach(name: str) -> None:
    """Leave the spawner's session; no terminal's signal and no request to end reaches a monitor."""
    os.setsid()
    signals.ignore(signals.SIGINT, signals.SIGTERM, signals.SIGHUP, signals.SIGPIPE, signals.SIGQUIT)
    process.set_name(name)


def start(spec: MonitorSpec, plan: Plan, channel: socket.socket) -> None:
    """Start a container and stand by it."""
    _begin(spec, channel, lambda stdio: launch(plan, stdio, keep_mounts=spec.mounts_linger))


def execute(spec: MonitorSpec, plan: Plan, channel: socket.socket, pidfd: int, *, own_pids: bool) -> None:
    """Run one more command in a container and stand by it."""
    _begin(spec, channel, lambda stdio: join(plan, pidfd, stdio, own_pids=own_pids))


def stand_by(channel: socket.socket, ahead: str) -> None:
    """Wait for the engine's word, and do what it says: ``start`` or ``exec``. When it hangs up, nobody needs this one.

    With ``ahead``, operations as JSON, an init has done these already, and only a start that fits will come. The
    working directory is the data root.
    """
    if not ahead:
        messages.send(channel, {"event": "standing"})
        with contextlib.suppress(messages.Closed):
            message, descriptors = messages.receive(channel)
            _do(message, channel, descriptors)
        return
    with prepared(Plan.decode(json.loads(ahead)), os.getcwd()) as waiting:
        messages.send(channel, {"event": "standing"})
        if _is_wanted(channel, waiting):
            with contextlib.suppress(messages.Closed):
                message, _ = messages.receive(channel)
                _start_waiting(message, channel, waiting)


def _do(message: Mapping[str, Any], channel: socket.socket, descriptors: list[int]) -> None:
    plan, spec = Order.decode(message["order"]).plan(), MonitorSpec.decode(message["monitor"])
    if message["do"] == "exec":
        process.set_name(EXEC_NAME)
        execute(spec, plan, channel, descriptors[0], own_pids=message["own_pids"])
    else:
        process.set_name(NAME)
        start(spec, plan, channel)


def _start_waiting(message: Mapping[str, Any], channel: socket.socket, waiting: Waiting) -> None:
    process.set_name(NAME)
    order, spec = Order.decode(message["order"]), MonitorSpec.decode(message["monitor"])
    outside = Plan.decode(order.outside)

    def begin(stdio: Stdio) -> Init:
        init = waiting.take()
        try:
            init.hand_over(order, stdio)
        except OSError as error:
            end(init)
            raise _missing(order, error) from error
        return launch(outside, stdio, waiting=init, keep_mounts=spec.mounts_linger)

    _begin(spec, channel, begin)


def _is_wanted(channel: socket.socket, waiting: Waiting) -> bool:
    """Wait for a word of the engine's; False when the init has ended meanwhile."""
    poll = select.poll()
    poll.register(channel, select.POLLIN)
    poll.register(waiting.pidfd, select.POLLIN)
    return waiting.pidfd not in dict(poll.poll())


def _missing(order: Order, error: OSError) -> OperationFailed:
    """The failure of the operation whose source is not there, as the init itself would tell it."""
    for step in Plan.decode(json.loads(order.inside)).steps:
        if any(path == error.filename for path, _ in step.sources()):
            return OperationFailed.of(step, error)
    number = error.errno or 0
    return OperationFailed("mount.bind", str(error.filename), os.strerror(number).lower(), errno=number)


def _begin(spec: MonitorSpec, channel: socket.socket, begin: Callable[[Stdio], Init]) -> None:
    engine = EngineLink(channel)
    listener = listen(spec.socket)
    try:
        _hello(engine, spec)
        with opened_streams(spec) as (streams, theirs):
            if spec.kind == CONTAINER and not engine.await_go():
                return  # the engine has thought better of it, or is gone
            try:
                init = begin(Stdio(*theirs))
            except OperationFailed as failure:
                engine.send({"event": "failed", **failure.encode()})
                return
        if init.master >= 0:
            streams.held[MASTER] = init.master
        watched = InitProcess(init.pid, init.pidfd, init.start_time, True, time.time_ns())
        _watch(spec, watched, streams, engine, listener, init.mounts)
    finally:
        unlisten(listener, spec.socket)
        engine.close()


def _hello(engine: EngineLink, spec: MonitorSpec) -> None:
    pid = os.getpid()
    engine.send({
        "event": "hello", "version": VERSION, "id": spec.id, "phase": STARTING,
        "pid": pid, "start_time": process.start_time(pid), "fds": [],
    })  # fmt: skip


def _watch(
    spec: MonitorSpec, init: InitProcess, streams: Streams, engine: EngineLink, listener: socket.socket | None,
    mounts: int = -1,
) -> None:  # fmt: skip
    cgroups = detect()

    def clean() -> None:
        if mounts >= 0:
            os.close(mounts)
        remove_group(spec.cgroup)

    Monitor(
        spec, init, streams, engine, listener,
        oom_kills=lambda: cgroups.oom_kills(spec.cgroup) if spec.cgroup else 0,
        clean=clean,
    ).run()  # fmt: skip


def remove_group(path: str) -> None:
    """Remove the container's group. What still lives in it (a container without a pid namespace of its own) is
    killed: a container ends with its first process."""
    if not path:
        return
    cgroups = detect()
    for attempt in range(_REMOVAL_TRIES):
        if cgroups.remove(path):
            return
        if attempt == 1:
            cgroups.kill(path)
        time.sleep(_REMOVAL_PAUSE)


def replace(message: Mapping[str, Any], channel: socket.socket, descriptors: list[int]) -> None:
    """Take the place of a monitor that was killed: its init and its streams, held by the engine meanwhile."""
    spec = MonitorSpec.decode(message["monitor"])
    named = dict(zip(message["fds"], descriptors, strict=True))
    pidfd = named.pop(PIDFD)
    init = InitProcess(
        int(message["init"]["pid"]), pidfd, int(message["init"]["start_time"]), False,
        int(message.get("started_at", 0)),
    )  # fmt: skip
    engine = EngineLink(channel)
    listener = listen(spec.socket)
    try:
        _hello(engine, spec)
        _watch(spec, init, Streams(named), engine, listener)
    finally:
        unlisten(listener, spec.socket)
        engine.close()
