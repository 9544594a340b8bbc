"""What this engine can give a container: all that is asked of the machine's root, of an ordinary user what its user
namespace and the control groups handed to it allow. Where that is less than was asked for, a warning says so.
"""

from __future__ import annotations

import dataclasses
import resource
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from corten.engine.container_network import joins_bridge
from corten.engine.model import HostConfig, Ulimit
from corten.errors import Unsupported
from corten.runtime.cgroups import CgroupManager
from corten.runtime.operations.identity import RLIMITS
from corten.sys.standing import Standing, of_process

NO_BRIDGES = "use --network host, where the container's ports are the host's own, or --network none"
_LIMITS = (
    ("memory", "Memory limits", (
        "memory", "memory_swap", "memory_reservation", "memory_swappiness", "oom_kill_disable",
    )),
    ("cpu", "CPU limits", (
        "cpu_shares", "cpu_period", "cpu_quota", "nano_cpus", "cpu_realtime_period", "cpu_realtime_runtime",
    )),
    ("cpuset", "Cpuset limits", ("cpuset_cpus", "cpuset_mems")),
    ("pids", "PIDs limit", ("pids_limit",)),
    ("io", "Block I/O limits", (
        "blkio_weight", "blkio_weight_device", "blkio_device_read_bps", "blkio_device_write_bps",
        "blkio_device_read_iops", "blkio_device_write_iops",
    )),
)  # fmt: skip
"""(controller, what its limits are called, the fields that ask for them)."""
_NOTHING = HostConfig()
Change = tuple[dict[str, Any], str]
"""(fields to replace, what to say of it)."""


@dataclasses.dataclass(frozen=True, slots=True)
class Means:
    """``controllers`` set limits; ``groups``: there are control groups to show to a container; ``oom_score`` is the
    least that may be given, ``hard_limit`` tells the most of a resource by its number."""

    standing: Standing
    controllers: frozenset[str]
    groups: bool = True
    oom_score: int = -1000
    hard_limit: Callable[[int], int] = lambda _: resource.RLIM_INFINITY

    @classmethod
    def of_process(cls, cgroups: CgroupManager) -> Means:
        """Those of this process."""
        here = of_process()
        if here.initial:
            return cls(here, cgroups.controllers, cgroups.present)
        with open("/proc/self/oom_score_adj") as file:
            least = int(file.read())
        return cls(here, cgroups.controllers, cgroups.present, least, lambda number: resource.getrlimit(number)[1])

    def place(self, host: HostConfig) -> tuple[HostConfig, list[str]]:
        """The request with a network that can be had. Raises Unsupported for a bridge network where there is none."""
        if self.standing.network or not joins_bridge(host):
            return host, []
        mode = host.network_mode
        if mode not in ("", "default"):
            raise Unsupported(f"join network {mode}: bridge networks need root", hint=NO_BRIDGES)
        if host.port_bindings or host.publish_all_ports:
            raise Unsupported("publish ports: bridge networks need root", hint=NO_BRIDGES)
        return msgspec.structs.replace(host, network_mode="none"), [
            "The container has no network: bridge networks need root. --network host shares the host's, "
            "--network none says that none is wanted."
        ]

    def settle(self, host: HostConfig) -> tuple[HostConfig, list[str]]:
        """The request without what cannot be had, and a warning for each thing that was left out."""
        warnings = []
        for fields, words in (*self._limits(host), *self._privileges(host)):
            host = msgspec.structs.replace(host, **fields)
            warnings.append(words)
        return host, warnings

    def _limits(self, host: HostConfig) -> Iterator[Change]:
        for controller, name, fields in _LIMITS:
            if controller not in self.controllers and any(_is_asked(getattr(host, field)) for field in fields):
                yield (
                    {field: getattr(_NOTHING, field) for field in fields},
                    f"{name} discarded: this engine has no control group with the {controller} controller.",
                )

    def _privileges(self, host: HostConfig) -> Iterator[Change]:
        if self.standing.initial:
            return
        if host.device_cgroup_rules:
            yield {"device_cgroup_rules": None}, "Device rules discarded: the host's file modes decide on devices."
        if host.oom_score_adj and host.oom_score_adj < self.oom_score:
            yield (
                {"oom_score_adj": self.oom_score},
                f"OOM score {host.oom_score_adj} discarded: this user cannot go below its own, {self.oom_score}.",
            )
        lowered = [self._lowered(one) for one in host.ulimits or ()]
        if lowered != list(host.ulimits or ()):
            yield {"ulimits": lowered}, "Ulimits lowered to this user's own hard limits."

    def _lowered(self, ulimit: Ulimit) -> Ulimit:
        most = self.hard_limit(RLIMITS.index(f"RLIMIT_{ulimit.name.upper()}"))
        return Ulimit(ulimit.name, _least(ulimit.hard, most), _least(ulimit.soft, most))


def _is_asked(value: object) -> bool:
    """-1 is "without a limit", which is what there is."""
    return bool(value) and value != -1


def _least(asked: int, most: int) -> int:
    """-1 is unlimited, for both."""
    if most == resource.RLIM_INFINITY:
        return asked
    return most if asked < 0 else min(asked, most)
