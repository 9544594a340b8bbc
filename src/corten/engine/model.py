"""The values of the engine's records and of the Docker Engine API's requests: decoded once, at the edge.

Field names are the API's in snake case; msgspec renames them to the API's PascalCase. Unknown fields of a
request are ignored, as dockerd does; a field of the wrong type is an :class:`~corten.errors.InvalidInput`.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct, field

Strings = dict[str, str]
Natural = Annotated[int, Meta(ge=0)]


class Value(Struct, frozen=True, rename="pascal", omit_defaults=False):
    """Base of the values that travel as JSON objects of the API."""


class Options(Value, frozen=True, omit_defaults=True):
    """Base of values of which inspect shows only what was set, as dockerd does."""


class HealthConfig(Value, frozen=True):
    """How a container's health is tested; durations are nanoseconds."""

    test: list[str] | None = None
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


class ContainerConfig(Value, frozen=True):
    """``Config`` of a container: what does not depend on the host."""

    hostname: str = ""
    domainname: str = ""
    user: str = ""
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    exposed_ports: dict[str, dict[str, Any]] | None = None
    tty: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    env: list[str] | None = None
    cmd: list[str] | str | None = None
    healthcheck: HealthConfig | None = None
    args_escaped: bool | None = None
    image: str = ""
    volumes: dict[str, dict[str, Any]] | None = None
    working_dir: str = ""
    entrypoint: list[str] | str | None = None
    network_disabled: bool | None = None
    mac_address: str | None = None
    on_build: list[str] | None = None
    labels: Strings | None = None
    stop_signal: str | None = None
    stop_timeout: int | None = None
    shell: list[str] | None = None


class RestartPolicy(Value, frozen=True):
    """``no``, ``always``, ``unless-stopped`` or ``on-failure`` with a maximum of retries (0: no limit)."""

    name: str = "no"
    maximum_retry_count: int = 0


class PortBinding(Value, frozen=True):
    """Where on the host a container's port is published; an empty port is chosen by the engine."""

    host_ip: str | None = ""
    host_port: str | None = ""


class LogConfig(Value, frozen=True):
    """The log driver and its options."""

    type: str = ""
    config: Strings | None = None


class Device(Value, frozen=True):
    """A device of the host, shown inside the container."""

    path_on_host: str = ""
    path_in_container: str = ""
    cgroup_permissions: str = "rwm"


class Ulimit(Value, frozen=True):
    """One resource limit; -1 is unlimited."""

    name: str
    hard: int = 0
    soft: int = 0


class ThrottleDevice(Value, frozen=True):
    """How much of a block device a container may use: bytes or operations in a second."""

    path: str = ""
    rate: Natural = 0


class WeightDevice(Value, frozen=True):
    """A container's share of a block device."""

    path: str = ""
    weight: Natural = 0


class DeviceRequest(Value, frozen=True):
    """Devices that a driver chooses; ``cdi`` is the one that there is."""

    driver: str = ""
    count: int = 0
    device_ids: list[str] | None = field(default=None, name="DeviceIDs")
    capabilities: list[list[str]] | None = None
    options: Strings | None = None


class BindOptions(Options, frozen=True):
    """How a directory of the host is mounted."""

    propagation: str = ""
    non_recursive: bool = False
    create_mountpoint: bool = False
    read_only_non_recursive: bool = False
    read_only_force_recursive: bool = False


class VolumeDriver(Options, frozen=True):
    """Who makes a new volume, and how."""

    name: str = ""
    options: Strings | None = None


class VolumeOptions(Options, frozen=True):
    """What a volume that is mounted is made with, and what of it is shown."""

    no_copy: bool = False
    labels: Strings | None = None
    driver_config: VolumeDriver | None = None
    subpath: str = ""


class TmpfsOptions(Options, frozen=True):
    """A tmpfs: ``mode`` as a number, ``options`` as words of one or two, flag or name and value."""

    size_bytes: Natural = 0
    mode: Natural = 0
    options: list[list[str]] | None = None


class ImageOptions(Options, frozen=True):
    """What of an image that is mounted is shown."""

    subpath: str = ""


class MountRequest(Value, frozen=True):
    """One ``--mount``."""

    type: str = "bind"
    source: str = ""
    target: str = ""
    read_only: bool = False
    consistency: str = ""
    bind_options: BindOptions | None = None
    volume_options: VolumeOptions | None = None
    tmpfs_options: TmpfsOptions | None = None
    image_options: ImageOptions | None = None


class HostConfig(Value, frozen=True):
    """``HostConfig`` of a container: what depends on the host. Sizes are bytes, CPU times microseconds."""

    cpu_shares: int = 0
    memory: int = 0
    cgroup_parent: str = ""
    blkio_weight: int = 0
    blkio_weight_device: list[WeightDevice] | None = None
    blkio_device_read_bps: list[ThrottleDevice] | None = None
    blkio_device_write_bps: list[ThrottleDevice] | None = None
    blkio_device_read_iops: list[ThrottleDevice] | None = field(default=None, name="BlkioDeviceReadIOps")
    blkio_device_write_iops: list[ThrottleDevice] | None = field(default=None, name="BlkioDeviceWriteIOps")
    cpu_period: int = 0
    cpu_quota: int = 0
    cpu_realtime_period: int = 0
    cpu_realtime_runtime: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    devices: list[Device] | None = None
    device_cgroup_rules: list[str] | None = None
    device_requests: list[DeviceRequest] | None = None
    memory_reservation: int = 0
    memory_swap: int = 0
    memory_swappiness: int | None = None
    nano_cpus: int = 0
    oom_kill_disable: bool | None = None
    init: bool | None = None
    pids_limit: int | None = None
    ulimits: list[Ulimit] | None = None
    cpu_count: int = 0
    cpu_percent: int = 0
    io_maximum_iops: int = field(default=0, name="IOMaximumIOps")
    io_maximum_bandwidth: int = field(default=0, name="IOMaximumBandwidth")
    kernel_memory: int = 0
    kernel_memory_tcp: int = field(default=0, name="KernelMemoryTCP")
    binds: list[str] | None = None
    container_id_file: str = field(default="", name="ContainerIDFile")
    log_config: LogConfig = LogConfig()
    network_mode: str = "default"
    port_bindings: dict[str, list[PortBinding] | None] | None = None
    restart_policy: RestartPolicy = RestartPolicy()
    auto_remove: bool = False
    volume_driver: str = ""
    volumes_from: list[str] | None = None
    mounts: list[MountRequest] | None = None
    console_size: tuple[Natural, Natural] | None = None
    annotations: Strings | None = None
    cap_add: list[str] | None = None
    cap_drop: list[str] | None = None
    cgroupns_mode: str = ""
    dns: list[str] | None = None
    dns_options: list[str] | None = None
    dns_search: list[str] | None = None
    extra_hosts: list[str] | None = None
    group_add: list[str] | None = None
    ipc_mode: str = ""
    cgroup: str = ""
    links: list[str] | None = None
    oom_score_adj: int = 0
    pid_mode: str = ""
    privileged: bool = False
    publish_all_ports: bool = False
    readonly_rootfs: bool = False
    security_opt: list[str] | None = None
    storage_opt: Strings | None = None
    tmpfs: Strings | None = None
    uts_mode: str = field(default="", name="UTSMode")
    userns_mode: str = ""
    shm_size: int = 0
    sysctls: Strings | None = None
    runtime: str | None = None
    isolation: str = ""
    masked_paths: list[str] | None = None
    readonly_paths: list[str] | None = None


class EndpointIpam(Options, frozen=True):
    """The addresses that a container asks for in one network."""

    ipv4_address: str = field(default="", name="IPv4Address")
    ipv6_address: str = field(default="", name="IPv6Address")
    link_local_ips: list[str] | None = field(default=None, name="LinkLocalIPs")


class EndpointRequest(Value, frozen=True):
    """One network that a container is to join."""

    ipam_config: EndpointIpam | None = field(default=None, name="IPAMConfig")
    links: list[str] | None = None
    aliases: list[str] | None = None
    driver_opts: Strings | None = None
    mac_address: str = ""
    gw_priority: int = 0


class NetworkingConfig(Value, frozen=True):
    """The networks that a container is to join, by name."""

    endpoints_config: dict[str, EndpointRequest | None] | None = None


_PLAIN_HOST = HostConfig()


class CreateRequest(ContainerConfig, frozen=True):
    """The body of ``POST /containers/create``: a ContainerConfig with more members."""

    host_config: HostConfig | None = None
    networking_config: NetworkingConfig | None = None
    runtime: str | None = None
    """Where docker-py puts it: dockerd does not look there, and has one of that name anyway."""

    def host(self) -> HostConfig:
        """The host's part."""
        host = self.host_config or _PLAIN_HOST
        return msgspec.structs.replace(host, runtime=self.runtime) if self.runtime and not host.runtime else host

    def config(self) -> ContainerConfig:
        """The container's own configuration, without the host's part."""
        return ContainerConfig(*(getattr(self, name) for name in ContainerConfig.__struct_fields__))


class ExecRequest(Value, frozen=True):
    """The body of ``POST /containers/{id}/exec``."""

    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    console_size: tuple[Natural, Natural] | None = None
    detach_keys: str = ""
    tty: bool = False
    env: list[str] | None = None
    cmd: list[str] | None = None
    privileged: bool = False
    user: str = ""
    working_dir: str = ""


class UpdateRequest(Value, frozen=True):
    """The body of ``POST /containers/{id}/update``; None is "leave as it is"."""

    cpu_shares: int | None = None
    memory: int | None = None
    blkio_weight: int | None = None
    cpu_period: int | None = None
    cpu_quota: int | None = None
    cpu_realtime_period: int | None = None
    cpu_realtime_runtime: int | None = None
    cpuset_cpus: str | None = None
    cpuset_mems: str | None = None
    memory_reservation: int | None = None
    memory_swap: int | None = None
    nano_cpus: int | None = None
    pids_limit: int | None = None
    restart_policy: RestartPolicy | None = None
    blkio_weight_device: list[WeightDevice] | None = None
    blkio_device_read_bps: list[ThrottleDevice] | None = None
    blkio_device_write_bps: list[ThrottleDevice] | None = None
    blkio_device_read_iops: list[ThrottleDevice] | None = field(default=None, name="BlkioDeviceReadIOps")
    blkio_device_write_iops: list[ThrottleDevice] | None = field(default=None, name="BlkioDeviceWriteIOps")
    cgroup_parent: str = ""
    device_cgroup_rules: list[str] | None = None
    device_requests: list[DeviceRequest] | None = None
    devices: list[Device] | None = None
    memory_swappiness: int | None = None
    oom_kill_disable: bool | None = None
    init: bool | None = None
    ulimits: list[Ulimit] | None = None
    cpu_count: int = 0
    cpu_percent: int = 0
    io_maximum_iops: int = field(default=0, name="IOMaximumIOps")
    io_maximum_bandwidth: int = field(default=0, name="IOMaximumBandwidth")


class Volume(Value, frozen=True):
    """One volume; ``mountpoint`` is its directory on the host."""

    name: str
    driver: str = "local"
    mountpoint: str = ""
    created_at: str = ""
    labels: Strings = {}
    options: Strings = {}
    scope: str = "local"


class MountPoint(Value, frozen=True):
    """One mount of a container as inspect shows it, resolved at create."""

    type: str
    destination: str
    source: str = ""
    name: str = ""
    driver: str = ""
    mode: str = ""
    rw: bool = field(default=True, name="RW")
    propagation: str = ""


class State(Value, frozen=True):
    """A container's state; times are RFC 3339 with nanoseconds, Docker's zero time where there is none."""

    status: str = "created"
    running: bool = False
    paused: bool = False
    restarting: bool = False
    oom_killed: bool = field(default=False, name="OOMKilled")
    dead: bool = False
    pid: int = 0
    exit_code: int = 0
    error: str = ""
    started_at: str = "0001-01-01T00:00:00Z"
    finished_at: str = "0001-01-01T00:00:00Z"


class HealthResult(Value, frozen=True):
    """One run of a health check; -1 is the exit code of one that gave no result."""

    start: str
    end: str
    exit_code: int
    output: str


class Health(Value, frozen=True):
    """What the health checks of a container say, with the latest results, oldest first."""

    status: str = "none"
    failing_streak: int = 0
    log: list[HealthResult] = []


class Container(Struct, frozen=True, kw_only=True):
    """The record of one container; a change is a new value (``msgspec.structs.replace``)."""

    id: str
    name: str
    """Without the leading slash."""
    created: str
    image: str
    """The image's ID (``sha256:…``); the reference that the user gave is ``config.image``."""
    config: ContainerConfig
    """Merged with the image's configuration."""
    host: HostConfig
    networking: NetworkingConfig = NetworkingConfig()
    path: str
    args: list[str]
    mounts: list[MountPoint] = []
    shallow_read_only: bool = False
    """What is mounted read-only is so without what is mounted below it, as clients before API 1.44 know it."""
    layers: list[str]
    """Short names of the image's layer directories, lowest first."""
    state: State = State()
    health: Health | None = None
    """None when it has no check, or was never started."""
    restart_count: int = 0
    stopped_by_user: bool = False
    monitor_pid: int = 0
    monitor_start: int = 0
    init_start: int = 0
    boot_id: str = ""
    endpoints: list[dict[str, Any]] = []
    """Its places in networks while it runs (``Endpoint.encode()``)."""
    sandbox: str = ""
    """The key of its run at the network helper; empty while no resolver of ours is in its network namespace."""
    endpoint: dict[str, Any] | None = None
    """What a record of an engine that knew one network a container has instead; :class:`Records` makes it the above."""
    platform: str = "linux"
    of_build: bool = False
    """It runs a step of a build: no list shows it, and an engine that finds one of an earlier engine's removes it."""


def as_json(value: Any) -> bytes:
    """The JSON bytes of a value."""
    return msgspec.json.encode(value)
