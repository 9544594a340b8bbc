"""Control groups version 2: the unified hierarchy (Documentation/admin-guide/cgroup-v2.rst)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from corten.runtime.cgroups import CpuTime, Memory, Statistics
from corten.runtime.cgroups.limits import v2_settings
from corten.runtime.cgroups.reading import number, pairs, read, subgroups, wait_for, walk_processes
from corten.runtime.operations.cgroups import (
    CgroupCreate,
    CgroupDeviceFilter,
    CgroupJoin,
    CgroupWrite,
    enable,
    remove_groups,
    write,
)
from corten.spec.operation import Operation
from corten.spec.runtime import Resources

_DELEGATED = ("cpuset", "cpu", "io", "memory", "pids")
_OPTIONAL = ("memory.swap.max", "io.weight")


class CgroupV2:
    """The unified hierarchy at ``mount``, or the part of it that was ``delegated`` to this user; ``home`` is the
    directory of the group that this process was started in ('' for the root)."""

    version = 2
    present = True

    def __init__(self, mount: str, *, home: str = "") -> None:
        self._mount = mount
        self._home = home or mount
        self.controllers = frozenset(read(f"{mount}/cgroup.controllers", missing="").split())

    def _file(self, path: str, name: str) -> str:
        return f"{self._mount}/{path}/{name}"

    def operations(self, path: str, resources: Resources) -> list[Operation]:
        steps: list[Operation] = [CgroupCreate(self._mount, path, delegate=_DELEGATED)]
        steps += (
            CgroupWrite(self._file(path, name), value, reason, name in _OPTIONAL)
            for name, value, reason in v2_settings(resources)
        )
        if resources.devices:
            rules = tuple((r.allow, r.type, r.major, r.minor, r.access) for r in resources.devices)
            steps.append(CgroupDeviceFilter(f"{self._mount}/{path}", rules))
        steps.append(CgroupJoin(self.join_files(path)))
        return steps

    def visible(self) -> tuple[tuple[str, str], ...]:
        return ()

    def directories(self, path: str) -> tuple[str, ...]:
        return (f"{self._mount}/{path}",)

    def join_files(self, path: str) -> tuple[str, ...]:
        return (self._file(path, "cgroup.procs"),)

    def leave_files(self) -> tuple[str, ...]:
        return (f"{self._home}/cgroup.procs",)

    def update(self, path: str, resources: Resources) -> None:
        for name, value, _ in v2_settings(resources):
            try:
                write(self._file(path, name), value)
            except FileNotFoundError:
                if name not in _OPTIONAL:
                    raise

    def freeze(self, path: str) -> None:
        write(self._file(path, "cgroup.freeze"), "1")
        wait_for(lambda: dict(pairs(self._file(path, "cgroup.events"))).get("frozen") == 1)

    def thaw(self, path: str) -> None:
        write(self._file(path, "cgroup.freeze"), "0")

    def frozen(self, path: str) -> bool:
        return read(self._file(path, "cgroup.freeze")).strip() == "1"

    def favour(self, path: str, containers: int) -> None:
        at = self._mount
        for name in path.split("/"):
            enable(at, _DELEGATED)
            at = f"{at}/{name}"
        write(f"{at}/cpu.weight", str(containers * 100))

    def oom_kills(self, path: str) -> int:
        return dict(pairs(self._file(path, "memory.events"))).get("oom_kill", 0)

    def out_of_memory(self, path: str) -> bool:
        return False

    def memory_pressure(self, path: str) -> int | None:
        return None

    def processes(self, path: str) -> list[int]:
        return walk_processes(f"{self._mount}/{path}")

    def below(self, path: str) -> set[str]:
        return set(subgroups(f"{self._mount}/{path}"))

    def kill(self, path: str) -> None:
        """cgroup.kill (Linux 5.14), which no fork escapes."""
        with contextlib.suppress(FileNotFoundError):
            write(self._file(path, "cgroup.kill"), "1")

    def remove(self, path: str) -> bool:
        return remove_groups(f"{self._mount}/{path}")

    def statistics(self, path: str) -> Statistics:
        cpu = dict(pairs(self._file(path, "cpu.stat")))
        microsecond = 1000
        return Statistics(
            CpuTime(
                total=cpu.get("usage_usec", 0) * microsecond,
                user=cpu.get("user_usec", 0) * microsecond,
                system=cpu.get("system_usec", 0) * microsecond,
                periods=cpu.get("nr_periods", 0),
                throttled_periods=cpu.get("nr_throttled", 0),
                throttled_time=cpu.get("throttled_usec", 0) * microsecond,
            ),
            self._memory(path),
            number(self._file(path, "pids.current"), default=0) or 0,
            number(self._file(path, "pids.max"), default=0) or 0,
            tuple(self._io(path)),
        )

    def _memory(self, path: str) -> Memory:
        return Memory(
            usage=number(self._file(path, "memory.current"), default=0) or 0,
            peak=number(self._file(path, "memory.peak"), default=0) or 0,
            limit=number(self._file(path, "memory.max"), default=0) or 0,
            failures=dict(pairs(self._file(path, "memory.events"))).get("max", 0),
            detail=tuple(pairs(self._file(path, "memory.stat"))),
        )

    def _io(self, path: str) -> Iterator[tuple[int, int, str, int, int]]:
        for line in read(self._file(path, "io.stat"), missing="").splitlines():
            device, *fields = line.split()
            values = dict(field.split("=") for field in fields if "=" in field)
            major, _, minor = device.partition(":")
            for direction, letter in (("read", "r"), ("write", "w")):
                size, count = (int(values.get(f"{letter}{name}", 0)) for name in ("bytes", "ios"))
                yield int(major), int(minor), direction, size, count
