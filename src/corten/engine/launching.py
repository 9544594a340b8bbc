"""Having monitors: one for a start or an exec, another in the place of one that died."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence

from corten.engine.channel import Message
from corten.engine.log_config import log_spec
from corten.engine.logs import LogFeed
from corten.engine.model import Container
from corten.engine.monitors import Monitor, MonitorLost, Started, connect
from corten.engine.paths import Paths
from corten.engine.spawning import Spawner
from corten.errors import CortenError, Unavailable
from corten.runtime.ahead import Order
from corten.spec.monitor import MonitorSpec
from corten.spec.plan import Plan
from corten.sys import messages


class Launcher:
    """Asks the spawner for monitors. What happens to a process after it was asked for, its monitor tells."""

    def __init__(self, spawner: Spawner, paths: Paths) -> None:
        self._spawner = spawner
        self._paths = paths

    async def start(self, container: Container, plan: Plan, feed: LogFeed, cgroup: str, *, take: bool) -> Monitor:
        """Start a container; returns when its command runs. With ``take`` the engine reads its output from the first
        byte on. Raises CortenError."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._paths.container(container.id) / "exit.json")
        spec = self._spec(container, cgroup, taken=take)
        message = {"do": "start", "order": Order.of(plan).encode(), "monitor": spec.encode()}
        return await self._launch(message, tty=container.config.tty, feed=feed)

    async def exec(
        self, id: str, plan: Plan, *, init: int, own_pids: bool, tty: bool, stdin: bool, take: bool
    ) -> Monitor:
        """Run one more command beside the process of ``init``, a pidfd; returns when it runs. Raises CortenError."""
        spec = MonitorSpec(id, "exec", terminal=tty, open_stdin=stdin, durable=False, taken=take)
        message = {"do": "exec", "order": Order.of(plan).encode(), "monitor": spec.encode(), "own_pids": own_pids}
        return await self._launch(message, [init], tty=tty)

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
            mounts_linger=not any(mount.type in ("bind", "volume") for mount in container.mounts),
            taken=taken,
            log=log_spec(container.host.log_config, str(self._paths.log(container.id))),
        )

    async def _launch(
        self, message: Message, descriptors: Sequence[int] = (), *, tty: bool, feed: LogFeed | None = None
    ) -> Monitor:
        """Once more when the spawner died before the monitor said its first word: nothing was started then."""
        for last in (False, True):
            monitor = self._ask(message, descriptors, tty=tty, feed=feed)
            try:
                await monitor.launched
            except MonitorLost:
                said_hello = monitor.pid != 0
                monitor.close()
                if said_hello or last:
                    raise
            except BaseException:
                monitor.close()
                raise
            else:
                return monitor
        raise Unavailable("start a monitor: the spawner died twice")

    def _ask(self, message: Message, descriptors: Sequence[int], *, tty: bool, feed: LogFeed | None) -> Monitor:
        ours, theirs = messages.pair()
        monitor = Monitor(ours, tty=tty, feed=feed)
        with theirs:
            self._spawner.tell(message, [theirs.fileno(), *descriptors])
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
