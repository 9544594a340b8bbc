"""What an engine does when it starts: find the containers that an earlier one left running."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import re
import signal
import time
from pathlib import Path

from corten.engine import restarts
from corten.engine.clock import format_time
from corten.engine.container_network import decoded_endpoints
from corten.engine.database import Database
from corten.engine.lifecycle import Lifecycle
from corten.engine.live import Live
from corten.engine.model import Container
from corten.engine.monitors import MonitorLost, process_handle
from corten.engine.paths import Paths
from corten.engine.records import Records
from corten.errors import CortenError
from corten.network.endpoint import Endpoint
from corten.spec.monitor import ExitRecord

_log = logging.getLogger(__name__)
_ID = re.compile("[0-9a-f]{64}")
_REBOOTED = 255
_KILLED = 137


@dataclasses.dataclass(frozen=True, slots=True)
class Recovery:
    """Adopts living monitors, notes the ends that nobody noted, and starts what a restart policy wants started."""

    lifecycle: Lifecycle
    paths: Paths

    async def adopt(self) -> list[Endpoint]:
        """Adopt every monitor that lives; the network endpoints of the containers that run."""
        listening = set(os.listdir(self.paths.monitors))
        for container in self.lifecycle.records:
            if self.paths.monitor(container.id).name in listening or self._is_news(container):
                await self._adopt(container)
        self._clear_groups()
        running = [container for container in self.lifecycle.records if container.state.running]
        return [endpoint for container in running for endpoint in decoded_endpoints(container)]

    def note_places(self) -> None:
        """Record what has become of the places of containers that run: an engine without a firewall carries ports that
        one with a firewall had translated."""
        life = self.lifecycle
        for container in [one for one in life.records if one.state.running and one.endpoints]:
            endpoints = life.networks.endpoints_of(container.id)
            if endpoints and endpoints != decoded_endpoints(container):
                life.records.change(container.id, endpoints=[one.encode() for one in endpoints])

    def _clear_groups(self) -> None:
        """Groups of containers that do not run: engine and monitor were killed while one was started, before it was
        recorded, or removed."""
        life = self.lifecycle
        parent = life.planner.cgroup_parent
        runs = {container.id for container in life.records if life.lives.of(container).run is not None}
        for name in life.planner.cgroups.below(parent):
            if _ID.fullmatch(name) and name not in runs:
                _log.warning("container %s: it does not run, and has a control group: cleared", name[:12])
                life.clear_group(f"{parent}/{name}")

    def _is_news(self, container: Container) -> bool:
        """Whether it runs by its record, or ended after what its record knows (it was started in an engine's last
        moment)."""
        if container.state.running:
            return True
        word = self._last_word(container)
        return word is not None and format_time(word.finished_at) > container.state.finished_at

    async def _adopt(self, container: Container) -> None:
        live = self.lifecycle.lives.of(container)
        try:
            monitor = await self.lifecycle.launcher.adopt(container, live.feed)
        except (OSError, CortenError):
            self._note_end(container, live)
            return
        try:
            await monitor.launched
        except MonitorLost:
            monitor.close()
            self._note_end(container, live)
        except CortenError as error:
            monitor.close()
            _log.warning("container %s: its start failed while there was no engine: %s", container.id[:12], error)
        else:
            _log.info("container %s: adopted monitor %d", container.id[:12], monitor.pid)
            self.lifecycle.began(container, live, monitor, adopted=True)

    def _note_end(self, container: Container, live: Live) -> None:
        """It ran, and no monitor lives: what its monitor wrote last, or lost."""
        if not container.state.restarting:
            self.lifecycle.note_end(container, live, self._last_word(container) or self._lost(container))

    def _last_word(self, container: Container) -> ExitRecord | None:
        try:
            content = (self.paths.container(container.id) / "exit.json").read_bytes()
            return ExitRecord.decode(json.loads(content))
        except (FileNotFoundError, ValueError):
            return None

    def _lost(self, container: Container) -> ExitRecord:
        """Kill what is left of it. Boot and start time tell whether the process is the one that was recorded."""
        _log.error("container %s: its monitor is gone and left no word: recorded as lost", container.id[:12])
        with process_handle(container.state.pid, container.init_start, container.boot_id) as pidfd:
            if pidfd is not None:
                # EPERM: it was in another user namespace than this engine's, and killed before this one was made.
                with contextlib.suppress(PermissionError, ProcessLookupError):
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        same_boot = container.boot_id == self.lifecycle.boot_id
        if same_boot:
            self.lifecycle.clear_cgroup(container)
        return ExitRecord(_KILLED if same_boot else _REBOOTED, signal.SIGKILL, False, time.time_ns(), lost=True)

    async def resume(self) -> None:
        """Start what its policy wants to run, and remove the ``--rm`` containers that ended meanwhile."""
        for container in self.lifecycle.records:
            live = self.lifecycle.lives.of(container)
            if live.run is not None or container.state.status == "created":
                continue
            if self._wants_start(container):
                self.lifecycle.spawn(self._start(container))
            elif container.host.auto_remove and self.lifecycle.remove is not None:
                await self.lifecycle.remove(container.id)

    def _wants_start(self, container: Container) -> bool:
        return restarts.wants_start(
            container.host.restart_policy,
            exit_code=container.state.exit_code,
            stopped_by_user=container.stopped_by_user,
        )

    async def _start(self, container: Container) -> None:
        try:
            await self.lifecycle.start(container)
        except CortenError as error:
            _log.warning("container %s: start by its policy: %s", container.id[:12], error)


def end_abandoned(database: Path) -> None:
    """Kill what containers left running when their monitors died, before an ordinary user's engine makes a new user
    namespace: in there, it can signal no other user's processes of the old one."""
    if not database.exists():
        return
    with contextlib.closing(Database(database)) as opened:
        for container in Records(opened):
            if container.state.running:
                with process_handle(container.state.pid, container.init_start, container.boot_id) as pidfd:
                    if pidfd is not None:
                        with contextlib.suppress(ProcessLookupError):
                            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
