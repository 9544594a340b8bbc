"""Removing containers."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable

from corten.engine.clock import parse_time
from corten.engine.copies import size_of_changes
from corten.engine.exec import Execs
from corten.engine.filters import Filters, check_filters, has_labels
from corten.engine.homes import Homes
from corten.engine.lifecycle import Lifecycle
from corten.engine.live import REMOVED, Exit
from corten.engine.model import Container
from corten.engine.paths import Paths
from corten.engine.standbys import Standbys
from corten.engine.stopping import Stopping
from corten.engine.timestamps import parse_timestamp
from corten.engine.volumes import Pruned, Volumes
from corten.errors import Conflict, CortenError, NotFound


@dataclasses.dataclass(frozen=True, slots=True)
class Removal:
    """Removes the containers of one engine."""

    lifecycle: Lifecycle
    stopping: Stopping
    volumes: Volumes
    execs: Execs
    homes: Homes
    paths: Paths
    standbys: Standbys

    async def remove(self, container: Container, *, force: bool = False, volumes: bool = False) -> None:
        """Remove a container, killed first with ``force``. Raises Conflict when it runs, NotFound when it is gone."""
        life = self.lifecycle
        if container.state.running:
            _refuse_running(container, force)
            await self.stopping.end(container)
        live = life.lives.of(container)
        async with live.lock:
            if container.id not in life.records:
                if container.host.auto_remove:  # its own end removed it
                    return
                raise NotFound(f"No such container: {container.id}")
            container = life.records.get(container.id)
            if live.run is not None:
                _refuse_running(container, force=False)
            if live.cleaned is not None:  # resolved when its monitor is gone, at the latest
                await asyncio.shield(live.cleaned)
            await self.standbys.forget(container.id)
            self._remove(container, volumes=volumes or container.host.auto_remove)
        live.feed.end()
        live.resolve((REMOVED, "not-running", "next-exit"), Exit(container.state.exit_code))

    def _remove(self, container: Container, *, volumes: bool) -> None:
        """The record last: what fails before can be tried again."""
        life = self.lifecycle
        life.networks.release(container.id)
        if volumes:
            names = (mount.name for mount in container.mounts if mount.type == "volume")
            self.volumes.discard_anonymous(names, of=container.id)
        self.homes.bury(container.id)
        life.records.delete(container.id)
        life.lives.forget(container.id)
        self.execs.forget(container.id)
        life.publish(container, "destroy")

    async def remove_ended(self, id: str) -> None:
        """Remove a ``--rm`` container that has ended, if nobody else has."""
        if id in self.lifecycle.records:
            await self.remove(self.lifecycle.records.get(id), volumes=True)

    async def clear_builds(self) -> None:
        """Remove the containers of builds: their builds died with an earlier engine."""
        for container in self.lifecycle.records:
            if container.of_build:
                await self.remove(container, force=True, volumes=True)

    async def prune(self, filters: Filters | None, told: Callable[[str], None]) -> Pruned:
        """Remove every container that does not run and passes (label, label!, until). Raises InvalidInput."""
        wanted = check_filters(filters, ("label", "label!", "until"))
        before = min((parse_timestamp(text) for text in wanted.get("until") or ()), default=time.time_ns())
        deleted, reclaimed = [], 0
        for container in self.lifecycle.records:
            if container.of_build or container.state.running or parse_time(container.created) > before:
                continue
            if not has_labels(container.config.labels or {}, wanted):
                continue
            size = await asyncio.to_thread(size_of_changes, self.paths.container(container.id))
            try:
                await self.remove(container)
            except CortenError:  # started, or removed, by somebody else meanwhile
                continue
            deleted.append(container.id)
            told(container.id)
            reclaimed += size
        self.lifecycle.events.publish("container", "prune", "", {"reclaimed": str(reclaimed)})
        return Pruned(tuple(deleted), reclaimed)


def _refuse_running(container: Container, force: bool) -> None:
    if force:
        return
    state = "paused" if container.state.paused else "restarting" if container.state.restarting else "running"
    unpause = "unpause and then " if state == "paused" else ""
    # The words of dockerd 20 and of its successors: tools look for either.
    raise Conflict(
        f"You cannot remove a {state} container {container.id}: container is {state}: "
        f"{unpause}stop the container before removal or force remove"
    )
