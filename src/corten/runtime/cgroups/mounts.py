"""Where the machine has its control groups mounted: proc_pid_mountinfo(5)."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator

_V1_CONTROLLERS = frozenset({
    "cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "net_cls", "net_prio",
    "perf_event", "hugetlb", "rdma", "misc",
})  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True)
class CgroupMounts:
    """Directories: one a v1 controller (several may share one), and the unified hierarchy's ('' if none)."""

    controllers: tuple[tuple[str, str], ...]
    unified: str


def read(mountinfo: str) -> CgroupMounts:
    """Read the mounts."""
    controllers: dict[str, str] = {}
    unified = ""
    with open(mountinfo) as file:
        for line in file:
            left, _, right = line.rstrip("\n").partition(" - ")
            kind, _, options = right.split(" ", 2)
            if kind not in ("cgroup", "cgroup2"):
                continue
            target = left.split(" ")[4]
            if kind == "cgroup2":
                unified = unified or target
            for option in options.split(","):
                if kind == "cgroup" and option in _V1_CONTROLLERS:
                    controllers.setdefault(option, target)
    return CgroupMounts(tuple(controllers.items()), unified)


def own_group(membership: str) -> str:
    """The path of this process's group in the unified hierarchy, '' for its root: proc_pid_cgroup(5)."""
    with open(membership) as file:
        for line in file:
            if line.startswith("0::"):
                return line.rstrip("\n").removeprefix("0::").rstrip("/")
    return ""


def delegated(mount: str, own: str) -> str | None:
    """The highest group, from the root down to ``own``, below which this user may make groups and move itself; None
    when there is none.

    To move a process takes the right to write to the group that both places have in common (cgroup-v2.rst,
    "Delegation Containment"): so it must be one that this process is in already.
    """
    for path in _down_to(own):
        files = (path, f"{path}/cgroup.procs", f"{path}/cgroup.subtree_control")
        if all(writable(f"{mount}{file}") for file in files):
            return path
    return None


def _down_to(own: str) -> Iterator[str]:
    path = ""
    yield path
    for name in own.split("/")[1:]:
        path = f"{path}/{name}"
        yield path


def writable(path: str) -> bool:
    """Whether this process, as what it is now, may write: not below a read-only mount, not with other people's ids."""
    return os.access(path, os.W_OK, effective_ids=True)
