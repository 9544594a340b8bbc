"""A container's limits as the OCI runtime configuration has them."""

from __future__ import annotations

import os
from collections.abc import Iterator

from corten.engine.model import HostConfig, ThrottleDevice
from corten.errors import InvalidInput
from corten.spec.runtime import DeviceRule, Resources

_PERIOD = 100_000
_BILLION = 10**9
_THROTTLES = ("read_bps", "write_bps", "read_iops", "write_iops")


def resources(host: HostConfig, rules: tuple[DeviceRule, ...]) -> Resources:
    """The limits of a settled :class:`HostConfig`. Raises InvalidInput for a block device that is not there."""
    quota, period = _bandwidth(host)
    swappiness = host.memory_swappiness
    return Resources(
        memory=host.memory or None,
        memory_reservation=host.memory_reservation or None,
        memory_swap=host.memory_swap or None,
        memory_swappiness=None if swappiness in (None, -1) else swappiness,
        oom_kill_disable=bool(host.oom_kill_disable),
        cpu_shares=host.cpu_shares or None,
        cpu_quota=quota,
        cpu_period=period,
        cpu_rt_runtime=host.cpu_realtime_runtime or None,
        cpu_rt_period=host.cpu_realtime_period or None,
        cpuset_cpus=host.cpuset_cpus,
        cpuset_mems=host.cpuset_mems,
        pids=_pids(host.pids_limit),
        blkio_weight=host.blkio_weight or None,
        throttle=tuple(_throttles(host)),
        devices=rules,
    )


def _bandwidth(host: HostConfig) -> tuple[int | None, int | None]:
    """(quota, period) in microseconds: ``--cpus 1.5`` is 150 ms in each 100 ms."""
    if host.nano_cpus:
        return host.nano_cpus * _PERIOD // _BILLION, _PERIOD
    return host.cpu_quota or None, host.cpu_period or None


def _pids(limit: int | None) -> int | None:
    """None and 0 leave it alone, -1 is "no limit"."""
    return limit or None


def _throttles(host: HostConfig) -> Iterator[tuple[str, int, int, int]]:
    for name in _THROTTLES:
        for entry in getattr(host, f"blkio_device_{name}") or ():
            major, minor = _numbers(entry)
            yield name, major, minor, entry.rate


def _numbers(entry: ThrottleDevice) -> tuple[int, int]:
    try:
        device = os.stat(entry.path).st_rdev
    except OSError as error:
        raise InvalidInput(f"limit {entry.path}: {os.strerror(error.errno or 0).lower()}") from None
    return os.major(device), os.minor(device)
