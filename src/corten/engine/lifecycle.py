"""The life of a container: started, watched, ended, restarted. Every change of its state passes through here."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec

from corten.engine import restarts
from corten.engine.clock import format_time, parse_time
from corten.engine.container_network import decoded_endpoints
from corten.engine.events import Events
from corten.engine.foresight import Foresight
from corten.engine.launching import Launcher
from corten.engine.live import NEXT_EXIT, NOT_RUNNING, Exit, Live, Lives, Run
from corten.engine.model import Container, State
from corten.engine.monitors import Monitor, MonitorLost
from corten.engine.networks import Networks
from corten.engine.planning import Planner
from corten.engine.proxying import Proxying
from corten.engine.records import Records
from corten.engine.reservations import Reservations
from corten.engine.resolution import Resolution
from corten.engine.shelf import Shelf
from corten.engine.spawning import Spawner
from corten.engine.volume_mounts import HostMounts
from corten.errors import Conflict, CortenError, NotModified, Unavailable
from corten.network.endpoint import Endpoint
from corten.runtime.ahead import Forecast
from corten.spec.monitor import ExitRecord
from corten.spec.plan import Plan
from corten.sys import process

_log = logging.getLogger(__name__)
_FAREWELL = 5.0
"""Seconds that a dismissed monitor has to leave."""
LOST = 137


@dataclasses.dataclass(slots=True)
class Lifecycle:
    """Starts, watches and ends the containers of one engine."""

    records: Records
    lives: Lives
    planner: Planner
    launcher: Launcher
    spawner: Spawner
    networks: Networks
    resolution: Resolution
    proxying: Proxying
    reservations: Reservations
    foresight: Foresight
    events: Events
    boot_id: str = dataclasses.field(default_factory=process.boot_id)
    remove: Callable[[str], Awaitable[None]] | None = None
    """What removes an ended ``--rm`` container; set by the composition."""
    mounts: HostMounts | None = None
    """What is mounted on the host for a start; set by the composition."""
    tasks: set[asyncio.Task[None]] = dataclasses.field(default_factory=set)
    shelf: Shelf | None = None
    """Where the layers are that are files."""
    leaving: bool = False
    """The engine leaves: containers that end now are not started again."""

    # --- start

    async def plan(self, container: Container) -> Plan:
        """The operations of a start; the container has its place in the network from now on."""
        async with self.lives.of(container).lock:
            return self._planned(container)[1].plan

    async def start(self, container: Container, *, plan_digest: str | None = None) -> None:
        """Start a container. Raises NotModified, Conflict, and why its command could not be started."""
        live = self.lives.of(container)
        async with live.lock:
            container = self.records.get(container.id)
            _refuse_start(container)
            self._forget_restart(live)
            live.delay = 0.0
            container = self.records.change(container.id, stopped_by_user=False, restart_count=0)
            await self._start(container, live, plan_digest)

    async def _start(self, container: Container, live: Live, plan_digest: str | None = None) -> None:
        if live.farewell is not None:
            await live.farewell
        live.feed.begin()
        try:
            endpoints, forecast = self._planned(container, shown=plan_digest)
            self.reservations.note(endpoints)
            await self.proxying.settle(container)
            endpoints = self.networks.publish(container, endpoints)

            def prepare() -> None:
                self.planner.write_etc(container, endpoints)
                self.planner.write_bundle(container)
                if endpoints:
                    sandbox = self.resolution.publish(container, endpoints)
                    # Known before the container runs: an engine that dies now finds it again.
                    self.records.change(container.id, endpoints=[one.encode() for one in endpoints], sandbox=sandbox)

            take = live.output is not None and live.output.is_wanted
            cgroup = self.planner.cgroup(container)
            if self.shelf is not None:
                await self.shelf.prepare(container)
            async with self._mounted(container):
                monitor = await self.launcher.start(
                    container, forecast, live.feed, cgroup, take=take, prepare=prepare
                )
        except BaseException as error:
            if isinstance(error, MonitorLost):  # it cannot take back what it did; its init may even run
                self.clear_cgroup(container)
            self._failed(container, live, error)
            raise
        self.began(self.records.get(container.id), live, monitor)

    @contextlib.asynccontextmanager
    async def _mounted(self, container: Container) -> AsyncIterator[None]:
        """What the start mounts of the host's, held from now on. Nearly no container has any."""
        if self.mounts is None or all(mount.type in ("bind", "tmpfs") for mount in container.mounts):
            yield
            return
        await self.mounts.hold(container)
        async with self.mounts.shown(container):
            yield

    def _planned(self, container: Container, *, shown: str | None = None) -> tuple[tuple[Endpoint, ...], Forecast]:
        """The container's places in its networks, taken from now on, and its plan; ``shown`` is the digest of the one
        that somebody has seen. Raises Conflict when it is not that one."""
        endpoints = self.networks.attach(container)
        forecast = self.foresight.forecast(container, endpoints)
        if shown is not None:
            if forecast.plan.digest() != shown:
                raise Conflict(f"start {container.name}: the plan is not the one that was shown")
        elif self.reservations.was_ahead(container) and not self.launcher.is_ready(container.id, forecast):
            endpoints = self.reservations.renew(container)
            forecast = self.foresight.forecast(container, endpoints)
        return endpoints, forecast

    def _failed(self, container: Container, live: Live, error: BaseException) -> None:
        """Nothing was started: as Docker, the record says why, and a ``--rm`` container goes."""
        self._release_network(container.id)
        self._unmount(container)
        live.feed.end()
        code = getattr(error, "exit_code", CortenError.exit_code)
        code = code if code in (126, 127) else 128
        message = str(error) or type(error).__name__
        state = msgspec.structs.replace(
            container.state, status=_ended_status(container.state), running=False, restarting=False, pid=0,
            exit_code=code, error=message,
        )  # fmt: skip
        self.records.change(container.id, state=state, endpoints=[], sandbox="")
        live.resolve((NOT_RUNNING, NEXT_EXIT), Exit(code))  # why, its starter is told
        if container.host.auto_remove and self.remove is not None:
            self.spawn(self.remove(container.id))

    def began(self, container: Container, live: Live, monitor: Monitor, *, adopted: bool = False) -> None:
        """Record that a container runs, tell the events, and watch it to its end."""
        started = monitor.launched.result()
        state = State(
            status="running", running=True, pid=started.pid, started_at=format_time(started.started_at),
            finished_at=container.state.finished_at,
        )  # fmt: skip
        if adopted and container.state.running:
            state = container.state
        if adopted and self.mounts is not None:
            self.mounts.adopt(container)
        container = self.records.change_soon(
            container.id, state=state, monitor_pid=monitor.pid, monitor_start=monitor.start_time,
            init_start=started.start_time, boot_id=self.boot_id,
        )  # fmt: skip
        if not adopted:
            self.publish_networks(container, "connect")
            self.publish(container, "start")
            self.proxying.open(container)
        live.run = Run(monitor, asyncio.get_running_loop().create_future())
        if live.output is not None:
            live.output.begin(monitor)
        live.feed.grown()  # those who wait for the run look again
        # A monitor of an earlier engine's has no spawner above it that could tell how its process ends.
        generation = 0 if adopted else self.spawner.generation
        self.spawn(self._watch(container.id, live, live.run, generation))

    # --- end

    async def _watch(self, id: str, live: Live, run: Run, generation: int) -> None:
        """See a run through, whatever happens to its monitors."""
        while True:
            try:
                ended = await run.monitor.ended
                break
            except MonitorLost:
                if self.leaving:
                    return
                if not await self._replace(self.records.get(id), live, run, generation):
                    ended = self._give_up(id, run.monitor)
                    break
        await self._ended(id, live, run, ended)

    async def _replace(self, container: Container, live: Live, run: Run, generation: int) -> bool:
        """Have a monitor again; whether there is one."""
        dead = run.monitor
        try:
            run.monitor = await self._successor(container, live, dead, generation)
        except (CortenError, OSError) as error:
            _log.error("container %s: replace its monitor: %s", container.id[:12], error)
            return False
        dead.close()
        _log.warning(
            "container %s: monitor %d was lost, %d stands by now", container.id[:12], dead.pid, run.monitor.pid
        )
        self.records.change(container.id, monitor_pid=run.monitor.pid, monitor_start=run.monitor.start_time)
        return True

    async def _successor(self, container: Container, live: Live, dead: Monitor, generation: int) -> Monitor:
        """The same monitor, if it only hung up; or another, if the process's true status can still be had: its reaper
        is the spawner that forked its monitor."""
        with contextlib.suppress(OSError, Unavailable):
            return await self.launcher.adopt(container, live.feed)
        if generation != self.spawner.generation:
            raise Unavailable("the spawner that forked it died, too")
        started = dead.launched.result()
        cgroup = self.planner.cgroup(container)
        monitor = await self.launcher.replace(container, dead, started, live.feed, cgroup)
        self.spawn(self._pass_status(started.pid, monitor))
        return monitor

    async def _pass_status(self, pid: int, monitor: Monitor) -> None:
        """Tell a replacement how its process ended: the spawner is its parent now."""
        with contextlib.suppress(Unavailable):
            monitor.init_status(await self.spawner.status_of(pid))

    def _give_up(self, id: str, monitor: Monitor) -> ExitRecord:
        """Monitor and spawner both died: nobody will know how it ends. It is killed and recorded as lost."""
        _log.error("container %s: monitor and spawner died, it is killed and recorded as lost", id[:12])
        monitor.signal(signal.SIGKILL)
        self.clear_cgroup(self.records.get(id))
        return ExitRecord(LOST, signal.SIGKILL, False, time.time_ns(), lost=True)

    def clear_cgroup(self, container: Container) -> None:
        """What the monitor would have done: kill what is left in the group and remove it."""
        self.clear_group(self.planner.cgroup(container))

    def clear_group(self, path: str) -> asyncio.Task[None]:
        """Kill what is in a control group, and remove it: the removal may take a while."""
        try:
            self.planner.cgroups.kill(path)
        except OSError as error:
            _log.warning("control group %s: kill its processes: %s", path, error)
        return self.spawn(self._remove_cgroup(path))

    async def _remove_cgroup(self, path: str) -> None:
        for pause in (0.001, 0.01, 0.1, 1.0):
            if self.planner.cgroups.remove(path):
                return
            await asyncio.sleep(pause)
        _log.warning("control group %s: it still has processes", path)

    async def _ended(self, id: str, live: Live, run: Run, ended: ExitRecord) -> None:
        async with live.lock:
            if live.output is not None:
                await live.output.finish()
            self.note_end(self.records.get(id), live, ended)
            live.run = None
            run.monitor.dismiss()
            self.after_end(self.records.get(id), live)
            run.over.set_result(None)
            live.cleaned = run.monitor.cleaned
            live.farewell = self.spawn(self._farewell(run.monitor))

    def note_end(self, container: Container, live: Live, ended: ExitRecord) -> None:
        """Record that a run is over, tell the events, and let what it had go."""
        self._release_network(container.id)
        self._unmount(container)
        old = container.state
        error = "the container was lost: its monitor and the spawner died" if ended.lost else ""
        state = msgspec.structs.replace(
            old, status="exited", running=False, paused=False, pid=0, exit_code=ended.exit_code,
            oom_killed=ended.oom_killed, error=error, finished_at=format_time(ended.finished_at),
        )  # fmt: skip
        self.records.change_soon(container.id, state=state, monitor_pid=0, monitor_start=0, endpoints=[], sandbox="")
        live.feed.end()
        if ended.oom_killed:
            self.publish(container, "oom")
        self.publish_networks(container, "disconnect")
        seconds = (ended.finished_at - parse_time(old.started_at)) // 10**9
        self.publish(container, "die", exitCode=str(ended.exit_code), execDuration=str(max(0, seconds)))

    def _unmount(self, container: Container) -> None:
        if self.mounts is not None and container.mounts:
            try:
                self.mounts.release(container)
            except OSError as error:
                _log.warning("container %s: unmount its volumes: %s", container.id[:12], error)

    def _release_network(self, id: str) -> None:
        self.resolution.forget(id)
        self.proxying.release(id)
        self.networks.release(id)

    def after_end(self, container: Container, live: Live) -> None:
        """Start it again, remove it, or tell those who wait that it is over."""
        how = Exit(container.state.exit_code)
        policy = container.host.restart_policy
        again = not self.leaving and restarts.wants_restart(
            policy, exit_code=how.code, restarts=container.restart_count, stopped_by_user=container.stopped_by_user
        )
        # As dockerd: whoever waits is told of this end, though the container is to start again.
        live.resolve((NEXT_EXIT, NOT_RUNNING), how)
        if again:
            self._schedule_restart(container, live)
            return
        if container.host.auto_remove and self.remove is not None and not live.kept:
            self.spawn(self.remove(container.id))

    async def _farewell(self, monitor: Monitor) -> None:
        """A monitor that is gone holds neither the adoption socket nor the log nor a mount: another may come."""
        try:
            async with asyncio.timeout(_FAREWELL):
                await asyncio.shield(monitor.gone)
        except TimeoutError:
            _log.warning("monitor %d: it does not leave", monitor.pid)
        monitor.close()

    # --- restart by policy

    def _schedule_restart(self, container: Container, live: Live) -> None:
        state = container.state
        ran = (parse_time(state.finished_at) - parse_time(state.started_at)) / 1e9
        live.delay = restarts.delay(live.delay, ran)
        self.records.change_state(container.id, status="restarting", restarting=True, running=True)
        live.restarting = self.spawn(self._restart_after(container.id, live))

    async def _restart_after(self, id: str, live: Live) -> None:
        await asyncio.sleep(live.delay)
        async with live.lock:
            container = self.records.get(id)
            live.restarting = None
            # It stays "restarting" until it runs: who looks meanwhile must not take it for ended.
            container = self.records.change(id, restart_count=container.restart_count + 1)
            try:
                await self._start(container, live)
            except CortenError as error:
                _log.warning("container %s: restart: %s", id[:12], error)

    def _forget_restart(self, live: Live) -> bool:
        """Whether one was due."""
        task, live.restarting = live.restarting, None
        if task is not None:
            task.cancel()
        return task is not None

    def cancel_restart(self, container: Container, live: Live) -> bool:
        """End a container that waits for its next start. Whether it did."""
        if not self._forget_restart(live):
            return False
        container = self.records.change_state(container.id, status="exited", restarting=False, running=False)
        live.resolve((NOT_RUNNING,), Exit(container.state.exit_code))
        return True

    # --- telling

    def publish(self, container: Container, action: str, **attributes: str) -> None:
        """An event of a container: with its labels, image and name."""
        about = {**(container.config.labels or {}), "image": container.config.image, "name": container.name}
        self.events.publish("container", action, container.id, {**about, **attributes})

    def publish_networks(self, container: Container, action: str) -> None:
        """An event of each network that a container joined or left."""
        for endpoint in decoded_endpoints(container, ports=False):
            self.publish_network(endpoint, action)

    def publish_network(self, endpoint: Endpoint, action: str) -> None:
        """An event of the network that a container joined or left."""
        about = {"container": endpoint.container_id, "name": endpoint.network, "type": endpoint.driver}
        self.events.publish("network", action, endpoint.network_id, about)

    def spawn(self, work: Awaitable[None]) -> asyncio.Task[None]:
        """Run something beside; its failure is logged."""
        task = asyncio.ensure_future(self._logged(work))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def _logged(self, work: Awaitable[None]) -> None:
        try:
            await work
        except asyncio.CancelledError:
            raise
        except Exception:  # noqa: BLE001  a bug in one container's task must not end the engine
            _log.exception("a task of the engine failed")


def _refuse_start(container: Container) -> None:
    state = container.state
    if state.paused:
        raise Conflict("cannot start a paused container, try unpause instead")
    if state.running and not state.restarting:
        raise NotModified(f"container {container.id} is already running")
    if state.status == "removing" or state.dead:
        raise Conflict("container is marked for removal and cannot be started")


def _ended_status(state: State) -> str:
    return "created" if state.status == "created" else "exited"
