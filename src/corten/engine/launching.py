"""Having monitors: one for a start or an exec, another in the place of one that died."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Sequence

from corten.engine.channel import Message
from corten.engine.log_config import log_spec
from corten.engine.logs import LogFeed
from corten.engine.model import Container
from corten.engine.monitors import Monitor, MonitorLost, Started, Unfit, connect
from corten.engine.paths import Paths
from corten.engine.spawning import Spawner
from corten.engine.standbys import Standbys
from corten.errors import CortenError, Unavailable
from corten.runtime.ahead import Ahead, Forecast
from corten.spec.monitor import EXEC, MonitorSpec
from corten.spec.plan import Plan
from corten.sys import messages


class Launcher:
    """Asks the spawner for monitors. What happens to a process after it was asked for, its monitor tells."""

    def __init__(self, spawner: Spawner, standbys: Standbys, paths: Paths) -> None:
        self._spawner, self._standbys = spawner, standbys
        self._paths = paths

    async def start(
        self, container: Container, forecast: Forecast, feed: LogFeed, cgroup: str, *, take: bool,
        prepare: Callable[[], None],
    ) -> Monitor:  # fmt: skip
        """Start a container; returns when its command runs. With ``take`` the engine reads its output from the first
        byte on. ``prepare`` is done while the monitor gets ready, before anything of the container's. Raises
        CortenError."""
        if container.state.status != "created":  # else there may be room for the record, and nothing in it
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._paths.container(container.id) / "exit.json")
        spec = self._spec(container, cgroup, taken=take)
        if spec.log.remote:
            from corten.engine import log_reach

            await log_reach.check(spec.log.remote)
        return await self._launch("start", forecast, spec, feed=feed, prepare=prepare)

    async def exec(
        self, id: str, forecast: Forecast, *, init: int, own_pids: bool, spawns: bool, tty: bool, stdin: bool,
        take: bool,
    ) -> Monitor:  # fmt: skip
        """Run one more command beside the process of ``init``, a pidfd; returns when it runs. ``spawns``: see
        :func:`corten.runtime.stages.join.spawn`. Raises CortenError."""
        spec = MonitorSpec(id, EXEC, terminal=tty, open_stdin=stdin, durable=False, taken=take)
        return await self._launch("exec", forecast, spec, [init], own_pids=own_pids, spawns=spawns)

    def has_ready(self, id: str, plan: Plan, *, listens: bool) -> frozenset[int]:
        """The places of a plan's operations that one who stands by has done already for a container; ``listens``: see
        :meth:`corten.runtime.ahead.Forecast.of`."""
        forecast = Forecast.of(plan, listens=listens)
        return forecast.done(self._standbys.ready_for(id, forecast))

    def is_ready(self, id: str, forecast: Forecast) -> bool:
        """Whether somebody stands by for a start as it is."""
        return self._standbys.ready_for(id, forecast).stands

    def _spec(self, container: Container, cgroup: str, *, taken: bool = False) -> MonitorSpec:
        return MonitorSpec(
            container.id,
            "container",
            directory=str(self._paths.container(container.id)),
            socket=str(self._paths.monitor(container.id)),
            terminal=container.config.tty,
            open_stdin=container.config.open_stdin,
            durable=not container.host.auto_remove,
            cgroup=cgroup,
            # A volume's or a bind's file system may be unmounted by who heard of the container's end.
            mounts_linger=not (
                any(mount.type in ("bind", "volume") for mount in container.mounts) or container.host.device_requests
            ),
            taken=taken,
            log=log_spec(container, self._paths),
        )

    async def _launch(
        self, do: str, forecast: Forecast, spec: MonitorSpec, descriptors: Sequence[int] = (), *,
        feed: LogFeed | None = None, prepare: Callable[[], None] | None = None, **members: object,
    ) -> Monitor:  # fmt: skip
        """Once more when the monitor died before its first word, or the spawner: nothing was started then; and when an
        init that was poised could not execute the command."""
        message: Message = {"do": do, "monitor": spec.encode(), **members}
        for last in (False, True):
            with self._standbys.under_way():
                monitor, command = await self._ask(message, forecast, descriptors, tty=spec.terminal, feed=feed)
                try:
                    if prepare is not None:
                        prepare()
                        monitor.go(command)
                    await monitor.launched
                except Unfit:
                    await self._standbys.take_back(spec.id, monitor)
                    forecast = dataclasses.replace(forecast, poised="")
                except MonitorLost:
                    said_hello = monitor.pid != 0
                    monitor.close()
                    if said_hello or last:
                        raise
                except BaseException:
                    monitor.take_back()
                    monitor.close()
                    raise
                else:
                    return monitor
        raise Unavailable("start a monitor: the spawner died twice")

    async def _ask(
        self, message: Message, forecast: Forecast, descriptors: Sequence[int], *, tty: bool, feed: LogFeed | None
    ) -> tuple[Monitor, bytes]:
        """The monitor that was asked, and what an init that is poised is to be given."""
        id = message["monitor"]["id"] if message["do"] == "start" else ""
        monitor, done = await self._standbys.take(id, forecast, message)
        command = b""
        if monitor is not None and done.poised:
            command = forecast.command(monitor.home)
        else:
            message["order"] = forecast.order(done).encode()
        monitor = monitor or self._forked()  # there, the request waits in the socket until it stands by
        monitor.employ(message, descriptors, tty=tty, feed=feed)
        return monitor, command

    def _forked(self) -> Monitor:
        ours, theirs = messages.pair()
        monitor = Monitor(ours)
        with theirs:
            request: Message = {"do": "stand-by", "home": "", "ahead": Ahead().encode(), "likely": {}}
            self._spawner.tell(request, [theirs.fileno()])
        return monitor

    async def adopt(self, container: Container, feed: LogFeed) -> Monitor:
        """The living monitor of a container that runs. Raises OSError when there is none, Unavailable."""
        path = str(self._paths.monitor(container.id))
        return await connect(path, tty=container.config.tty, feed=feed)

    async def replace(
        self, container: Container, dead: Monitor, started: Started, feed: LogFeed, cgroup: str
    ) -> Monitor:
        """A monitor in the place of a dead one, with the descriptors that the engine holds. Raises CortenError."""
        names, held = dead.lend()
        message: Message = {
            "do": "replace",
            "monitor": self._spec(container, cgroup).encode(),
            "init": {"pid": started.pid, "start_time": started.start_time},
            "started_at": started.started_at,
            "fds": names,
        }
        ours, theirs = messages.pair()
        monitor = Monitor(ours, tty=container.config.tty, feed=feed)
        try:
            with theirs:
                await self._spawner.request(message, [theirs.fileno(), *held])
            await monitor.launched
        except CortenError:
            monitor.close()
            raise
        return monitor
