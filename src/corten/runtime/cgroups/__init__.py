"""Control groups, versions 1 and 2, behind one interface.

A container has one group, named by a path below the mount (``corten/<id>``); a :class:`CgroupManager` knows how that
path is spread over controllers. Setting a group up is a list of operations (they belong in the plan); what happens
later to a living group (pause, update, statistics, removal) is a method.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Sequence
from typing import Protocol

from corten.spec.operation import Operation
from corten.spec.runtime import Resources


@dataclasses.dataclass(frozen=True, slots=True)
class CpuTime:
    """CPU time in nanoseconds, and the throttling of a quota."""

    total: int = 0
    user: int = 0
    system: int = 0
    per_cpu: tuple[int, ...] = ()
    periods: int = 0
    throttled_periods: int = 0
    throttled_time: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Memory:
    """Memory in bytes; ``limit`` 0 is no limit. ``detail`` is the kernel's memory.stat."""

    usage: int = 0
    peak: int = 0
    limit: int = 0
    failures: int = 0
    detail: tuple[tuple[str, int], ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Statistics:
    """One reading of a group. ``io`` is (major, minor, read|write, bytes, operations)."""

    cpu: CpuTime
    memory: Memory
    pids: int = 0
    pids_limit: int = 0
    io: tuple[tuple[int, int, str, int, int], ...] = ()


class CgroupManager(Protocol):
    """One layout of control groups.

    Example::

        manager = detect()
        steps = manager.operations("corten/4f2c", Resources(memory=64 << 20))    # into the plan
        manager.freeze("corten/4f2c")
        manager.remove("corten/4f2c")                                            # True once nothing is left
    """

    version: int
    controllers: frozenset[str]
    """Those by which limits can be set, in the names of version 2: cpu, cpuset, io, memory, pids."""
    present: bool
    """Whether there are groups at all."""

    def operations(self, path: str, resources: Resources) -> Sequence[Operation]:
        """What makes the group, limits it, and (stage init) puts the container's init into it."""

    def visible(self) -> tuple[tuple[str, str], ...]:
        """(directory, mount options) of what the container sees below /sys/fs/cgroup; none in version 2."""

    def directories(self, path: str) -> tuple[str, ...]:
        """The group's directories, in the order of :meth:`visible`."""

    def update(self, path: str, resources: Resources) -> None:
        """Change the limits of a living group. Raises OSError."""

    def join_files(self, path: str) -> tuple[str, ...]:
        """The files that a process writes ``0`` to, to enter the group."""

    def leave_files(self) -> tuple[str, ...]:
        """The files that a process writes ``0`` to, to go back to where it was when the groups were first looked at."""

    def freeze(self, path: str) -> None:
        """Stop every process of the group, and return when all stand. Raises OSError."""

    def thaw(self, path: str) -> None:
        """Let them run again."""

    def frozen(self, path: str) -> bool:
        """Whether the group stands."""

    def favour(self, path: str, containers: int) -> None:
        """Where processors are scarce, give the group as much as so many containers beside it. Raises OSError."""

    def statistics(self, path: str) -> Statistics:
        """The group's figures now. Raises OSError when there is no such group."""

    def oom_kills(self, path: str) -> int:
        """How many of its processes the kernel killed for want of memory."""

    def out_of_memory(self, path: str) -> bool:
        """Whether its processes wait for memory, since none of them is to be killed."""

    def memory_pressure(self, path: str) -> int | None:
        """An eventfd that is readable when :meth:`out_of_memory` may have become true; the caller closes it. None where
        that cannot be. Raises OSError."""

    def processes(self, path: str) -> list[int]:
        """The process ids in the group and below."""

    def below(self, path: str) -> set[str]:
        """The names of the groups directly below one, in any hierarchy; none where it is not there."""

    def kill(self, path: str) -> None:
        """SIGKILL to all of them."""

    def remove(self, path: str) -> bool:
        """Remove the group; False while processes hold it."""


def join(files: Sequence[str]) -> None:
    """Move this process into the group whose ``join_files`` are given; where they are not delegated to its user, it
    stays in the one that it was started in."""
    for file in files:
        with contextlib.suppress(OSError), open(file, "w") as group:
            group.write("0")


@functools.cache
def detect(mountinfo: str = "/proc/self/mountinfo", membership: str = "/proc/self/cgroup") -> CgroupManager:
    """The manager for this process: of the unified hierarchy where it has controllers, or where a part of it is this
    user's; of version 1 (hybrid machines included) where its controllers may be written to; else of no groups."""
    from corten.runtime.cgroups.absent import NoControlGroups
    from corten.runtime.cgroups.mounts import delegated, own_group, read, writable
    from corten.runtime.cgroups.v1 import CgroupV1
    from corten.runtime.cgroups.v2 import CgroupV2

    mounts = read(mountinfo)
    # A v2 machine may well have one odd controller mounted as v1 (net_cls): what counts is where the limits are.
    legacy = {"memory", "pids"} & {name for name, _ in mounts.controllers} or not mounts.unified
    if legacy and mounts.controllers and all(writable(place) for _, place in mounts.controllers):
        return CgroupV1(mounts.controllers)
    if mounts.unified:
        own = own_group(membership)
        top = delegated(mounts.unified, own)
        if top is not None:
            return CgroupV2(f"{mounts.unified}{top}", home=f"{mounts.unified}{own}" if top else "")
    return NoControlGroups(1 if legacy and mounts.controllers else 2)
