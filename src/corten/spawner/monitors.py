"""What a fork of the spawner does to become a monitor: have something started and watch it, or take a dead one's
place."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from corten.monitor.engine_link import EngineLink
from corten.monitor.monitor import InitProcess, Monitor, listen, unlisten
from corten.monitor.streams import Streams
from corten.runtime import latch, shelf
from corten.runtime.ahead import Ahead
from corten.runtime.cgroups import detect
from corten.runtime.failure import OperationFailed
from corten.runtime.stages.launch import undo
from corten.spawner.starter import Starter
from corten.spec.monitor import CONTAINER, EXEC, LISTENER, MOUNTS, PIDFD, MonitorSpec
from corten.spec.operation import HOST, PARENT
from corten.sys import messages, process, signals

NAMES = {CONTAINER: "corten-monitor", EXEC: "corten-exec"}
STANDBY = "corten-standby"
_REMOVAL_TRIES = 200
_REMOVAL_PAUSE = 0.005


def detach(name: str) -> None:
    """Leave the spawner's session; no terminal's signal and no request to end reaches a monitor."""
    os.setsid()
    signals.ignore(signals.SIGINT, signals.SIGTERM, signals.SIGHUP, signals.SIGPIPE, signals.SIGQUIT)
    process.set_name(name)


def watch(channel: socket.socket, launch: Callable[[Starter], None], ahead: Ahead) -> None:
    """Have a starter start something, and stand by it to its end. What cannot be started, the starter tells the
    engine. Where nothing was done ``ahead`` it may be a child of the starter's, which falls to this process."""
    adopts = not ahead.steps
    if adopts:
        process.set_subreaper()
    ours, theirs = messages.pair()
    monitor = os.getpid()
    starter = os.fork()
    if starter == 0:
        ours.close()
        _launch(launch, channel, theirs, monitor)
    theirs.close()
    shelf.let_go()  # it would keep every layer that there is for as long as this container runs
    try:
        with ours:
            message, descriptors = messages.receive(ours)
    except messages.Closed:
        _reap()
        return
    if ahead.poised:
        os.waitpid(starter, 0)
        watch_poised(channel, message, descriptors, ahead)
        return
    spec = MonitorSpec.decode(message["monitor"])
    if adopts and spec.kind == CONTAINER:  # whose orphans are its own init's or, in the host's namespace, the spawner's
        process.set_subreaper(False)
    process.set_name(NAMES[spec.kind])
    named = dict(zip(message["fds"], descriptors, strict=True))
    listener = socket.socket(fileno=named.pop(LISTENER)) if LISTENER in named else None
    if listener is not None:
        listener.listen(1)  # again: who knocks is shown the process that did (SO_PEERCRED), and the starter is gone
    init = _init(message, named, child=True)

    def say(monitor: Monitor) -> None:
        if message["told"]:
            monitor.say_log()
        else:
            monitor.say_running()

    if spec.kind == EXEC:  # its command may be the starter's child until that is gone
        os.waitpid(starter, 0)
        starter = 0
    _watch(spec, init, named, EngineLink(channel), listener, say, starter)


def watch_poised(channel: socket.socket, message: Mapping[str, Any], descriptors: list[int], ahead: Ahead) -> None:
    """Stand by beside an init that waits for its command, of which the engine tells it; watch it from the moment on
    that the engine names the container. Until its command runs, the engine may take that back."""
    named = dict(zip(message["fds"], descriptors, strict=True))
    init = _init(message, named, child=True)
    request = _request(channel, init)
    if request is None:
        _take_back(init, ahead, again=False)
        return
    spec = MonitorSpec.decode(request["monitor"])
    process.set_name(NAMES[spec.kind])
    init = dataclasses.replace(init, started_at=time.time_ns())

    def waits() -> bool:
        return process.name(init.pid) == latch.NAME

    def take_back() -> None:
        _take_back(init, ahead, again=True)

    engine, listener = EngineLink(channel), listen(spec.socket)
    _watch(spec, init, named, engine, listener, Monitor.say_log, waits=waits, take_back=take_back)


def _request(channel: socket.socket, init: InitProcess) -> dict[str, Any] | None:
    """What the engine wants to start. None when it is nothing, or the engine is gone, or the init is."""
    poll = select.poll()
    poll.register(channel, select.POLLIN)
    poll.register(init.pidfd, select.POLLIN)
    if channel.fileno() not in dict(poll.poll()):  # else its command may have ended already
        return None
    try:
        request, _ = messages.receive(channel)
    except messages.Closed:
        return None
    return request if request["do"] == "start" else None


def _take_back(init: InitProcess, ahead: Ahead, *, again: bool) -> None:
    """End an init whose command does not run, and undo what was done for it on the host.

    ``again``: another one is to be started in its place. Its cables are removed first: those of a network namespace
    that has lost its last process, the kernel takes down in its own time, and they keep their names until then.
    """
    steps, _, plugged, _ = ahead.plans()
    if again:
        undo(plugged.stage(PARENT))
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(init.pidfd, signal.SIGKILL)
    os.waitpid(init.pid, 0)
    undo(steps.stage(HOST))


def _launch(
    launch: Callable[[Starter], None], channel: socket.socket, line: socket.socket, monitor: int
) -> None:
    """In the fork: launch, and never return into the monitor. Without that, nothing is to be started. What failed for a
    container, the engine is told; who stood by for none leaves a line in the log, and another takes the place."""
    try:
        process.die_with_parent()
        if os.getppid() == monitor:
            launch(Starter(channel, line))
    except OperationFailed as failure:
        print(f"stand by: {failure.message}", file=sys.stderr)
    except (BrokenPipeError, messages.Closed) as error:  # an engine that was killed while it waited
        print(f"start: who asked for it is gone: {error}", file=sys.stderr)
    except BaseException:  # noqa: BLE001  whatever happened
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(1)


def _reap() -> None:
    """The starter, and an init that did not come to execute anything."""
    try:
        while True:
            os.wait()
    except ChildProcessError:
        return


def _init(message: Mapping[str, Any], named: dict[str, int], *, child: bool) -> InitProcess:
    init = message["init"]
    started_at = int(message.get("started_at", 0))
    return InitProcess(int(init["pid"]), named.pop(PIDFD), int(init["start_time"]), child, started_at)


def _watch(
    spec: MonitorSpec, init: InitProcess, named: dict[str, int], engine: EngineLink, listener: socket.socket | None,
    say: Callable[[Monitor], None] = Monitor.say_running, starter: int = 0, *, waits: Callable[[], bool] = bool,
    take_back: Callable[[], None] = lambda: None,
) -> None:  # fmt: skip
    """``named`` are the descriptors of its streams, and of its mount namespace where that is held open; ``say`` comes
    first: the engine waits for it. What the engine takes back, it waits for, too: for the end of the line to it."""
    cgroups, mounts = detect(), named.pop(MOUNTS, -1)

    def clean() -> None:
        remove_group(spec.cgroup)
        engine.send({"event": "cleaned"})
        if mounts >= 0:
            os.close(mounts)

    try:
        monitor = Monitor(
            spec, init, Streams(named), engine, listener,
            oom_kills=lambda: cgroups.oom_kills(spec.cgroup) if spec.cgroup else 0,
            clean=clean, starter=starter, waits=waits,
        )  # fmt: skip
        say(monitor)
        if not monitor.run():
            take_back()
    finally:
        unlisten(listener, spec.socket)
        engine.close()


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


def replace(message: Mapping[str, Any], channel: socket.socket, descriptors: Sequence[int]) -> None:
    """Take the place of a monitor that was killed: its init and its streams, held by the engine meanwhile."""
    spec = MonitorSpec.decode(message["monitor"])
    named = dict(zip(message["fds"], descriptors, strict=True))
    engine = EngineLink(channel)
    engine.hello(spec.id, os.getpid())
    _watch(spec, _init(message, named, child=False), named, engine, listen(spec.socket))
