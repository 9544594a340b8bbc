"""The OCI runtime configuration (config.json) as frozen values.

Source: OCI runtime-spec 1.2, ``config.md`` and ``config-linux.md``. Fields keep the specification's names in snake
case. :func:`decode` takes the parsed JSON of a bundle; what Corten does not know of it is left out, what it cannot
honour is an error of the plan.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from corten.errors import InvalidInput


@dataclasses.dataclass(frozen=True, slots=True)
class User:
    """Who the process is. ``name`` (``user[:group]``, resolved in the container's own /etc/passwd and /etc/group) is
    the Windows field of the specification, which Linux engines use for the same end; it wins over the numbers."""

    uid: int = 0
    gid: int = 0
    umask: int | None = None
    additional_gids: tuple[int, ...] = ()
    name: str = ""
    additional_groups: tuple[str, ...] = ()
    """``--group-add``: names or numbers, resolved inside the container."""


@dataclasses.dataclass(frozen=True, slots=True)
class Rlimit:
    """One resource limit: ``type`` is ``RLIMIT_…``; 2**64-1 is unlimited."""

    type: str
    soft: int
    hard: int


@dataclasses.dataclass(frozen=True, slots=True)
class Capabilities:
    """The five sets, as ``CAP_…`` names."""

    bounding: tuple[str, ...] = ()
    effective: tuple[str, ...] = ()
    permitted: tuple[str, ...] = ()
    inheritable: tuple[str, ...] = ()
    ambient: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Process:
    """The command, and as whom and with what it runs."""

    args: tuple[str, ...]
    env: tuple[str, ...] = ()
    cwd: str = "/"
    terminal: bool = False
    console_size: tuple[int, int] | None = None
    """(rows, columns)"""
    user: User = User()
    capabilities: Capabilities | None = None
    rlimits: tuple[Rlimit, ...] = ()
    no_new_privileges: bool = False
    oom_score_adj: int | None = None
    apparmor_profile: str = ""


WITHIN = "/.//"
"""In the source of a bind: what follows is looked up inside of what stands before, and leads nowhere else. To who knows
nothing of it the path means the same place."""


@dataclasses.dataclass(frozen=True, slots=True)
class Mount:
    """One mount of the container; ``options`` as fstab has them, plus the specification's r-forms."""

    destination: str
    type: str = ""
    source: str = ""
    options: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace to make (no path) or to join."""

    type: str
    path: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class IdMapping:
    """One range of a user namespace's map."""

    container_id: int
    host_id: int
    size: int


@dataclasses.dataclass(frozen=True, slots=True)
class Device:
    """A device node to be made in /dev."""

    type: str
    path: str
    major: int = 0
    minor: int = 0
    file_mode: int = 0o666
    uid: int = 0
    gid: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class DeviceRule:
    """A rule of the device cgroup; -1 is any number."""

    allow: bool
    type: str = "a"
    major: int = -1
    minor: int = -1
    access: str = "rwm"


@dataclasses.dataclass(frozen=True, slots=True)
class Resources:
    """Limits; None is "not limited by this". Sizes in bytes, CPU times in microseconds."""

    memory: int | None = None
    memory_reservation: int | None = None
    memory_swap: int | None = None
    """Memory and swap together, as in cgroup v1; -1 is unlimited."""
    memory_swappiness: int | None = None
    oom_kill_disable: bool = False
    cpu_shares: int | None = None
    cpu_quota: int | None = None
    cpu_period: int | None = None
    cpu_rt_runtime: int | None = None
    cpu_rt_period: int | None = None
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    pids: int | None = None
    blkio_weight: int | None = None
    throttle: tuple[tuple[str, int, int, int], ...] = ()
    """(``read_bps``|``write_bps``|``read_iops``|``write_iops``, major, minor, rate)"""
    devices: tuple[DeviceRule, ...] = ()
    unified: tuple[tuple[str, str], ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Hook:
    """A program to run at a point of the container's life; ``timeout`` in seconds."""

    path: str
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    timeout: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Hooks:
    """The hooks of each point (config.md, "POSIX-platform Hooks")."""

    prestart: tuple[Hook, ...] = ()
    create_runtime: tuple[Hook, ...] = ()
    create_container: tuple[Hook, ...] = ()
    start_container: tuple[Hook, ...] = ()
    poststart: tuple[Hook, ...] = ()
    poststop: tuple[Hook, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class RuntimeConfig:
    """All of a container's configuration that the runtime executes."""

    process: Process
    root_path: str = "rootfs"
    root_readonly: bool = False
    hostname: str = ""
    domainname: str = ""
    mounts: tuple[Mount, ...] = ()
    namespaces: tuple[Namespace, ...] = ()
    uid_mappings: tuple[IdMapping, ...] = ()
    gid_mappings: tuple[IdMapping, ...] = ()
    devices: tuple[Device, ...] = ()
    resources: Resources = Resources()
    cgroups_path: str = ""
    rootfs_propagation: str = ""
    sysctl: tuple[tuple[str, str], ...] = ()
    masked_paths: tuple[str, ...] = ()
    readonly_paths: tuple[str, ...] = ()
    seccomp: dict[str, Any] | None = None
    """``linux.seccomp`` as the specification has it."""
    annotations: tuple[tuple[str, str], ...] = ()
    hooks: Hooks = Hooks()


def decode(value: dict[str, Any]) -> RuntimeConfig:
    """The configuration of a parsed config.json. Raises InvalidInput when it is not shaped as specified."""
    try:
        return _decode(value)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidInput(f"read config.json: {error!r} is not as the OCI runtime specification says") from error


def _decode(value: dict[str, Any]) -> RuntimeConfig:
    linux = value.get("linux") or {}
    root = value.get("root") or {}
    return RuntimeConfig(
        process=decode_process(value["process"]),
        root_path=root.get("path", "rootfs"),
        root_readonly=bool(root.get("readonly", False)),
        hostname=value.get("hostname", ""),
        domainname=value.get("domainname", ""),
        mounts=tuple(
            Mount(m["destination"], m.get("type", ""), m.get("source", ""), tuple(m.get("options") or ()))
            for m in value.get("mounts") or ()
        ),
        namespaces=tuple(Namespace(n["type"], n.get("path", "")) for n in linux.get("namespaces") or ()),
        uid_mappings=_mappings(linux.get("uidMappings")),
        gid_mappings=_mappings(linux.get("gidMappings")),
        devices=tuple(_device(item) for item in linux.get("devices") or ()),
        resources=decode_resources(linux.get("resources") or {}),
        cgroups_path=linux.get("cgroupsPath", ""),
        rootfs_propagation=linux.get("rootfsPropagation", ""),
        sysctl=tuple((linux.get("sysctl") or {}).items()),
        masked_paths=tuple(linux.get("maskedPaths") or ()),
        readonly_paths=tuple(linux.get("readonlyPaths") or ()),
        seccomp=linux.get("seccomp"),
        annotations=tuple((value.get("annotations") or {}).items()),
        hooks=decode_hooks(value.get("hooks") or {}),
    )


def decode_hooks(value: dict[str, Any]) -> Hooks:
    """The ``hooks`` object. Raises ValueError for a path that is not absolute, or a timeout that is none."""
    return Hooks(**{
        ours: tuple(_hook(item) for item in value.get(theirs) or ()) for theirs, ours in HOOK_NAMES.items()
    })  # fmt: skip


def _hook(value: dict[str, Any]) -> Hook:
    path, timeout = value["path"], value.get("timeout")
    if not path.startswith("/"):
        raise ValueError(f"the path of a hook, {path}, is not absolute")
    if timeout is not None and timeout <= 0:
        raise ValueError(f"the timeout of hook {path}, {timeout}, is not greater than zero")
    return Hook(path, tuple(value.get("args") or ()), tuple(value.get("env") or ()), timeout)


def _mappings(value: list[dict[str, int]] | None) -> tuple[IdMapping, ...]:
    return tuple(IdMapping(m["containerID"], m["hostID"], m["size"]) for m in value or ())


def _device(value: dict[str, Any]) -> Device:
    return Device(
        value["type"], value["path"], value.get("major", 0), value.get("minor", 0),
        value.get("fileMode", 0o666), value.get("uid", 0), value.get("gid", 0),
    )  # fmt: skip


def decode_process(value: dict[str, Any]) -> Process:
    """The ``process`` object of a config.json, or of ``exec --process``."""
    user, size, sets = value.get("user") or {}, value.get("consoleSize"), value.get("capabilities")
    return Process(
        args=tuple(value["args"]),
        env=tuple(value.get("env") or ()),
        cwd=value.get("cwd", "/"),
        terminal=bool(value.get("terminal", False)),
        console_size=(size["height"], size["width"]) if size else None,
        user=User(
            user.get("uid", 0), user.get("gid", 0), user.get("umask"),
            tuple(user.get("additionalGids") or ()), user.get("username", ""),
        ),
        capabilities=Capabilities(**{name: tuple(names or ()) for name, names in sets.items()}) if sets else None,
        rlimits=tuple(Rlimit(r["type"], r["soft"], r["hard"]) for r in value.get("rlimits") or ()),
        no_new_privileges=bool(value.get("noNewPrivileges", False)),
        oom_score_adj=value.get("oomScoreAdj"),
        apparmor_profile=value.get("apparmorProfile", ""),
    )  # fmt: skip


def decode_resources(value: dict[str, Any]) -> Resources:
    """The ``linux.resources`` object. Engines send 0 for what is not limited, as runc takes it."""
    memory, cpu, block = (value.get(name) or {} for name in ("memory", "cpu", "blockIO"))
    throttle = tuple(
        (ours, item["major"], item["minor"], item["rate"])
        for theirs, ours in _THROTTLES
        for item in block.get(theirs) or ()
    )
    return Resources(
        memory=memory.get("limit") or None,
        memory_reservation=memory.get("reservation") or None,
        memory_swap=memory.get("swap") or None,
        memory_swappiness=memory.get("swappiness"),
        oom_kill_disable=bool(memory.get("disableOOMKiller", False)),
        cpu_shares=cpu.get("shares") or None,
        cpu_quota=cpu.get("quota") or None,
        cpu_period=cpu.get("period") or None,
        cpu_rt_runtime=cpu.get("realtimeRuntime") or None,
        cpu_rt_period=cpu.get("realtimePeriod") or None,
        cpuset_cpus=cpu.get("cpus", ""),
        cpuset_mems=cpu.get("mems", ""),
        pids=(value.get("pids") or {}).get("limit") or None,
        blkio_weight=block.get("weight") or None,
        throttle=throttle,
        devices=tuple(
            DeviceRule(
                rule["allow"], rule.get("type", "a"), _any(rule.get("major")), _any(rule.get("minor")),
                rule.get("access", "rwm"),
            )
            for rule in value.get("devices") or ()
        ),
        unified=tuple((value.get("unified") or {}).items()),
    )  # fmt: skip


def _any(number: int | None) -> int:
    return -1 if number is None else number


HOOK_NAMES = {
    "prestart": "prestart", "createRuntime": "create_runtime", "createContainer": "create_container",
    "startContainer": "start_container", "poststart": "poststart", "poststop": "poststop",
}  # fmt: skip
"""The specification's names, and those of :class:`Hooks`."""
_THROTTLES = (
    ("throttleReadBpsDevice", "read_bps"),
    ("throttleWriteBpsDevice", "write_bps"),
    ("throttleReadIOPSDevice", "read_iops"),
    ("throttleWriteIOPSDevice", "write_iops"),
)
