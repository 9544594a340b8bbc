"""The body of ``POST /containers/create`` out of the options of ``create`` and ``run``."""

from __future__ import annotations

import os

from corten.errors import CortenError, InvalidInput

from . import notation
from .options import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from .options import Values

_HEALTH = ("cmd", "interval", "timeout", "start-period", "start-interval", "retries")


def flag_value(flag: str, convert: Callable[[str], Any], text: str) -> Any:
    """The value of one flag. Raises UsageError that names it."""
    try:
        return convert(text)
    except InvalidInput as error:
        raise UsageError(f'invalid argument "{text}" for "{flag}" flag: {error.message}', code=125) from error


def create_request(
    values: Values, image: str, command: list[str], environment: Mapping[str, str], *, detached: bool
) -> dict[str, Any]:
    """The API's ContainerCreate request. Raises InvalidInput."""
    binds, anonymous = notation.volumes(values.volume)
    config = _config(values, image, command, environment)
    config.update(_streams(values, detached))
    config["HostConfig"] = {**_host(values), **_mounts(values, binds), **_limits(values), **_block_io(values)}
    if anonymous:
        config["Volumes"] = anonymous
    _network(values, config)
    return config


def _config(values: Values, image: str, command: list[str], environment: Mapping[str, str]) -> dict[str, Any]:
    config: dict[str, Any] = {
        "Image": image,
        "Hostname": values.hostname,
        "Domainname": values.domainname,
        "User": values.user,
        "Tty": values.tty,
        "WorkingDir": values.workdir,
        "Env": notation.environment(values.env, values.env_file, environment),
        "Labels": notation.labels(values.label, values.label_file),
        "Cmd": command or None,
        "ExposedPorts": notation.exposed(values.expose),
    }
    if values.given("entrypoint"):
        # An empty --entrypoint takes the image's away: the API's way to say so is one empty string.
        config["Entrypoint"] = [values.entrypoint]
    if values.stop_signal:
        config["StopSignal"] = values.stop_signal
    if values.given("stop-timeout"):
        config["StopTimeout"] = values.stop_timeout
    if health := _health(values):
        config["Healthcheck"] = health
    return config


def _health(values: Values) -> dict[str, Any] | None:
    given = [name for name in _HEALTH if values.given(f"health-{name}")]
    if values.no_healthcheck:
        if given:
            raise InvalidInput("--no-healthcheck conflicts with --health-* options")
        return {"Test": ["NONE"]}
    if not given:
        return None
    health: dict[str, Any] = {
        "Interval": flag_value("--health-interval", notation.duration, values.health_interval),
        "Timeout": flag_value("--health-timeout", notation.duration, values.health_timeout),
        "StartPeriod": flag_value("--health-start-period", notation.duration, values.health_start_period),
        "StartInterval": flag_value("--health-start-interval", notation.duration, values.health_start_interval),
        "Retries": values.health_retries,
    }
    if values.health_cmd:
        health["Test"] = ["CMD-SHELL", values.health_cmd]
    return health


def _streams(values: Values, detached: bool) -> dict[str, Any]:
    """Which streams the client attaches: ``-a`` says it, else all (stdin with ``-i`` only)."""
    named = {name.lower() for name in values.attach}
    if wrong := named - {"stdin", "stdout", "stderr"}:
        raise InvalidInput(f"valid streams are STDIN, STDOUT and STDERR: {', '.join(sorted(wrong))}")
    if detached and named:
        raise CortenError("conflicting options: cannot specify both --attach and --detach")
    wants = named or ({"stdout", "stderr"} | ({"stdin"} if values.interactive else set()))
    stdin = not detached and "stdin" in wants
    return {
        "AttachStdin": stdin,
        "AttachStdout": not detached and "stdout" in wants,
        "AttachStderr": not detached and "stderr" in wants,
        "OpenStdin": values.interactive,
        "StdinOnce": values.interactive and stdin,
    }


def _host(values: Values) -> dict[str, Any]:
    policy = notation.restart_policy(values.restart)
    if values.rm and policy["Name"] != "no":
        raise InvalidInput("conflicting options: cannot specify both --restart and --rm")
    for kind in ("pid", "uts", "userns", "cgroupns"):
        notation.check_mode(kind, getattr(values, kind))
    host: dict[str, Any] = {
        "AutoRemove": values.rm,
        "ContainerIDFile": values.cidfile,
        "LogConfig": {"Type": values.log_driver, "Config": notation.pairs(values.log_opt)},
        "RestartPolicy": policy,
        "VolumeDriver": values.volume_driver,
        "VolumesFrom": values.volumes_from,
        "Annotations": notation.pairs(values.annotation),
        "CapAdd": values.cap_add,
        "CapDrop": values.cap_drop,
        "CgroupnsMode": values.cgroupns,
        "Dns": [flag_value("--dns", notation.ip_address, text) for text in values.dns],
        "DnsOptions": values.dns_option + values.dns_opt,
        "DnsSearch": values.dns_search,
        "ExtraHosts": [flag_value("--add-host", _extra_host, item) for item in values.add_host],
        "GroupAdd": values.group_add,
        "IpcMode": values.ipc,
        "Links": values.link,
        "OomScoreAdj": values.oom_score_adj,
        "PidMode": values.pid,
        "Privileged": values.privileged,
        "PublishAllPorts": values.publish_all,
        "ReadonlyRootfs": values.read_only,
        "SecurityOpt": [_security(item) for item in values.security_opt],
        "StorageOpt": notation.pairs(values.storage_opt),
        "UTSMode": values.uts,
        "UsernsMode": values.userns,
        "ShmSize": flag_value("--shm-size", notation.size, values.shm_size),
        "Sysctls": notation.pairs(flag_value("--sysctl", notation.sysctl, item) for item in values.sysctl),
        "Isolation": values.isolation,
        "PortBindings": notation.published(values.publish),
    }
    if values.runtime:
        host["Runtime"] = values.runtime
    if values.given("init"):
        host["Init"] = values.init
    return host


def _extra_host(item: str) -> str:
    """``host:ip`` or ``host=ip``; an IPv6 address may stand in brackets."""
    name, _, address = item.partition("=") if "=" in item else item.partition(":")
    if not name or not address:
        raise InvalidInput(f'bad format for add-host: "{item}"')
    address = address.removeprefix("[").removesuffix("]")
    try:
        return f"{name}:{address if address == 'host-gateway' else notation.ip_address(address)}"
    except InvalidInput:
        raise InvalidInput(f'invalid IP address in add-host: "{address}"') from None


def _security(item: str) -> str:
    """A seccomp profile is read here: the engine may run elsewhere."""
    name, _, value = item.partition("=") if "=" in item else item.partition(":")
    if name == "no-new-privileges" and not value:
        return item
    if not value:
        raise InvalidInput(f'Invalid --security-opt: "{item}"')
    if name != "seccomp" or value in ("unconfined", "builtin"):
        return item
    try:
        with open(value, encoding="utf-8") as file:
            return f"seccomp={file.read()}"
    except OSError as error:
        cause = (error.strerror or "").lower()
        raise InvalidInput(f"opening seccomp profile ({value}) failed: open {value}: {cause}") from error


def _mounts(values: Values, binds: list[str]) -> dict[str, Any]:
    host: dict[str, Any] = {"Binds": binds}
    if values.mount:
        from .mount_notation import mount

        host["Mounts"] = [flag_value("--mount", mount, text) for text in values.mount]
    if values.tmpfs:
        host["Tmpfs"] = {path: options for path, _, options in (item.partition(":") for item in values.tmpfs)}
    return host


def _limits(values: Values) -> dict[str, Any]:
    if not -1 <= values.memory_swappiness <= 100:
        raise InvalidInput(f"invalid value: {values.memory_swappiness}. Valid memory swappiness range is 0-100")
    limits: dict[str, Any] = {
        "CgroupParent": values.cgroup_parent,
        "CpuPeriod": values.cpu_period,
        "CpuQuota": values.cpu_quota,
        "CpuRealtimePeriod": values.cpu_rt_period,
        "CpuRealtimeRuntime": values.cpu_rt_runtime,
        "CpuShares": values.cpu_shares,
        "CpusetCpus": values.cpuset_cpus,
        "CpusetMems": values.cpuset_mems,
        "NanoCpus": flag_value("--cpus", notation.nano_cpus, values.cpus),
        "Memory": flag_value("-m, --memory", notation.size, values.memory),
        "MemoryReservation": flag_value("--memory-reservation", notation.size, values.memory_reservation),
        "MemorySwap": flag_value("--memory-swap", notation.size, values.memory_swap),
        "MemorySwappiness": values.memory_swappiness,
        "OomKillDisable": values.oom_kill_disable,
        "Ulimits": [flag_value("--ulimit", notation.ulimit, text) for text in values.ulimit],
        "Devices": [notation.device(text) for text in values.device if not notation.is_device_name(text)],
        "DeviceRequests": _device_requests(values),
        "DeviceCgroupRules": values.device_cgroup_rule,
    }
    if values.given("pids-limit"):
        limits["PidsLimit"] = values.pids_limit
    return limits


def _device_requests(values: Values) -> list[dict[str, Any]] | None:
    """What is asked for by name is the engine's to find."""
    names = [text for text in values.device if notation.is_device_name(text)]
    return [{"Driver": "cdi", "DeviceIDs": names}] if names else None


def _block_io(values: Values) -> dict[str, Any]:
    return {
        "BlkioWeight": values.blkio_weight,
        "BlkioWeightDevice": [notation.weight(text) for text in values.blkio_weight_device],
        "BlkioDeviceReadBps": [notation.throttle(text, sized=True) for text in values.device_read_bps],
        "BlkioDeviceWriteBps": [notation.throttle(text, sized=True) for text in values.device_write_bps],
        "BlkioDeviceReadIOps": [notation.throttle(text, sized=False) for text in values.device_read_iops],
        "BlkioDeviceWriteIOps": [notation.throttle(text, sized=False) for text in values.device_write_iops],
    }


def _network(values: Values, config: dict[str, Any]) -> None:
    """The network mode, and for each named network the endpoint that is asked for."""
    names = [*values.network, *values.net]
    networks = [_named_network(text) for text in names] or [("default", {})]
    host = config["HostConfig"]
    host["NetworkMode"] = networks[0][0]
    config["ExposedPorts"] = {**{port: {} for port in host["PortBindings"]}, **config["ExposedPorts"]}
    if len(dict(networks)) != len(networks):
        twice = next(name for number, (name, _) in enumerate(networks) if name in dict(networks[:number]))
        raise InvalidInput(f"network {twice!r} is specified multiple times")
    if values.mac_address:
        config["MacAddress"] = notation.mac_address(values.mac_address)
    first = networks[0][1]
    if aliases := [*values.network_alias, *values.net_alias]:
        first.setdefault("Aliases", []).extend(aliases)
    if values.link and _is_users(networks[0][0]):  # a link there is a name for its resolver
        first["Links"] = host.pop("Links")
    for option, field in ((values.ip, "IPv4Address"), (values.ip6, "IPv6Address")):
        if option:
            first.setdefault("IPAMConfig", {})[field] = option
    if names or first:
        config["NetworkingConfig"] = {"EndpointsConfig": dict(networks)}


def _is_users(network: str) -> bool:
    return network not in ("", "default", "bridge", "host", "none") and not network.startswith(("container:", "ns:"))


def _named_network(text: str) -> tuple[str, dict[str, Any]]:
    """``name`` or ``name=n,alias=a,ip=…,mac-address=…,driver-opt=key=value,gw-priority=…``."""
    if "=" not in text:
        return text, {}
    endpoint: dict[str, Any] = {}
    name = ""
    for field in text.split(","):
        key, _, value = field.partition("=")
        key = key.strip().lower()
        if key == "name":
            name = value
        elif key == "alias":
            endpoint.setdefault("Aliases", []).append(value)
        elif key in ("ip", "ip6"):
            endpoint.setdefault("IPAMConfig", {})["IPv4Address" if key == "ip" else "IPv6Address"] = value
        elif key == "mac-address":
            endpoint["MacAddress"] = value
        elif key == "driver-opt":
            option, _, setting = value.partition("=")
            endpoint.setdefault("DriverOpts", {})[option.strip().lower()] = setting
        elif key == "gw-priority":
            endpoint["GwPriority"] = _priority(value)
        else:
            raise InvalidInput(f"invalid field {key}")
    if not name:
        raise InvalidInput("network name is required")
    return name, endpoint


def _priority(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InvalidInput(f"invalid gw-priority {text!r}: it is not a number") from None


def write_cidfile(path: str, identifier: str) -> None:
    """Put a new container's ID into its file. Raises InvalidInput when that cannot be done."""
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write(identifier)
    except OSError as error:
        raise InvalidInput(f"write container ID to {path}: {(error.strerror or '').lower()}") from error


def check_cidfile(path: str) -> None:
    """An ID file that is there belongs to another container. Raises InvalidInput."""
    if path and os.path.lexists(path):
        raise InvalidInput(f"container ID file found, make sure the other container isn't running or delete {path}")
