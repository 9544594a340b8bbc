"""What a request asks for and this machine, or Corten, cannot do: refused or discarded with a warning, never silently.

The sentences are dockerd's (daemon/daemon_unix.go), for tools that look for them.
"""

from __future__ import annotations

import functools
import glob
import ipaddress
import os
from collections.abc import Iterator

import msgspec

from corten.engine.container_network import DEFAULT, check_endpoint
from corten.engine.model import ContainerConfig, EndpointRequest, HostConfig, NetworkingConfig
from corten.errors import InvalidInput, NotFound

_V1 = "/sys/fs/cgroup"
_LONGEST_NAME = 64
"""Bytes of a host name in the kernel (uname(2))."""
_SWAP = (
    "Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap."
)
_SWAPPINESS = (
    "Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory swappiness "
    "discarded."
)
_OOM = "Your kernel does not support OomKillDisable. OomKillDisable discarded."
_OOM_UNBOUNDED = (
    "OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out "
    "of resources."
)
_WEIGHT = "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded."
_WEIGHT_DEVICE = (
    "Your kernel does not support Block I/O weight_device or the cgroup is not mounted. Weight-device discarded."
)
_KERNEL_MEMORY = (
    "Your kernel does not support kernel memory limit capabilities or the cgroup is not mounted. Limitation discarded."
)
_VOLUME_DRIVER = (
    "WARNING: the container-wide volume-driver configuration is ignored for volumes specified via 'mount'. Use "
    "'--mount type=volume,volume-driver=...' instead"
)


@functools.cache
def _has(*patterns: str) -> bool:
    return any(glob.glob(f"{_V1}/{pattern}") for pattern in patterns)


@functools.cache
def _is_v2() -> bool:
    return os.path.exists(f"{_V1}/cgroup.controllers")


def _can_weigh() -> bool:
    return _has("blkio*/blkio.weight", "blkio*/blkio.bfq.weight", "*/io.weight", "*/io.bfq.weight")


def _discarded(host: HostConfig) -> Iterator[tuple[str, object, str]]:
    """(member, what it becomes, the warning)."""
    if host.memory_swap > 0 and not _is_v2() and not _has("memory*/memory.memsw.limit_in_bytes"):
        yield "memory_swap", -1, _SWAP
    if host.memory_swappiness not in (None, -1) and not _has("memory*/memory.swappiness"):
        yield "memory_swappiness", None, _SWAPPINESS
    if host.oom_kill_disable and not _has("memory*/memory.oom_control"):
        yield "oom_kill_disable", False, _OOM
    if host.blkio_weight and not _can_weigh():
        yield "blkio_weight", 0, _WEIGHT
    if host.blkio_weight_device:
        yield "blkio_weight_device", None, _WEIGHT_DEVICE
    if host.kernel_memory or host.kernel_memory_tcp:
        yield "kernel_memory", 0, _KERNEL_MEMORY
        yield "kernel_memory_tcp", 0, ""
    if host.cpu_percent:
        yield "cpu_percent", 0, "linux does not support CPU percent. Percent discarded."
    if host.cpu_count:
        yield "cpu_count", 0, "linux does not support CPU count. Count discarded."
    if host.cgroup:
        yield "cgroup", "", "Cgroup is not supported. Cgroup discarded."


def settle(host: HostConfig) -> HostConfig:
    """Without what is discarded."""
    changes = {name: value for name, value, _ in _discarded(host)}
    return msgspec.structs.replace(host, **changes) if changes else host


def warnings(host: HostConfig) -> Iterator[str]:
    """What was discarded, and what is dangerous."""
    discarded = list(_discarded(host))
    yield from (sentence for _, _, sentence in discarded if sentence)
    if host.oom_kill_disable and not host.memory and not any(name == "oom_kill_disable" for name, *_ in discarded):
        yield _OOM_UNBOUNDED
    if host.volume_driver and any(mount.type == "volume" for mount in host.mounts or ()):
        yield _VOLUME_DRIVER


def refuse(host: HostConfig, config: ContainerConfig, networking: NetworkingConfig) -> None:
    """Raises InvalidInput, NotFound, Unsupported for what cannot be honoured at all."""
    if (host.cpu_realtime_period or host.cpu_realtime_runtime) and not _has("cpu*/cpu.rt_runtime_us"):
        raise InvalidInput("Your kernel does not support CPU real-time scheduler for containers")
    if host.storage_opt:
        raise InvalidInput(
            "--storage-opt is supported only for overlay over xfs with 'pquota' mount option",
            hint="a volume on a file system of its own has a size of its own",
        )
    if host.userns_mode not in ("", "host"):
        raise InvalidInput(f"invalid USER mode: {host.userns_mode}")
    for asked, what in ((host.io_maximum_bandwidth, "bandwidth"), (host.io_maximum_iops, "IOPs")):
        if asked:
            raise InvalidInput(f"invalid option: QoS maximum {what} configuration is not supported on linux")
    _refuse_names(host, config)
    _refuse_devices(host)
    if host.volume_driver not in ("", "local") and (host.binds or config.volumes):
        raise NotFound(
            f'error looking up volume plugin {host.volume_driver}: plugin "{host.volume_driver}" not found'
        )
    _refuse_networks(host, networking)


def _refuse_names(host: HostConfig, config: ContainerConfig) -> None:
    """Each becomes a word, or a line, of a file that the container and others read."""
    for kind, name in (("hostname", config.hostname), ("domain name", config.domainname)):
        if len(name.encode()) > _LONGEST_NAME or not _is_word(name):
            raise InvalidInput(f"invalid {kind}: {name!r} is no name of at most {_LONGEST_NAME} bytes")
    for server in host.dns or ():
        try:
            ipaddress.ip_address(server)
        except ValueError:
            raise InvalidInput(f"invalid IP address: {server}: --dns takes the address of a name server") from None
    for words in (*(host.dns_search or ()), *(host.dns_options or ())):
        if not words.isprintable():
            raise InvalidInput(f"invalid DNS search domain or option: {words!r}")


def _is_word(text: str) -> bool:
    return text.isprintable() and not any(letter.isspace() for letter in text)


def _refuse_devices(host: HostConfig) -> None:
    for request in host.device_requests or ():
        if request.driver == "cdi":  # what it names is looked up at the start, as by dockerd
            continue
        driver, capabilities = request.driver, request.capabilities or []
        shown = " ".join(f"[{' '.join(one)}]" for one in capabilities)
        raise InvalidInput(f'could not select device driver "{driver}" with capabilities: [{shown}]')


def _refuse_networks(host: HostConfig, networking: NetworkingConfig) -> None:
    """What a place in a network can never be; whether the network is there is asked when it starts, as by dockerd."""
    asked = networking.endpoints_config or {}
    private = {"host", "none"} & {host.network_mode, *asked}
    if private and len(asked) > 1:
        raise InvalidInput(
            "container cannot be connected to multiple networks with one of the networks in "
            f"{'private (none)' if 'none' in private else 'host'} mode"
        )
    for name, endpoint in asked.items():
        check_endpoint(DEFAULT if name == "default" else name, endpoint or EndpointRequest())
