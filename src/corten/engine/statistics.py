"""Figures of a control group in the form of the API's ``ContainerStatsResponse``."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping
from typing import Any

from corten.engine.clock import ZERO
from corten.engine.model import Container
from corten.runtime.cgroups import CpuTime, Memory, Statistics

_NANOSECONDS = 10**9
_DIRECTIONS = {"read": "read", "write": "write"}
_COUNTERS = ("bytes", "packets", "errors", "dropped")


@dataclasses.dataclass(frozen=True, slots=True)
class Sample:
    """One look: when, the machine's CPU time in nanoseconds, its CPUs, the group's figures, the network's by
    interface."""

    time: str = ZERO
    system_cpu: int = 0
    cpus: int = 0
    figures: Statistics | None = None
    network: Mapping[str, Mapping[str, int]] = dataclasses.field(default_factory=dict)


def shape(container: Container, sample: Sample, before: Sample | None) -> dict[str, Any]:
    """The API's object for a sample and the one before it."""
    before = before or Sample()
    figures = sample.figures
    told: dict[str, Any] = {
        "id": container.id,
        "name": f"/{container.name}",
        "os_type": "linux",
        "read": sample.time,
        "preread": before.time,
        "pids_stats": _pids(figures),
        "blkio_stats": {"io_service_bytes_recursive": _io(figures, 3), "io_serviced_recursive": _io(figures, 4)},
        "num_procs": 0,
        "storage_stats": {},
        "cpu_stats": _cpu(sample),
        "precpu_stats": _cpu(before),
        "memory_stats": _memory(figures.memory) if figures else {},
    }
    if sample.network:
        told["networks"] = {name: dict(counters) for name, counters in sample.network.items()}
    return told


def _pids(figures: Statistics | None) -> dict[str, int]:
    if figures is None:
        return {}
    limit = {"limit": figures.pids_limit} if figures.pids_limit else {"limit": 2**64 - 1}
    return {"current": figures.pids, **limit}


def _cpu(sample: Sample) -> dict[str, Any]:
    time = sample.figures.cpu if sample.figures else CpuTime()
    usage: dict[str, Any] = {
        "total_usage": time.total,
        "usage_in_kernelmode": time.system,
        "usage_in_usermode": time.user,
    }
    if time.per_cpu:
        usage["percpu_usage"] = list(time.per_cpu)
    told: dict[str, Any] = {
        "cpu_usage": usage,
        "throttling_data": {
            "periods": time.periods,
            "throttled_periods": time.throttled_periods,
            "throttled_time": time.throttled_time,
        },
    }
    if sample.system_cpu:
        told |= {"system_cpu_usage": sample.system_cpu, "online_cpus": sample.cpus}
    return told


def _memory(memory: Memory) -> dict[str, Any]:
    told: dict[str, Any] = {
        "usage": memory.usage,
        "stats": dict(memory.detail),
        "limit": memory.limit or machine_memory(),
    }
    if memory.peak:
        told["max_usage"] = memory.peak
    if memory.failures:
        told["failcnt"] = memory.failures
    return told


def _io(figures: Statistics | None, field: int) -> list[dict[str, Any]] | None:
    if figures is None or not figures.io:
        return None
    return [
        {"major": row[0], "minor": row[1], "op": _DIRECTIONS[row[2]], "value": row[field]} for row in figures.io
    ]


def machine_memory() -> int:
    """Bytes of memory that the machine has."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def system_cpu() -> int:
    """CPU time of the whole machine in nanoseconds, idle time included, as dockerd counts it: proc_stat(5)."""
    with open("/proc/stat", encoding="ascii") as file:
        ticks = sum(int(field) for field in file.readline().split()[1:8])
    return ticks * _NANOSECONDS // os.sysconf("SC_CLK_TCK")


def network(pid: int) -> dict[str, dict[str, int]]:
    """Counters of a process's network namespace by interface, without ``lo``: proc_pid_net(5)."""
    try:
        with open(f"/proc/{pid}/net/dev", encoding="ascii") as file:
            lines = file.read().splitlines()[2:]
    except OSError:  # it has just ended
        return {}
    return {name: counters for name, counters in map(_interface, lines) if name != "lo"}


def _interface(line: str) -> tuple[str, dict[str, int]]:
    name, _, text = line.partition(":")
    numbers = [int(field) for field in text.split()]
    return name.strip(), dict(_counters(numbers))


def _counters(numbers: list[int]) -> Iterator[tuple[str, int]]:
    for prefix, offset in (("rx", 0), ("tx", 8)):
        for index, counter in enumerate(_COUNTERS):
            yield f"{prefix}_{counter}", numbers[offset + index]
