"""From a configuration to the list of operations that makes it true.

The plan is pure: it is computed in the engine, printed by ``--explain``, sent to the spawner as JSON, and executed
there as it stands. Its digest names it, so that what was shown and what is executed can be compared.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

from corten.errors import InvalidInput
from corten.runtime.cgroups import CgroupManager
from corten.runtime.operations.cgroups import CgroupJoin
from corten.runtime.operations.files import (
    BindMount,
    CgroupMounts,
    Console,
    DeviceLinks,
    DeviceNodes,
    MaskPaths,
    Mount,
    OpenTerminal,
    ReadOnlyPaths,
)
from corten.runtime.operations.identity import (
    Execute,
    Identity,
    Limits,
    NoNewPrivileges,
    OomScore,
    Session,
    WorkingDirectory,
)
from corten.runtime.operations.namespaces import (
    CgroupNamespace,
    EnterContainer,
    Hostname,
    JoinForChildren,
    JoinNamespace,
    NewNamespaces,
    Sysctl,
    UserMap,
)
from corten.runtime.operations.root import DirectoryRoot, OverlayMount, PivotRoot, PrivateMounts, ReadOnlyRoot
from corten.runtime.operations.seccomp import SeccompFilter
from corten.runtime.seccomp.compiler import compile_profile
from corten.spec.operation import CLONE, HOST, INIT, PARENT, Operation, decode, encode
from corten.spec.runtime import Device, Process, RuntimeConfig
from corten.spec.runtime import Mount as MountConfig

DEFAULT_DEVICES = (
    Device("c", "/dev/null", 1, 3), Device("c", "/dev/zero", 1, 5), Device("c", "/dev/full", 1, 7),
    Device("c", "/dev/random", 1, 8), Device("c", "/dev/urandom", 1, 9), Device("c", "/dev/tty", 5, 0),
)  # fmt: skip
_ORDER = {HOST: 0, CLONE: 1, PARENT: 2, INIT: 3}


@dataclasses.dataclass(frozen=True, slots=True)
class OverlayRoot:
    """A root of layers; all paths relative to ``base``, ``lowers`` highest first."""

    base: str
    lowers: tuple[str, ...]
    upper: str
    work: str
    merged: str
    user_xattrs: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class PlainRoot:
    """A directory that is the root as it stands."""

    path: str


@dataclasses.dataclass(frozen=True, slots=True)
class HostSide:
    """What the OCI configuration does not say of the host.

    ``links`` are the network's operations; ``cgroups`` None leaves control groups alone; ``reaper`` is ``--init``.
    """

    root: OverlayRoot | PlainRoot
    cgroups: CgroupManager | None = None
    links: tuple[Operation, ...] = ()
    reaper: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """The operations of a start, in the order of their execution."""

    steps: tuple[Operation, ...]

    def encode(self) -> list[dict[str, Any]]:
        """The JSON form that the spawner takes."""
        return [encode(step) for step in self.steps]

    @classmethod
    def decode(cls, value: Sequence[dict[str, Any]]) -> Plan:
        """The plan of its JSON form. Raises KeyError for an unknown kind."""
        return cls(tuple(decode(step) for step in value))

    def digest(self) -> str:
        """``sha256:…`` of the canonical JSON form."""
        content = json.dumps(self.encode(), sort_keys=True, separators=(",", ":")).encode()
        return f"sha256:{hashlib.sha256(content).hexdigest()}"

    def stage(self, name: str) -> tuple[Operation, ...]:
        """The operations of one stage."""
        return tuple(step for step in self.steps if step.stage == name)

    def describe(self) -> list[dict[str, str]]:
        """What ``--explain`` prints, a dictionary an operation."""
        return [
            {
                "kind": step.kind, "stage": step.stage, "group": step.group,
                "what": step.what(), "why": step.why(), "shell": step.shell(),
            }
            for step in self.steps
        ]  # fmt: skip


def plan(config: RuntimeConfig, host: HostSide) -> Plan:
    """The operations that start a container. Raises InvalidInput for what contradicts itself, Unsupported."""
    steps = [*_namespaces(config), *_groups(config, host), *_inside(config, host)]
    return Plan(tuple(sorted(steps, key=lambda step: _ORDER[step.stage])))


def _namespaces(config: RuntimeConfig) -> Iterator[Operation]:
    kinds = [one.type for one in config.namespaces]
    if len(kinds) != len(set(kinds)):
        raise InvalidInput(f"plan namespaces {', '.join(kinds)}: one is named twice")
    fresh = tuple(one.type for one in config.namespaces if not one.path and one.type != "cgroup")
    if "mount" not in fresh:
        raise InvalidInput("plan namespaces: a container needs a mount namespace of its own")
    for one in config.namespaces:
        if one.path and one.type == "pid":
            yield JoinForChildren(one.type, one.path)
    yield NewNamespaces(fresh)
    if config.uid_mappings or config.gid_mappings:
        maps = (
            tuple((m.container_id, m.host_id, m.size) for m in ranges)
            for ranges in (config.uid_mappings, config.gid_mappings)
        )
        yield UserMap(*maps)


def _groups(config: RuntimeConfig, host: HostSide) -> Iterator[Operation]:
    if host.cgroups is not None and config.cgroups_path:
        yield from host.cgroups.operations(config.cgroups_path, config.resources)
    for one in config.namespaces:
        if one.path and one.type != "pid":
            yield JoinNamespace(one.type, one.path)
    if any(one.type == "cgroup" and not one.path for one in config.namespaces):
        yield CgroupNamespace()


def _inside(config: RuntimeConfig, host: HostSide) -> Iterator[Operation]:
    if config.hostname or config.domainname:
        yield Hostname(config.hostname, config.domainname)
    if config.process.oom_score_adj is not None:
        yield OomScore(config.process.oom_score_adj)
    slave = any(option.endswith("slave") for mount in config.mounts for option in mount.options)
    yield PrivateMounts(slave)
    yield _root(host.root)
    yield from _mounts(config, host)
    yield from host.links
    for name, value in config.sysctl:
        yield Sysctl(name, value)
    if config.process.rlimits:
        yield Limits(tuple((one.type, one.soft, one.hard) for one in config.process.rlimits))
    if config.readonly_paths:
        yield ReadOnlyPaths(config.readonly_paths)
    if config.masked_paths:
        yield MaskPaths(config.masked_paths)
    yield PivotRoot()
    yield from process_steps(config.process, config.seccomp, reaper=host.reaper)


def _user_namespace(config: RuntimeConfig) -> bool:
    return any(one.type == "user" for one in config.namespaces)


def _root(root: OverlayRoot | PlainRoot) -> Operation:
    if isinstance(root, PlainRoot):
        return DirectoryRoot(root.path)
    return OverlayMount(root.base, root.lowers, root.upper, root.work, root.merged, root.user_xattrs)


def _mounts(config: RuntimeConfig, host: HostSide) -> Iterator[Operation]:
    """The mounts in their order; devices follow the mount of /dev, so that mounts below it find them there."""
    nodes = (*DEFAULT_DEVICES, *config.devices)
    devices: list[Operation] = [
        DeviceNodes(
            tuple((d.path, d.type, d.major, d.minor, d.file_mode, d.uid, d.gid) for d in nodes),
            bind=_user_namespace(config),
        ),
        DeviceLinks(),
    ]
    for mount in config.mounts:
        yield _mount(mount, host)
        if mount.destination == "/dev" and devices:
            yield from devices
            devices = []
    yield from devices
    if config.root_readonly:
        yield ReadOnlyRoot()
    if config.process.terminal:
        yield Console()


def _mount(mount: MountConfig, host: HostSide) -> Operation:
    if mount.type == "cgroup":
        controllers = host.cgroups.visible() if host.cgroups else ()
        return CgroupMounts(mount.destination, controllers, mount.options)
    if mount.type == "bind" or "bind" in mount.options or "rbind" in mount.options:
        return BindMount(mount.source, mount.destination, mount.options)
    return Mount(mount.type, mount.source or mount.type, mount.destination, mount.options)


def exec_plan(
    process: Process,
    *,
    namespaces: Sequence[str],
    cgroup_files: Sequence[str] = (),
    seccomp: dict[str, Any] | None = None,
) -> Plan:
    """The operations that run one more command in a living container, for :func:`corten.runtime.stages.join.join`.

    ``namespaces`` are those that the container does not share with the host.
    """
    steps: list[Operation] = [CgroupJoin(tuple(cgroup_files))] if cgroup_files else []
    # The pid namespace is the monitor's to choose: only a child can be born into it.
    steps.append(EnterContainer(tuple(name for name in namespaces if name != "pid")))
    if process.terminal:
        steps.append(OpenTerminal())
    return Plan((*steps, *process_steps(process, seccomp)))


def process_steps(process: Process, seccomp: dict[str, Any] | None, *, reaper: bool = False) -> Iterator[Operation]:
    """The operations from a finished root to the running command; an exec has only these."""
    rows, columns = process.console_size or (0, 0)
    yield Session(process.terminal, rows, columns)
    yield WorkingDirectory(process.cwd)
    filters = [SeccompFilter(compile_profile(seccomp).hex())] if seccomp else []
    # Without no_new_privs, loading a filter takes CAP_SYS_ADMIN, which the next step gives up.
    if process.no_new_privileges:
        yield NoNewPrivileges()
    else:
        yield from filters
    yield identity(process)
    if process.no_new_privileges:
        yield from filters
    yield Execute(process.args, process.env, reaper)


def identity(process: Process) -> Identity:
    """The user and the capability sets of a process; all of them empty where none are given."""
    who, sets = process.user, process.capabilities
    names = {
        field: tuple(name.removeprefix("CAP_") for name in getattr(sets, field))
        for field in ("bounding", "effective", "permitted", "inheritable", "ambient")
        if sets is not None
    }
    return Identity(
        who.uid, who.gid, who.additional_gids, who.name, who.additional_groups,
        0o022 if who.umask is None else who.umask, **names,
    )  # fmt: skip
