"""The host's part of a request: defaults filled in, contradictions refused, in Docker's words."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from corten.engine import restarts
from corten.engine.model import HostConfig
from corten.errors import InvalidInput

MIB = 1 << 20
_LEAST_MEMORY = 6 * MIB
_RT_PERIOD = 1_000_000  # microseconds: what the kernel gives a new group
SHM_SIZE = 64 * MIB
RUNTIME = "corten"
"""The name of the one runtime that there is."""
_RUNTIMES = (None, "", RUNTIME, "runc", "io.containerd.runc.v2")
"""What it may be called: a program that asks for dockerd's own runtime asks for the usual one."""

MASKED_PATHS = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
]
READONLY_PATHS = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]


def settle(host: HostConfig, *, unconfined_paths: bool) -> HostConfig:
    """The request with Docker's defaults where it is silent. Raises InvalidInput by :func:`validate`."""
    validate(host)
    hidden = host.privileged or unconfined_paths
    policy = host.restart_policy
    return msgspec.structs.replace(
        host,
        memory_swap=host.memory_swap or 2 * host.memory,
        shm_size=host.shm_size or SHM_SIZE,
        network_mode="bridge" if host.network_mode in ("", "default") else host.network_mode,
        ipc_mode=host.ipc_mode or "private",
        cgroupns_mode=host.cgroupns_mode or "private",
        restart_policy=msgspec.structs.replace(policy, name=policy.name or "no"),
        pids_limit=host.pids_limit or None,
        runtime=host.runtime or RUNTIME,
        masked_paths=([] if hidden else MASKED_PATHS) if host.masked_paths is None else host.masked_paths,
        readonly_paths=([] if hidden else READONLY_PATHS) if host.readonly_paths is None else host.readonly_paths,
    )


def validate(host: HostConfig) -> None:
    """Refuse what contradicts itself or this machine. Raises InvalidInput."""
    restarts.validate(host)
    _refuse(host.runtime not in _RUNTIMES, f"unknown or invalid runtime name: {host.runtime}")
    _refuse(host.isolation not in ("", "default"), f'invalid isolation "{host.isolation}" on linux')
    _memory(host)
    _cpu(host)
    _refuse(host.blkio_weight and not 10 <= host.blkio_weight <= 1000, "Range of blkio weight is from 10 to 1000")
    _refuse(host.cpu_shares < 0, f"invalid CPU shares ({host.cpu_shares}): value must be a positive integer")
    _refuse(
        "" in (host.annotations or {}),
        "invalid Annotations: the empty string is not permitted as an annotation key",
    )
    _refuse(host.shm_size < 0, "SHM size can not be less than 0")
    _refuse(
        not -1000 <= host.oom_score_adj <= 1000,
        f"Invalid value {host.oom_score_adj}, range for oom score adj is [-1000, 1000]",
    )


def _memory(host: HostConfig) -> None:
    _refuse(host.memory and host.memory < _LEAST_MEMORY, "Minimum memory limit allowed is 6MB")
    _refuse(
        host.memory_swap > 0 and not host.memory,
        "You should always set the Memory limit when using Memoryswap limit, see usage",
    )
    _refuse(
        0 < host.memory_swap < host.memory,
        "Minimum memoryswap limit should be larger than memory limit, see usage",
    )
    swappiness = host.memory_swappiness
    _refuse(
        swappiness is not None and not -1 <= swappiness <= 100,
        f"Invalid value: {swappiness}, valid memory swappiness range is 0-100",
    )
    reserved = host.memory_reservation
    _refuse(reserved and reserved < _LEAST_MEMORY, "Minimum memory reservation allowed is 6MB")
    _refuse(
        host.memory and host.memory < reserved,
        "Minimum memory limit can not be less than memory reservation limit, see usage",
    )


def _cpu(host: HostConfig) -> None:
    available = len(online_cpus())
    _refuse(
        host.nano_cpus and host.cpu_period,
        "Conflicting options: Nano CPUs and CPU Period cannot both be set.",
    )
    _refuse(
        host.nano_cpus and host.cpu_quota,
        "Conflicting options: Nano CPUs and CPU Quota cannot both be set.",
    )
    _refuse(
        not 0 <= host.nano_cpus <= available * 10**9,
        f"Range of CPUs is from 0.01 to {available}.00, as there are only {available} CPUs available",
    )
    _refuse(
        host.cpu_period and not 1000 <= host.cpu_period <= 1_000_000,
        "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
    )
    _refuse(0 < host.cpu_quota < 1000, "CPU cfs quota can not be less than 1ms (i.e. 1000)")
    _refuse(
        not 0 <= host.cpu_realtime_runtime <= (host.cpu_realtime_period or _RT_PERIOD),
        "CPU real-time runtime can not be higher than CPU real-time period",
    )
    _refuse(host.cpu_realtime_period < 0, "CPU real-time period can not be negative")
    _cpuset(host.cpuset_cpus)
    _memory_nodes(host.cpuset_mems)


def _memory_nodes(text: str) -> None:
    if not text:
        return
    try:
        asked = parse_cpus(text)
    except ValueError:
        raise InvalidInput(f"Invalid value {text} for cpuset mems") from None
    nodes = Path("/sys/devices/system/node/online")
    online = nodes.read_text().strip() if nodes.exists() else "0"  # without NUMA, all memory is node 0's
    _refuse(
        not asked <= parse_cpus(online),
        f"Requested memory nodes are not available - requested {text}, available: {online}",
    )


def _cpuset(text: str) -> None:
    if not text:
        return
    try:
        asked = parse_cpus(text)
    except ValueError:
        raise InvalidInput(f"Invalid value {text} for cpuset cpus") from None
    online = Path("/sys/devices/system/cpu/online").read_text().strip()
    _refuse(
        not asked <= parse_cpus(online),
        f"Requested CPUs are not available - requested {text}, available: {online}",
    )


def parse_cpus(text: str) -> set[int]:
    """The numbers of ``0-2,7``. Raises ValueError."""
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        found.update(range(int(first), int(last if dash else first) + 1))
    return found


def online_cpus() -> set[int]:
    """The processors that are there: limits count against them, not against this process's affinity."""
    try:
        return parse_cpus(Path("/sys/devices/system/cpu/online").read_text().strip())
    except OSError:
        return set(range(os.cpu_count() or 1))


def _refuse(contradiction: object, sentence: str) -> None:
    if contradiction:
        raise InvalidInput(sentence)
