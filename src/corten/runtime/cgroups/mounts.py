"""Where the machine has its control groups mounted: proc_pid_mountinfo(5)."""

from __future__ import annotations

import dataclasses

from corten.errors import Unsupported

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
    """Read the mounts. Raises Unsupported when there are none."""
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
    if not controllers and not unified:
        raise Unsupported("find control groups: none are mounted", hint="mount -t cgroup2 none /sys/fs/cgroup")
    return CgroupMounts(tuple(controllers.items()), unified)
