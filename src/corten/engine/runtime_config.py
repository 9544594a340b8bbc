"""From a container's record to the OCI runtime configuration: a pure function, with Docker's defaults.

What it needs to know beyond the record (paths, processes of other containers, device nodes of the host) comes in
as :class:`Surroundings`.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from corten.engine import propagation
from corten.engine.merge import DEFAULT_PATH, replace_env
from corten.engine.model import (
    BindOptions,
    Container,
    ContainerConfig,
    HostConfig,
    MountPoint,
    MountRequest,
    TmpfsOptions,
    Ulimit,
)
from corten.engine.privileges import Security, capabilities, security
from corten.engine.resources import resources
from corten.errors import CortenError, InvalidInput
from corten.spec.runtime import (
    Capabilities,
    Device,
    DeviceRule,
    Hooks,
    Mount,
    Namespace,
    Process,
    Rlimit,
    RuntimeConfig,
    User,
)
from corten.sys.standing import MACHINE, Standing

if TYPE_CHECKING:
    from corten.engine.cdi import Injected

_NAMESPACES = {"network": "net", "pid": "pid", "ipc": "ipc", "uts": "uts", "cgroup": "cgroup"}
_UNLIMITED = 2**64 - 1
_ROOT = "0"
_NO_HOOKS = Hooks()
_TTY = 5
"""The group of terminals (moby, oci/defaults.go)."""
# In a network of its own, a container's programs need no capability for ports below 1024 and for ping.
_NETWORK_SYSCTLS = {"net.ipv4.ip_unprivileged_port_start": "0"}
_PING = {"net.ipv4.ping_group_range": "0 2147483647"}
"""Both ends must be groups of the user namespace: only the machine's own has them all."""


@dataclasses.dataclass(frozen=True, slots=True)
class Surroundings:
    """What the container's record does not say."""

    etc: str
    """Directory of hostname, hosts and resolv.conf: its own, or that of the container whose network it shares."""
    cgroup: str
    """The container's group below the cgroup mounts."""
    hostname: str = ""
    """The host name of the container whose network it shares: the name belongs to the network that answers to it."""
    devices: tuple[Device, ...] = ()
    device_rules: tuple[DeviceRule, ...] = ()
    peers: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """By namespace type, the init of the container whose namespace is shared."""
    seccomp: dict[str, Any] | None = None
    """``linux.seccomp`` as the specification has it; None is unconfined."""
    apparmor: str = ""
    """The profile that confines it; '' for none."""
    standing: Standing = MACHINE
    """Of the engine: what its containers may mount."""
    groups: bool = True
    """Whether there are control groups to show."""
    of_host: frozenset[str] = frozenset()
    """The types of the namespaces that are the host's own, by its own or another container's mode."""
    links_env: tuple[str, ...] = ()
    """Variables that tell of the containers that it links to."""
    device_mounts: tuple[Mount, ...] = ()
    """Devices of the host that are shown instead of made."""
    injected: Injected | None = None
    """What devices that are asked for by name bring besides their nodes."""

    def is_foreign(self, kind: str) -> bool:
        """Whether a namespace is not this engine's to mount from: the kernel asks whose it is (user_namespaces(7))."""
        return kind in self.of_host and not self.standing.initial


def runtime_config(container: Container, around: Surroundings) -> RuntimeConfig:
    """The OCI runtime configuration of a container. Raises InvalidInput for a mode that is not known."""
    config, host = container.config, container.host
    rules = security(host)
    own_uts = host.uts_mode != "host"
    return RuntimeConfig(
        process=_process(container, rules, around),
        root_readonly=host.readonly_rootfs,
        hostname=(config.hostname or around.hostname) if own_uts else "",
        domainname=config.domainname if own_uts else "",
        mounts=tuple(_mounts(container, around)),
        namespaces=tuple(_namespaces(host, around)),
        devices=around.devices,
        resources=resources(host, around.device_rules),
        cgroups_path=around.cgroup,
        rootfs_propagation=propagation.of_root(container.mounts),
        sysctl=tuple(_sysctls(host, around.standing).items()),
        masked_paths=tuple(host.masked_paths or ()),
        readonly_paths=tuple(host.readonly_paths or ()),
        seccomp=around.seccomp,
        annotations=tuple((host.annotations or {}).items()),
        hooks=around.injected.hooks if around.injected else _NO_HOOKS,
    )


def environment(config: ContainerConfig, linked: tuple[str, ...] = ()) -> tuple[str, ...]:
    """PATH, HOSTNAME and, with a terminal, TERM, and what links tell; then the configuration's own, which win."""
    defaults = [DEFAULT_PATH]
    defaults += [f"HOSTNAME={config.hostname}"] if config.hostname else []
    defaults += ["TERM=xterm"] if config.tty else []
    defaults += linked
    return tuple(replace_env(defaults, config.env or ()))


def _process(container: Container, rules: Security, around: Surroundings) -> Process:
    config, host = container.config, container.host
    size = host.console_size
    env, given = environment(config, around.links_env), around.injected
    return Process(
        args=(container.path, *container.args),
        env=tuple(replace_env(env, given.env)) if given else env,
        cwd=config.working_dir or "/",
        terminal=config.tty,
        console_size=size if config.tty and size and all(size) else None,
        user=User(
            name=config.user or "0", additional_gids=given.groups if given else (),
            additional_groups=tuple(host.group_add or ()),
        ),
        capabilities=capability_sets(capabilities(host)),
        rlimits=tuple(rlimit(one) for one in host.ulimits or ()),
        no_new_privileges=rules.no_new_privileges,
        oom_score_adj=host.oom_score_adj or None,
        apparmor_profile=around.apparmor,
    )


def capability_sets(names: tuple[str, ...]) -> Capabilities:
    """Docker's sets: nothing is inheritable or ambient (CVE-2022-24769); a user other than root loses the effective
    and permitted sets when the runtime changes to it."""
    return Capabilities(bounding=names, effective=names, permitted=names)


def rlimit(ulimit: Ulimit) -> Rlimit:
    """One ``--ulimit``; -1 is unlimited."""
    soft, hard = (_UNLIMITED if value < 0 else value for value in (ulimit.soft, ulimit.hard))
    return Rlimit(f"RLIMIT_{ulimit.name.upper()}", soft, hard)


def _sysctls(host: HostConfig, standing: Standing) -> dict[str, str]:
    own_network = host.network_mode != "host" and not _shares(host.network_mode)
    defaults = {**_NETWORK_SYSCTLS, **(_PING if standing.initial else {})}
    return {**(defaults if own_network else {}), **(host.sysctls or {})}


def _namespaces(host: HostConfig, around: Surroundings) -> Iterator[Namespace]:
    yield Namespace("mount")
    modes = {
        "network": host.network_mode,
        "pid": host.pid_mode,
        "ipc": host.ipc_mode,
        "uts": host.uts_mode,
        "cgroup": host.cgroupns_mode,
    }
    for kind, mode in modes.items():
        owner = "network" if kind == "uts" else kind
        if _shares(mode) and around.is_foreign(owner):
            continue  # the host's, by way of another container: this is where we are
        if _shares(mode):
            yield Namespace(kind, f"/proc/{around.peers[owner]}/ns/{_NAMESPACES[kind]}")
        elif mode != "host":
            yield Namespace(kind)


def _shares(mode: str) -> bool:
    return mode.startswith("container:")


def shared_container(mode: str) -> str:
    """The container of a mode ``container:…``; '' for another mode."""
    return mode.partition(":")[2] if _shares(mode) else ""


def by_id(host: HostConfig, find: Callable[[str], Container]) -> HostConfig:
    """With the containers whose namespaces are shared by their IDs: a name may become another one's."""
    found: dict[str, str] = {}
    for member in ("network_mode", "pid_mode", "ipc_mode"):
        with contextlib.suppress(CortenError):  # whether it is there is asked elsewhere
            if ref := shared_container(getattr(host, member)):
                found[member] = f"container:{find(ref).id}"
    return msgspec.structs.replace(host, **found) if found else host


def _mounts(container: Container, around: Surroundings) -> Iterator[Mount]:
    """The system's mounts, the engine's files, then the user's by depth, so that none hides another."""
    host = container.host
    chosen = [*_user_mounts(container), *_tmpfs_mounts(host.tmpfs or {})]
    if around.injected:  # each instead of what the user has there, as by dockerd
        given = {mount.destination: mount for mount in around.injected.mounts}
        chosen = [*(mount for mount in chosen if mount.destination not in given), *given.values()]
    taken = {mount.destination for mount in chosen}
    own = [mount for mount in _etc_mounts(around.etc) if mount.destination not in taken]
    if "/etc" in taken:  # they are shown in whatever is there
        chosen, own = [*chosen, *own], []
    for mount in (*_system_mounts(host, around), *around.device_mounts, *own):
        # Who brings a /dev of his own has in it what he wants there.
        if mount.destination not in taken and not ("/dev" in taken and mount.destination.startswith("/dev/")):
            yield mount
    yield from sorted(chosen, key=lambda mount: mount.destination.count("/"))


def _system_mounts(host: HostConfig, around: Surroundings) -> Iterator[Mount]:
    """As moby's DefaultLinuxSpec; what belongs to a namespace of the host is shown as the host has it, where the
    engine is not the host's root."""
    access = "rw" if host.privileged else "ro"
    plain = ("nosuid", "noexec", "nodev")
    yield _of_namespace("pid", around, Mount("/proc", "proc", "proc", plain))
    yield Mount("/dev", "tmpfs", "tmpfs", ("nosuid", "strictatime", "mode=755", "size=65536k"))
    group = (f"gid={_TTY}",) if around.standing.has_gid(_TTY) else ()
    pts = ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", *group)
    yield Mount("/dev/pts", "devpts", "devpts", pts)
    yield _of_namespace("network", around, Mount("/sys", "sysfs", "sysfs", (*plain, access)))
    if around.groups and (around.standing.initial or host.cgroupns_mode != "host"):
        yield Mount("/sys/fs/cgroup", "cgroup", "cgroup", (*plain, access))
    if not around.is_foreign("ipc"):
        yield Mount("/dev/mqueue", "mqueue", "mqueue", plain)
    yield from _shared_memory(host, around.peers)


def _of_namespace(kind: str, around: Surroundings, mount: Mount) -> Mount:
    """A file system that shows a namespace. Only who owns the namespace may mount it; others may bind the host's,
    with all that is mounted below, which the kernel does not let them take off."""
    if not around.is_foreign(kind):
        return mount
    options = ["rro" if option == "ro" else option for option in mount.options if option != "rw"]
    return Mount(mount.destination, "bind", mount.destination, ("rbind", "rprivate", *options))


def _shared_memory(host: HostConfig, peers: Mapping[str, int]) -> Iterator[Mount]:
    if host.ipc_mode == "none":
        return
    if host.ipc_mode == "host":
        yield Mount("/dev/shm", "bind", "/dev/shm", ("rbind", "rprivate"))
    elif _shares(host.ipc_mode):
        yield Mount("/dev/shm", "bind", f"/proc/{peers['ipc']}/root/dev/shm", ("rbind", "rprivate"))
    else:
        options = ("nosuid", "noexec", "nodev", "mode=1777", f"size={host.shm_size}")
        yield Mount("/dev/shm", "tmpfs", "shm", options)


def _etc_mounts(directory: str) -> Iterator[Mount]:
    for name in ("resolv.conf", "hostname", "hosts"):
        yield Mount(f"/etc/{name}", "bind", f"{directory}/{name}", ("rbind", "rprivate"))


def _user_mounts(container: Container) -> Iterator[Mount]:
    requests = {request.target: request for request in container.host.mounts or ()}
    for mount in container.mounts:
        request = requests.get(mount.destination)
        if mount.type == "tmpfs":
            yield _tmpfs(mount.destination, _tmpfs_options(mount, request))
        else:
            yield Mount(mount.destination, "bind", mount.source, tuple(_bind_options(mount, request, container)))


def _bind_options(mount: MountPoint, request: MountRequest | None, container: Container) -> Iterator[str]:
    asked = (request and request.bind_options) or BindOptions()
    yield "bind" if asked.non_recursive else "rbind"
    yield mount.propagation or "rprivate"
    if not mount.rw:
        yield "ro" if asked.read_only_non_recursive or container.shallow_read_only else "rro"


def _tmpfs_options(mount: MountPoint, request: MountRequest | None) -> Iterator[str]:
    asked = (request and request.tmpfs_options) or TmpfsOptions()
    if asked.size_bytes:
        yield f"size={asked.size_bytes}"
    if asked.mode:
        yield f"mode={asked.mode:o}"
    if not mount.rw:
        yield "ro"
    for words in asked.options or ():
        yield "=".join(words)


def _tmpfs_mounts(requested: Mapping[str, str]) -> Iterator[Mount]:
    for path, options in requested.items():
        yield _tmpfs(path, options.split(",") if options else ())


def _tmpfs(path: str, options: Iterable[str]) -> Mount:
    """Docker's defaults, each undone by its opposite."""
    chosen = list(options)
    opposites = {"noexec": "exec", "nosuid": "suid", "nodev": "dev"}
    defaults = [name for name, opposite in opposites.items() if opposite not in chosen and name not in chosen]
    return Mount(path, "tmpfs", "tmpfs", (*defaults, *chosen))


def validate_modes(host: HostConfig, asked: ContainerConfig) -> None:
    """Refuse modes that are unknown or contradict each other or what the user asked for (``asked``, without the
    image's part), in Docker's words. Raises InvalidInput."""
    _one_of("PID", host.pid_mode, ("", "host"))
    _one_of("IPC", host.ipc_mode, ("", "none", "private", "shareable", "host"))
    _one_of("UTS", host.uts_mode, ("", "host"), shared=False)
    _one_of("cgroup namespace", host.cgroupns_mode, ("", "private", "host"), shared=False)
    if host.privileged and host.cgroupns_mode not in ("", "private", "host"):
        raise InvalidInput(f"invalid cgroup namespace mode: {host.cgroupns_mode}")
    _network_conflicts(host, asked)


def _one_of(kind: str, mode: str, known: Sequence[str], *, shared: bool = True) -> None:
    if mode not in known and not (shared and shared_container(mode)):
        raise InvalidInput(f"invalid {kind} mode: {mode}")


def _network_conflicts(host: HostConfig, asked: ContainerConfig) -> None:
    if host.network_mode in ("container", "container:"):
        raise InvalidInput("invalid network mode: invalid container format container:<name|id>")
    if asked.mac_address and (host.network_mode in ("host", "none") or _shares(host.network_mode)):
        raise InvalidInput("conflicting options: mac-address and the network mode")
    if not _shares(host.network_mode):
        return
    for present, what in (
        (host.dns, "dns and the network mode"),
        (host.extra_hosts, "custom host-to-IP mapping and the network mode"),
        (host.port_bindings, "port publishing and the container type network mode"),
        (host.publish_all_ports, "port publishing and the container type network mode"),
        (asked.exposed_ports, "port exposing and the container type network mode"),
        (host.links, "container type network can't be used with links. This would result in undefined behavior"),
    ):
        if present:
            raise InvalidInput(f"conflicting options: {what}")
