"""From a configuration to the list of operations that makes it true.

It is pure: the plan is computed in the engine, printed by ``--explain``, sent to a starter, and executed there as it
stands.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any

from corten.errors import InvalidInput, Unsupported
from corten.runtime.cgroups import CgroupManager
from corten.runtime.command import DEFAULT_PATH
from corten.runtime.operations.cgroups import CgroupJoin, CgroupMounts
from corten.runtime.operations.files import (
    BindMount,
    Console,
    DeviceLinks,
    DeviceNodes,
    MaskPaths,
    Mount,
    OpenShared,
    OpenTerminal,
    ReadOnlyPaths,
)
from corten.runtime.operations.hooks import ContainerHooks, RuntimeHooks
from corten.runtime.operations.identity import (
    RLIMITS,
    AppArmor,
    Execute,
    FindCommand,
    Identity,
    LimitCapabilities,
    Limits,
    NoNewPrivileges,
    OomScore,
    Session,
    WorkingDirectory,
)
from corten.runtime.operations.namespaces import (
    FLAGS,
    CgroupNamespace,
    EnterContainer,
    Hostname,
    JoinForChildren,
    JoinNamespace,
    NewNamespaces,
    Sysctl,
    UserMap,
)
from corten.runtime.operations.options import parse
from corten.runtime.operations.root import (
    CopiedRoot,
    DirectoryRoot,
    OverlayMount,
    PivotRoot,
    PrivateMounts,
    ReadOnlyRoot,
    RootPropagation,
)
from corten.runtime.operations.seccomp import SeccompFilter
from corten.runtime.seccomp.compiler import compile_profile, load_flags
from corten.runtime.sysctl import check_sysctl
from corten.spec.operation import CLONE, HOST, INIT, PARENT, Operation
from corten.spec.plan import Plan
from corten.spec.runtime import Capabilities, Device, Process, RuntimeConfig
from corten.spec.runtime import Mount as MountConfig
from corten.sys.capabilities import NAMES as CAPABILITIES

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
    files: tuple[str, ...] = ()
    """Of the layers, those that are files."""


@dataclasses.dataclass(frozen=True, slots=True)
class PlainRoot:
    """A directory that is the root as it stands; ``is_copy``: made for this container, of its image's files."""

    path: str
    is_copy: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class HostSide:
    """What the OCI configuration does not say of the host.

    ``links`` are the network's operations; ``cgroups`` None leaves control groups alone; ``reaper`` is ``--init``.
    ``user_namespace``: whoever executes the plan is in one already, and so cannot make device nodes.
    """

    root: OverlayRoot | PlainRoot
    cgroups: CgroupManager | None = None
    links: tuple[Operation, ...] = ()
    reaper: bool = False
    user_namespace: bool = False
    told: str = ""
    """What hooks are told of the container, where a starter runs them (:class:`RuntimeHooks`)."""


def plan(config: RuntimeConfig, host: HostSide) -> Plan:
    """The operations that start a container. Raises InvalidInput for what contradicts itself, Unsupported."""
    steps = [*_namespaces(config), *_groups(config, host), *_inside(config, host)]
    return Plan(tuple(sorted(steps, key=lambda step: _ORDER[step.stage])))


def _namespaces(config: RuntimeConfig) -> Iterator[Operation]:
    kinds = [one.type for one in config.namespaces]
    if len(kinds) != len(set(kinds)):
        raise InvalidInput(f"plan namespaces {', '.join(kinds)}: one is named twice")
    unknown = set(kinds) - FLAGS.keys()
    if unknown:
        raise Unsupported(f"plan namespaces: {', '.join(sorted(unknown))} is not known")
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
    yield from _shared_sources(config)
    slave = any(option.endswith("slave") for mount in config.mounts for option in mount.options)
    yield PrivateMounts(slave or config.rootfs_propagation.endswith("slave"))
    yield _root(host.root)
    yield from _mounts(config, host)
    yield from host.links
    for name, value in config.sysctl:
        check_sysctl(name, frozenset(one.type for one in config.namespaces))
        yield Sysctl(name, value)
    if config.readonly_paths:
        yield ReadOnlyPaths(config.readonly_paths)
    if config.masked_paths:
        yield MaskPaths(config.masked_paths)
    yield from _hooks(config, host)
    yield from _confined(config.process)
    yield PivotRoot()
    if config.rootfs_propagation:
        if not parse((config.rootfs_propagation,)).propagation:
            raise InvalidInput(f"plan root: propagation {config.rootfs_propagation} is not known")
        yield RootPropagation(config.rootfs_propagation)
    yield WorkingDirectory(config.process.cwd)
    if config.root_readonly:
        yield ReadOnlyRoot()
    yield from _with_start_hooks(config, process_steps(config.process, config.seccomp, reaper=host.reaper))


def _hooks(config: RuntimeConfig, host: HostSide) -> Iterator[Operation]:
    """Those that are run while the container is created; the init is told its state with the runtime's."""
    hooks = config.hooks
    own = (*hooks.prestart, *hooks.create_runtime)
    if own or hooks.create_container or hooks.start_container:
        run = tuple(dataclasses.astuple(hook) for hook in own) if host.told else ()
        yield RuntimeHooks(tuple(hook.path for hook in own), run, host.told)
    if hooks.create_container:
        yield ContainerHooks(tuple(dataclasses.astuple(hook) for hook in hooks.create_container))


def _with_start_hooks(config: RuntimeConfig, steps: Iterator[Operation]) -> Iterator[Operation]:
    """Hooks of the start are the last before the command."""
    *before, execute = steps
    yield from before
    if config.hooks.start_container:
        yield ContainerHooks(tuple(dataclasses.astuple(hook) for hook in config.hooks.start_container), at_start=True)
    yield execute


def _shared_sources(config: RuntimeConfig) -> Iterator[Operation]:
    for mount in config.mounts:
        options = parse(mount.options, mount.type)
        if options.bind and options.shared:
            yield OpenShared(mount.source, mount.destination, options.recursive)


def _user_namespace(config: RuntimeConfig) -> bool:
    return any(one.type == "user" for one in config.namespaces)


def _root(root: OverlayRoot | PlainRoot) -> Operation:
    if isinstance(root, PlainRoot):
        return CopiedRoot(root.path) if root.is_copy else DirectoryRoot(root.path)
    return OverlayMount(root.base, root.lowers, root.upper, root.work, root.merged, root.user_xattrs, root.files)


def _mounts(config: RuntimeConfig, host: HostSide) -> Iterator[Operation]:
    """The mounts in their order; devices follow the mount of /dev, so that mounts below it find them there."""
    nodes = (*DEFAULT_DEVICES, *config.devices)
    devices: list[Operation] = [
        DeviceNodes(
            tuple((d.path, d.type, d.major, d.minor, d.file_mode, d.uid, d.gid) for d in nodes),
            bind=host.user_namespace or _user_namespace(config),
        ),
        DeviceLinks(),
    ]
    # A directory of the host's that is shown as /dev has its nodes: none is made there (as runc has it).
    if any(mount.destination == "/dev" and parse(mount.options, mount.type).bind for mount in config.mounts):
        devices = []
    for mount in config.mounts:
        if mount.type == "cgroup" and host.cgroups is not None and not host.cgroups.present:
            continue  # there is none to show
        yield _mount(mount, config, host)
        if mount.destination == "/dev" and devices:
            yield from devices
            devices = []
    yield from devices
    if config.process.terminal:
        yield Console()


def _mount(mount: MountConfig, config: RuntimeConfig, host: HostSide) -> Operation:
    if mount.type == "cgroup" and host.cgroups is not None:
        own_view = any(one.type == "cgroup" for one in config.namespaces)
        groups = () if own_view else host.cgroups.directories(config.cgroups_path)
        return CgroupMounts(mount.destination, host.cgroups.visible(), mount.options, groups)
    if parse(mount.options, mount.type).bind:
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
    if process.oom_score_adj is not None:
        steps.append(OomScore(process.oom_score_adj))
    steps += _confined(process)
    # The pid namespace is the monitor's to choose: only a child can be born into it.
    steps.append(EnterContainer(tuple(name for name in namespaces if name != "pid")))
    if process.terminal:
        steps.append(OpenTerminal())
    return Plan((*steps, WorkingDirectory(process.cwd, make=False), *process_steps(process, seccomp)))


def process_steps(process: Process, seccomp: dict[str, Any] | None, *, reaper: bool = False) -> Iterator[Operation]:
    """The operations from a finished root to the running command.

    A filter is loaded as late as can be, so that it need not allow what the steps before it do. Without no_new_privs
    that takes CAP_SYS_ADMIN (seccomp(2)), which is held on to until then.
    """
    rows, columns = process.console_size or (0, 0)
    yield Session(process.terminal, rows, columns)
    if process.rlimits:
        yield _limits(process)
    who = process.user
    umask = 0o022 if who.umask is None else who.umask
    yield Identity(who.uid, who.gid, who.additional_gids, who.name, who.additional_groups, umask)
    borrowed = ("SYS_ADMIN",) if seccomp and not process.no_new_privileges else ()
    sets = _sets(process.capabilities or Capabilities())
    yield LimitCapabilities(**sets, pending=borrowed)
    env = dict(item.partition("=")[::2] for item in process.env)
    yield FindCommand(process.args[0] if process.args else "", env.get("PATH", DEFAULT_PATH))
    if process.no_new_privileges:
        yield NoNewPrivileges()
    if seccomp:
        yield SeccompFilter(compile_profile(seccomp).hex(), load_flags(seccomp))
    if borrowed:
        yield LimitCapabilities(**sets)
    yield Execute(process.args, process.env, reaper)


def _confined(process: Process) -> list[Operation]:
    """What holds from its next execution on. It is asked for while /proc is still the host's: whatever a volume or an
    image shows in the place of the container's could swallow it (CVE-2019-16884)."""
    return [AppArmor(process.apparmor_profile)] if process.apparmor_profile else []


def _limits(process: Process) -> Limits:
    for one in process.rlimits:
        if one.type not in RLIMITS:
            raise InvalidInput(f"plan limits: {one.type} is not known")
    return Limits(tuple((one.type, one.soft, one.hard) for one in process.rlimits))


@functools.lru_cache(maxsize=64)  # nearly all containers have the same
def _sets(sets: Capabilities) -> dict[str, tuple[str, ...]]:
    """The capability sets of a process, as names without ``CAP_``. Raises InvalidInput."""
    names = {
        field.name: tuple(name.upper().removeprefix("CAP_") for name in getattr(sets, field.name))
        for field in dataclasses.fields(sets)
    }
    for unknown in {name for held in names.values() for name in held} - set(CAPABILITIES):
        raise InvalidInput(f"plan capabilities: CAP_{unknown} is not known")
    return names
