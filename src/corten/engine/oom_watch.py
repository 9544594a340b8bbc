"""Word of containers that are out of memory and are not killed for it: their processes wait.

Of one that is killed, its end tells. Here the kernel tells by an eventfd (Documentation/admin-guide/cgroup-v1/
memory.rst, section 10), which version 1 of control groups alone has, as it alone has such containers.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable

from corten.engine.events import Event
from corten.engine.model import Container
from corten.engine.records import Records
from corten.runtime.cgroups import CgroupManager

_log = logging.getLogger(__name__)


class OomWatch:
    """Watches the running containers that have asked not to be killed."""

    def __init__(
        self, records: Records, cgroups: CgroupManager, group: Callable[[Container], str],
        publish: Callable[[Container, str], object],
    ) -> None:  # fmt: skip
        self._records, self._cgroups, self._group, self._publish = records, cgroups, group, publish
        self._watched: dict[str, int] = {}

    def heard(self, event: Event) -> None:
        """An event of the engine's."""
        if event.type == "container" and event.action in ("start", "die"):
            self._forget(event.actor)
            if event.action == "start":
                self._watch(self._records.get(event.actor))

    def resume(self) -> None:
        """Watch what an earlier engine left running."""
        for container in self._records:
            if container.state.running and container.id not in self._watched:
                self._watch(container)

    def close(self) -> None:
        """Watch nobody any more."""
        for id in (*self._watched,):
            self._forget(id)

    def _watch(self, container: Container) -> None:
        if not container.host.oom_kill_disable:
            return
        try:
            descriptor = self._cgroups.memory_pressure(self._group(container))
        except OSError as error:
            _log.warning("watch the memory of %s: %s", container.name, error)
            return
        if descriptor is not None:
            self._watched[container.id] = descriptor
            asyncio.get_running_loop().add_reader(descriptor, self._told, container.id)

    def _told(self, id: str) -> None:
        """It has no memory left; or its group is gone, of which the kernel tells in the same way."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._watched[id])
        container = self._records.get(id) if id in self._records else None
        if container is None or not self._cgroups.out_of_memory(self._group(container)):
            return
        self._publish(container, "oom")

    def _forget(self, id: str) -> None:
        if (descriptor := self._watched.pop(id, None)) is not None:
            asyncio.get_running_loop().remove_reader(descriptor)
            os.close(descriptor)
