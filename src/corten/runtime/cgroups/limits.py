"""What limits mean in files: pure functions from Resources to (file, value, reason)."""

from __future__ import annotations

from collections.abc import Iterator

from corten.errors import InvalidInput
from corten.spec.runtime import DeviceRule, Resources

Setting = tuple[str, str, str]

_MEMORY = "What the container may hold in memory; beyond it, the kernel kills one of its processes."
_SWAP = "What it may hold in memory and swap together."
_SHARES = "Its share of the CPUs when others want them too."
_QUOTA = "How much CPU time it gets in each period."
_CPUS = "Which CPUs it may run on."
_NODES = "Which memory nodes it may use."
_PIDS = "How many processes and threads it may have: a fork bomb stops here."
_WEIGHT = "Its share of disk time when others want it too."
_RATE = "A bound on what it reads from or writes to a disk."


def v1_settings(limits: Resources, current_memory_swap: int | None = None) -> Iterator[tuple[str, Setting]]:
    """(controller, setting) in the order in which the kernel accepts them.

    Memory must not exceed memory+swap at any moment: raising both, the sum goes first.
    """
    swap, memory = limits.memory_swap, limits.memory
    swap_first = current_memory_swap is not None and memory is not None and memory > current_memory_swap
    memory_pairs = [("memory.limit_in_bytes", memory, _MEMORY), ("memory.memsw.limit_in_bytes", swap, _SWAP)]
    for name, value, reason in reversed(memory_pairs) if swap_first else memory_pairs:
        if value is not None:
            yield "memory", (name, str(value), reason)
    if limits.memory_reservation is not None:
        yield "memory", ("memory.soft_limit_in_bytes", str(limits.memory_reservation), _MEMORY)
    if limits.memory_swappiness is not None:
        yield "memory", ("memory.swappiness", str(limits.memory_swappiness), _SWAP)
    if limits.oom_kill_disable:
        yield "memory", ("memory.oom_control", "1", "Asked for: its processes wait for memory instead of dying.")
    if limits.cpu_shares is not None:
        yield "cpu", ("cpu.shares", str(limits.cpu_shares), _SHARES)
    if limits.cpu_period is not None:
        yield "cpu", ("cpu.cfs_period_us", str(limits.cpu_period), _QUOTA)
    if limits.cpu_quota is not None:
        yield "cpu", ("cpu.cfs_quota_us", str(limits.cpu_quota), _QUOTA)
    if limits.cpuset_cpus:
        yield "cpuset", ("cpuset.cpus", limits.cpuset_cpus, _CPUS)
    if limits.cpuset_mems:
        yield "cpuset", ("cpuset.mems", limits.cpuset_mems, _NODES)
    if limits.pids is not None:
        yield "pids", ("pids.max", _or_max(limits.pids), _PIDS)
    if limits.blkio_weight is not None:
        yield "blkio", ("blkio.bfq.weight", str(limits.blkio_weight), _WEIGHT)
    for name, major, minor, rate in limits.throttle:
        what, unit = name.split("_")
        yield "blkio", (f"blkio.throttle.{what}_{unit}_device", f"{major}:{minor} {rate}", _RATE)
    for rule in limits.devices:
        reason = "Which device nodes may be used, whatever nodes root in the container makes."
        yield "devices", (f"devices.{'allow' if rule.allow else 'deny'}", v1_device(rule), reason)


def v1_device(rule: DeviceRule) -> str:
    """One rule as the v1 devices controller reads it."""
    if rule.type == "a":
        return "a"
    major, minor = ("*" if number < 0 else number for number in (rule.major, rule.minor))
    return f"{rule.type} {major}:{minor} {rule.access}"


def v2_settings(limits: Resources) -> Iterator[Setting]:
    """The settings of the unified hierarchy (Documentation/admin-guide/cgroup-v2.rst).

    Raises InvalidInput for a bound on memory and swap together without one on memory: version 2 counts them apart.
    """
    if limits.memory is not None:
        yield "memory.max", _or_max(limits.memory), _MEMORY
    if limits.memory_swap is not None:
        yield "memory.swap.max", _v2_swap(limits), _SWAP
    if limits.memory_reservation is not None:
        yield "memory.low", _or_max(limits.memory_reservation), _MEMORY
    if limits.cpu_shares is not None:
        yield "cpu.weight", str(cpu_weight(limits.cpu_shares)), _SHARES
    if limits.cpu_quota is not None or limits.cpu_period is not None:
        quota = limits.cpu_quota if limits.cpu_quota is not None else -1
        yield "cpu.max", f"{'max' if quota <= 0 else quota} {limits.cpu_period or 100000}", _QUOTA
    if limits.cpuset_cpus:
        yield "cpuset.cpus", limits.cpuset_cpus, _CPUS
    if limits.cpuset_mems:
        yield "cpuset.mems", limits.cpuset_mems, _NODES
    if limits.pids is not None:
        yield "pids.max", _or_max(limits.pids), _PIDS
    if limits.blkio_weight is not None:
        yield "io.weight", f"default {1 + (limits.blkio_weight - 10) * 9999 // 990}", _WEIGHT
    keys = {"read_bps": "rbps", "write_bps": "wbps", "read_iops": "riops", "write_iops": "wiops"}
    for name, major, minor, rate in limits.throttle:
        yield "io.max", f"{major}:{minor} {keys[name]}={rate or 'max'}", _RATE
    for file, value in limits.unified:
        yield file, value, "Asked for by name."


def _or_max(value: int) -> str:
    return "max" if value <= 0 else str(value)


def _v2_swap(limits: Resources) -> str:
    """Version 1 counts memory and swap together, version 2 swap alone."""
    if limits.memory_swap is None or limits.memory_swap < 0:
        return "max"
    if not limits.memory or limits.memory < 0:
        raise InvalidInput("limit memory and swap: a limit of memory must be given, too")
    return str(max(0, limits.memory_swap - limits.memory))


def cpu_weight(shares: int) -> int:
    """cpu.weight (1-10000) of v1's cpu.shares (2-262144): the mapping that the OCI runtimes agreed on."""
    if shares == 0:
        return 100
    return 1 + (min(max(shares, 2), 262144) - 2) * 9999 // 262142
