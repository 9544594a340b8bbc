"""Changing containers: pause, limits, names."""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import os
from collections.abc import Iterator

import msgspec

from corten.engine import honoured, legacy_links
from corten.engine.lifecycle import Lifecycle
from corten.engine.limits import validate
from corten.engine.means import Means
from corten.engine.model import Container, HostConfig, UpdateRequest
from corten.engine.names import container_name
from corten.engine.resources import resources
from corten.errors import Conflict, CortenError, InvalidInput


@dataclasses.dataclass(frozen=True, slots=True)
class Updating:
    """Changes the containers of one engine."""

    lifecycle: Lifecycle
    means: Means

    async def pause(self, container: Container) -> None:
        """Freeze. Raises Conflict."""
        life = self.lifecycle
        async with life.lives.of(container).lock:
            state = life.records.get(container.id).state
            if not state.running:
                raise Conflict(f"container {container.id} is not running")
            if state.paused:
                raise Conflict(f"container {container.id} is already paused")
            if state.restarting:
                raise Conflict(f"container {container.id} is restarting, wait until the container is running")
            path = life.planner.cgroup(container)
            try:
                await asyncio.to_thread(life.planner.cgroups.freeze, path)
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.ENODEV):  # its monitor has just removed the group
                    raise Conflict(f"container {container.id} is not running") from None
                raise CortenError.from_os("pause", f"container {container.name}", error) from error
            container = life.records.change_state(container.id, paused=True, status="paused")
        life.publish(container, "pause")

    async def unpause(self, container: Container) -> None:
        """Thaw. Raises Conflict."""
        life = self.lifecycle
        async with life.lives.of(container).lock:
            if not life.records.get(container.id).state.paused:
                raise Conflict(f"container {container.id} is not paused")
            try:
                life.planner.cgroups.thaw(life.planner.cgroup(container))
            except OSError as error:
                raise CortenError.from_os("unpause", f"container {container.name}", error) from error
            container = life.records.change_state(container.id, paused=False, status="running")
        life.publish(container, "unpause")

    async def rename(self, container: Container, new: str) -> None:
        """Give another name. Raises InvalidInput, Conflict."""
        if not new:
            raise InvalidInput("Neither old nor new names may be empty")
        name = container_name(new)
        life = self.lifecycle
        async with life.lives.of(container).lock:
            old = life.records.get(container.id).name
            if name == old:
                raise InvalidInput("Renaming a container with the same name as its current name")
            life.records.reserve(name, container.id)
            try:
                host = legacy_links.renamed(container, old, name)
                container = life.records.change(container.id, name=name, host=host)
            finally:
                life.records.release(name)
            for other in life.records:
                life.records.change(other.id, host=legacy_links.renamed(other, old, name))
        life.publish(container, "rename", oldName=f"/{old}")

    async def update(self, container: Container, request: UpdateRequest) -> list[str]:
        """Change limits and restart policy; of a running container at once. Raises InvalidInput, Conflict."""
        life = self.lifecycle
        async with life.lives.of(container).lock:
            container = life.records.get(container.id)
            wanted = request.restart_policy
            if container.host.auto_remove and wanted is not None and wanted.name not in ("", "no"):
                raise Conflict("Restart policy cannot be updated because AutoRemove is enabled for the container")
            host, warnings = self.means.settle(updated(container.host, request))
            warnings += _in_vain(request)
            warnings += honoured.warnings(msgspec.structs.replace(host, mounts=None))
            host = honoured.settle(host)
            if container.state.running:
                self._apply(container, host)
            container = life.records.change(container.id, host=host)
        life.publish(container, "update")
        return warnings

    def _apply(self, container: Container, host: HostConfig) -> None:
        """Only what changed is written: the kernel refuses some values that it would not refuse to keep."""
        old, new = resources(container.host, ()), resources(host, ())
        changed = {
            field.name: getattr(new, field.name)
            for field in dataclasses.fields(new)
            if getattr(new, field.name) != getattr(old, field.name)
        }
        planner = self.lifecycle.planner
        limits = dataclasses.replace(_NOTHING, **changed)
        if "memory" in changed or "memory_swap" in changed:
            limits = dataclasses.replace(limits, memory=new.memory, memory_swap=new.memory_swap)
        if "pids" in changed and new.pids is None:
            limits = dataclasses.replace(limits, pids=-1)  # a limit that there was is to be taken back
        if "throttle" in changed:
            kept = {rule[:3] for rule in new.throttle}
            # No rate is no limit: a rule that went is to be taken back.
            gone = tuple((*rule[:3], 0) for rule in old.throttle if rule[:3] not in kept)
            limits = dataclasses.replace(limits, throttle=(*new.throttle, *gone))
        try:
            planner.cgroups.update(planner.cgroup(container), limits)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ERANGE):  # the kernel does not take a value
                raise InvalidInput(f"update container {container.name}: {os.strerror(error.errno)}") from error
            raise CortenError.from_os("update", f"container {container.name}", error) from error


_RULES = frozenset(
    {"blkio_device_read_bps", "blkio_device_write_bps", "blkio_device_read_iops", "blkio_device_write_iops"}
)
"""An empty list of these takes all rules back."""
_FIXED = {
    "cgroup_parent": "CgroupParent", "device_cgroup_rules": "DeviceCgroupRules", "device_requests": "DeviceRequests",
    "devices": "Devices", "memory_swappiness": "MemorySwappiness", "oom_kill_disable": "OomKillDisable",
    "init": "Init", "ulimits": "Ulimits", "cpu_count": "CpuCount", "cpu_percent": "CpuPercent",
    "io_maximum_iops": "IOMaximumIOps", "io_maximum_bandwidth": "IOMaximumBandwidth",
}  # fmt: skip
"""What a container is made with: an update may name it, and dockerd does not look at it."""
_NOTHING = resources(HostConfig(), ())


def updated(host: HostConfig, request: UpdateRequest) -> HostConfig:
    """The configuration with what the request changes; zero and '' mean "as it is", as for dockerd.

    Raises InvalidInput when the whole contradicts itself.
    """
    asked = msgspec.structs.asdict(request)
    changes = {
        name: value
        for name, value in asked.items()
        if name not in _FIXED and (value or (value == [] and name in _RULES))
    }
    if request.restart_policy is not None and not request.restart_policy.name:
        del changes["restart_policy"]  # what docker sends with every update
    for name, shown in (("cpu_period", "CPU Period"), ("cpu_quota", "CPU Quota")):
        if host.nano_cpus and changes.get(name):
            raise InvalidInput(
                f"Conflicting options: {shown} cannot be updated as NanoCPUs has already been set"
            )
    if request.pids_limit is not None:
        changes["pids_limit"] = max(0, request.pids_limit)  # zero and below: no limit
    if "nano_cpus" in changes:
        changes |= {"cpu_quota": 0, "cpu_period": 0}
    if "memory" in changes and "memory_swap" not in changes and host.memory_swap > 0:
        _refuse_over_swap(int(changes["memory"]), host)
    host = msgspec.structs.replace(host, **changes)
    validate(host)
    return host


def _in_vain(request: UpdateRequest) -> Iterator[str]:
    for member, name in _FIXED.items():
        if getattr(request, member) not in (None, "", 0, [], False):
            yield f"{name} of a container cannot be updated. {name} discarded."


def _refuse_over_swap(memory: int, host: HostConfig) -> None:
    if memory > host.memory_swap:
        raise InvalidInput(
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time"
        )
