"""What a fork of the spawner does to become a monitor: start a container, run an exec, or take a dead one's place."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

from corten.monitor.engine_link import EngineLink
from corten.monitor.monitor import InitProcess, Monitor, listen, unlisten
from corten.monitor.streams import Streams
from corten.monitor.streams import opened as opened_streams
from corten.runtime.cgroups import detect
from corten.runtime.failure import OperationFailed
from corten.runtime.stages.join import join
from corten.runtime.stages.launch import Init, Stdio, launch
from corten.spec.monitor import MASTER, PIDFD, STARTING, VERSION, MonitorSpec
from corten.spec.plan import Plan
from corten.sys import process, signals

_REMOVAL_TRIES = 200
_REMOVAL_PAUSE = 0.005


def detach(name: str) -> None:
    """Leave the spawner's session; no terminal's signal and no request to end reaches a monitor."""
    os.setsid()
    signals.ignore(signals.SIGINT, signals.SIGTERM, signals.SIGHUP, signals.SIGPIPE, signals.SIGQUIT)
    process.set_name(name)


def start(spec: MonitorSpec, plan: Plan, channel: socket.socket) -> None:
    """Start a container and stand by it."""
    _begin(spec, channel, lambda stdio: launch(plan, stdio))


def execute(spec: MonitorSpec, plan: Plan, channel: socket.socket, pidfd: int, *, own_pids: bool) -> None:
    """Run one more command in a container and stand by it."""
    _begin(spec, channel, lambda stdio: join(plan, pidfd, stdio, own_pids=own_pids))


def _begin(spec: MonitorSpec, channel: socket.socket, begin: Callable[[Stdio], Init]) -> None:
    engine = EngineLink(channel)
    listener = listen(spec.socket)
    try:
        _hello(engine, spec)
        with opened_streams(spec) as (streams, theirs):
            try:
                init = begin(Stdio(*theirs))
            except OperationFailed as failure:
                engine.send({"event": "failed", **failure.encode()})
                return
        if init.master >= 0:
            streams.held[MASTER] = init.master
        watched = InitProcess(init.pid, init.pidfd, init.start_time, True, time.time_ns())
        _watch(spec, watched, streams, engine, listener)
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
    spec: MonitorSpec, init: InitProcess, streams: Streams, engine: EngineLink, listener: socket.socket | None
) -> None:
    cgroups = detect()
    Monitor(
        spec, init, streams, engine, listener,
        oom_kills=lambda: cgroups.oom_kills(spec.cgroup) if spec.cgroup else 0,
        clean=lambda: remove_group(spec.cgroup),
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
