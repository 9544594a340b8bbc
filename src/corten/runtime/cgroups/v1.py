"""Control groups version 1: one hierarchy a controller (hybrid machines included)."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable, Iterator, Mapping

from corten.runtime.cgroups import CpuTime, Memory, Statistics
from corten.runtime.cgroups.limits import v1_settings
from corten.runtime.cgroups.reading import number, pairs, read, subgroups, wait_for, walk_processes
from corten.runtime.operations.cgroups import (
    CgroupCreate,
    CgroupDeviceRules,
    CgroupJoin,
    CgroupRealtime,
    CgroupWrite,
    remove_groups,
    write,
)
from corten.spec.operation import Operation
from corten.spec.runtime import Resources

_USED = ("memory", "cpu", "cpuacct", "cpuset", "pids", "devices", "freezer", "blkio")
_MODERN = {"blkio": "io"}
_NO_LIMIT = 1 << 62
_OPTIONAL = ("memory.memsw.limit_in_bytes", "blkio.bfq.weight")


class CgroupV1:
    """The controllers of ``mounts`` ((name, directory) pairs)."""

    version = 1
    present = True

    def __init__(self, mounts: Iterable[tuple[str, str]]) -> None:
        present = dict(mounts)
        self._present: Mapping[str, str] = present
        self._mounts: Mapping[str, str] = {name: present[name] for name in _USED if name in present}
        self.controllers = frozenset(_MODERN.get(name, name) for name in self._mounts)

    def _file(self, controller: str, path: str, name: str) -> str:
        return f"{self._mounts[controller]}/{path}/{name}"

    def _directories(self) -> Iterator[tuple[str, str]]:
        """(controller, mount), each mount once: cpu and cpuacct are usually together."""
        seen = set()
        for controller, mount in self._mounts.items():
            if mount not in seen:
                seen.add(mount)
                yield controller, mount

    def operations(self, path: str, resources: Resources) -> list[Operation]:
        steps: list[Operation] = []
        for controller, mount in self._directories():
            inherit = ("cpuset.cpus", "cpuset.mems") if controller == "cpuset" else ()
            steps.append(CgroupCreate(mount, path, inherit))
        devices = []
        for controller, (name, value, reason) in v1_settings(resources):
            if controller == "devices":
                devices.append((name, value))
            else:
                steps.append(CgroupWrite(self._file(controller, path, name), value, reason, name in _OPTIONAL))
        if resources.cpu_rt_period or resources.cpu_rt_runtime:
            steps.append(
                CgroupRealtime(self._mounts["cpu"], path, resources.cpu_rt_period, resources.cpu_rt_runtime)
            )
        if devices:
            steps.append(CgroupDeviceRules(f"{self._mounts['devices']}/{path}", tuple(devices)))
        steps.append(CgroupJoin(self.join_files(path)))
        return steps

    def visible(self) -> tuple[tuple[str, str], ...]:
        # A hierarchy can only be mounted by all of its controllers, those that nothing is limited by included.
        shared = [
            ",".join(name for name, place in self._present.items() if place == mount)
            for _, mount in self._directories()
        ]
        return tuple((names, names) for names in shared)

    def directories(self, path: str) -> tuple[str, ...]:
        return tuple(f"{mount}/{path}" for _, mount in self._directories())

    def join_files(self, path: str) -> tuple[str, ...]:
        # A single thread enters by ``tasks``: cgroup.procs takes a lock over all of the machine's forks.
        return tuple(f"{mount}/{path}/tasks" for _, mount in self._directories())

    def leave_files(self) -> tuple[str, ...]:
        return self.join_files(".")

    def update(self, path: str, resources: Resources) -> None:
        current = number(self._file("memory", path, "memory.memsw.limit_in_bytes"), default=None)
        for controller, (name, value, _) in v1_settings(resources, current):
            try:
                write(self._file(controller, path, name), value)
            except FileNotFoundError:
                if name not in _OPTIONAL:
                    raise
        if resources.cpu_rt_period or resources.cpu_rt_runtime:
            from corten.runtime.cgroups.realtime import give

            give(self._mounts["cpu"], path, resources.cpu_rt_period, resources.cpu_rt_runtime)

    def freeze(self, path: str) -> None:
        file = self._file("freezer", path, "freezer.state")
        write(file, "FROZEN")
        # A task in the middle of a fork keeps the group FREEZING: each look, and each write, tries again.
        wait_for(lambda: read(file).strip() == "FROZEN", retry=lambda: write(file, "FROZEN"))

    def thaw(self, path: str) -> None:
        write(self._file("freezer", path, "freezer.state"), "THAWED")

    def frozen(self, path: str) -> bool:
        return read(self._file("freezer", path, "freezer.state")).strip() != "THAWED"

    def favour(self, path: str, containers: int) -> None:
        if "cpu" in self._mounts:
            write(self._file("cpu", path, "cpu.shares"), str(containers * 1024))

    def oom_kills(self, path: str) -> int:
        return dict(pairs(self._file("memory", path, "memory.oom_control"))).get("oom_kill", 0)

    def out_of_memory(self, path: str) -> bool:
        return dict(pairs(self._file("memory", path, "memory.oom_control"))).get("under_oom", 0) != 0

    def memory_pressure(self, path: str) -> int | None:
        told = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        try:
            control = os.open(self._file("memory", path, "memory.oom_control"), os.O_RDONLY | os.O_CLOEXEC)
            try:
                write(self._file("memory", path, "cgroup.event_control"), f"{told} {control}")
            finally:
                os.close(control)
        except OSError:
            os.close(told)
            raise
        return told

    def processes(self, path: str) -> list[int]:
        return walk_processes(f"{self._mounts['freezer' if 'freezer' in self._mounts else 'pids']}/{path}")

    def below(self, path: str) -> set[str]:
        return {name for _, mount in self._directories() for name in subgroups(f"{mount}/{path}")}

    def kill(self, path: str) -> None:
        """Frozen first, so that nothing forks away; a kill is delivered at the thaw."""
        with contextlib.suppress(FileNotFoundError):
            self.freeze(path)
            try:
                for pid in self.processes(path):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            finally:
                self.thaw(path)

    def remove(self, path: str) -> bool:
        gone = True
        for _, mount in self._directories():
            gone = remove_groups(f"{mount}/{path}") and gone
        return gone

    def statistics(self, path: str) -> Statistics:
        limit = number(self._file("pids", path, "pids.max"), default=0) or 0
        return Statistics(
            self._cpu(path), self._memory(path), number(self._file("pids", path, "pids.current"), default=0) or 0,
            limit, tuple(self._io(path)),
        )  # fmt: skip

    def _cpu(self, path: str) -> CpuTime:
        throttling = dict(pairs(self._file("cpu", path, "cpu.stat")))
        return CpuTime(
            total=int(read(self._file("cpuacct", path, "cpuacct.usage"))),
            user=int(read(self._file("cpuacct", path, "cpuacct.usage_user"))),
            system=int(read(self._file("cpuacct", path, "cpuacct.usage_sys"))),
            per_cpu=tuple(int(n) for n in read(self._file("cpuacct", path, "cpuacct.usage_percpu")).split()),
            periods=throttling.get("nr_periods", 0),
            throttled_periods=throttling.get("nr_throttled", 0),
            throttled_time=throttling.get("throttled_time", 0),
        )

    def _memory(self, path: str) -> Memory:
        limit = number(self._file("memory", path, "memory.limit_in_bytes"), default=0) or 0
        return Memory(
            usage=int(read(self._file("memory", path, "memory.usage_in_bytes"))),
            peak=int(read(self._file("memory", path, "memory.max_usage_in_bytes"))),
            limit=0 if limit >= _NO_LIMIT else limit,
            failures=int(read(self._file("memory", path, "memory.failcnt"))),
            detail=tuple(pairs(self._file("memory", path, "memory.stat"))),
        )

    def _io(self, path: str) -> Iterator[tuple[int, int, str, int, int]]:
        counted: dict[tuple[str, str], list[int]] = {}
        for index, name in enumerate(("io_service_bytes_recursive", "io_serviced_recursive")):
            for line in read(self._file("blkio", path, f"blkio.throttle.{name}"), missing="").splitlines():
                fields = line.split()
                if len(fields) == 3 and fields[1] in ("Read", "Write"):
                    counted.setdefault((fields[0], fields[1].lower()), [0, 0])[index] = int(fields[2])
        for (device, direction), (size, operations) in counted.items():
            major, minor = device.split(":")
            yield int(major), int(minor), direction, size, operations
