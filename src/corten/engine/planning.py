"""From a container's record to the plan of its start: facts are gathered here, decided in pure functions."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corten.engine import (
    apparmor,
    container_network,
    copies,
    devices,
    homes,
    hosts_edit,
    legacy_links,
    propagation,
    resolution,
)
from corten.engine.exec_process import exec_process
from corten.engine.legacy_links import Linked
from corten.engine.means import Means
from corten.engine.model import Container, ExecRequest
from corten.engine.networks import Networks
from corten.engine.paths import Paths
from corten.engine.privileges import capabilities, security
from corten.engine.runtime_config import Surroundings, runtime_config, shared_container
from corten.engine.volume_mounts import placed
from corten.errors import Conflict, InvalidInput, NotFound, Unsupported
from corten.network.endpoint import Endpoint
from corten.runtime.cgroups import CgroupManager
from corten.runtime.plan import HostSide, OverlayRoot, PlainRoot, exec_plan, plan
from corten.runtime.seccomp.profile import default_profile, resolve_profile
from corten.spec.plan import Plan
from corten.spec.runtime import Hooks, RuntimeConfig, User

if TYPE_CHECKING:
    from corten.engine.cdi import Cdi, Injected

_NO_HOOKS = Hooks()
_MODES = {"network": "network_mode", "pid": "pid_mode", "ipc": "ipc_mode"}


@dataclasses.dataclass(frozen=True, slots=True)
class Planner:
    """Makes the plans of one engine's containers."""

    paths: Paths
    networks: Networks
    cgroups: CgroupManager
    cgroup_parent: str
    means: Means
    find: Callable[[str], Container]
    cdi: Callable[[], Cdi]
    """Devices by name: called when a container has such."""
    files: Callable[[Sequence[str]], tuple[str, ...]]
    """Of layers, those that are files: where they are below the data root."""
    are_copied: Callable[[Sequence[str]], bool] = lambda _: False
    """Whether what stands on these layers is a copy."""

    def plan(self, container: Container, endpoints: Sequence[Endpoint]) -> Plan:
        """The operations of a start. Raises InvalidInput; Conflict when a container whose namespace it shares does
        not run."""
        container = placed(container, self.paths)
        root = str(self.paths.root)
        # What shows the data root is a slave where it can be one: dockerd does not insist either.
        propagation.check(one for one in container.mounts if not propagation.concerns(one.source, root))
        config = self._config(container)
        host = HostSide(
            root=self._root(container),
            cgroups=self.cgroups,
            links=(
                *container_network.operations(container, endpoints),
                *resolution.operations(container, endpoints, str(self.paths.helper)),
            ),
            reaper=bool(container.host.init),
            user_namespace=not self.means.standing.initial,
            told=self._told(container, config),
        )
        return plan(config, host)

    def _config(self, container: Container) -> RuntimeConfig:
        peers = {kind: self._peer(container, kind) for kind in _MODES}
        around = Surroundings(
            links_env=legacy_links.environment(container, self._linked(container)),
            etc=str(self.paths.container(self._at_end(container, "network").id)),
            cgroup=self.cgroup(container),
            hostname=peers["network"].config.hostname if peers["network"] else "",
            **self._devices(container),
            peers={kind: peer.state.pid for kind, peer in peers.items() if peer is not None},
            seccomp=seccomp(container),
            apparmor=apparmor.confinement(container.host),
            standing=self.means.standing,
            groups=self.means.groups,
            of_host=frozenset(kind for kind in _MODES if self._mode_at_end(container, kind) == "host"),
        )
        return runtime_config(container, around)

    def _told(self, container: Container, config: RuntimeConfig) -> str:
        """What the hooks of its devices are told of it; '' where there are none."""
        if config.hooks == _NO_HOOKS:
            return ""
        from corten.engine import bundles

        return bundles.told(container.id, self.paths.container(container.id), config)

    def write_bundle(self, container: Container) -> None:
        """Write what hooks of its devices read of a container. Raises CortenError."""
        if not container.host.device_requests:
            return
        config = self._config(placed(container, self.paths))
        if config.hooks != _NO_HOOKS:
            from corten.engine import bundles

            root = self._root(container)
            path = root.path if isinstance(root, PlainRoot) else f"{root.base}/{root.merged}"
            bundles.write(self.paths.container(container.id), config, path)

    def exec_plan(self, container: Container, request: ExecRequest) -> Plan:
        """The operations of one more command in a running container."""
        host = container.host
        own = {kind: self._mode_at_end(container, kind) != "host" for kind in _MODES}
        own |= {
            "uts": host.uts_mode != "host",
            "cgroup": host.cgroupns_mode != "host",
        }
        process = exec_process(container, request, self._links_env(container))
        return exec_plan(
            dataclasses.replace(
                process, apparmor_profile=apparmor.confinement(host),
                user=self._in_groups(process.user, container, request),
            ),
            namespaces=("mount", *(kind for kind, is_own in own.items() if is_own)),
            cgroup_files=self.cgroups.join_files(self.cgroup(container)),
            seccomp=None if request.privileged else seccomp(container),
        )

    def _links_env(self, container: Container) -> tuple[str, ...]:
        """Of a container that runs: one that it links to may have ended meanwhile."""
        try:
            return legacy_links.environment(container, self._linked(container))
        except (NotFound, Conflict):
            return ()

    def write_etc(self, container: Container, endpoints: Sequence[Endpoint]) -> None:
        """Write hostname, hosts and resolv.conf: their content is known when the container has its address."""
        if shared_container(container.host.network_mode):
            return
        directory = self.paths.container(container.id)
        _write(directory / "hostname", f"{container.config.hostname}\n")
        linked = legacy_links.lines(self._linked(container))
        gateway = self.networks.host_gateway
        _write(directory / "hosts", container_network.hosts_file(container, endpoints, gateway, linked))
        resolver = resolution.has_resolver(endpoints)
        _write(directory / "resolv.conf", container_network.resolv_conf(container, resolver=resolver))

    def renew_resolv_conf(self, container: Container, *, unchanged_since: int) -> bool:
        """Have a container that runs ask the engine's resolver, unless its resolv.conf was changed after a time, in
        nanoseconds since the epoch; whether it does. Raises CortenError."""
        path = self.paths.container(container.id) / "resolv.conf"
        text = container_network.resolv_conf(container, resolver=True)
        return hosts_edit.replace(path, text, unchanged_since=unchanged_since)

    def _linked(self, container: Container) -> list[Linked]:
        """Raises NotFound, Conflict for a link to a container that is gone or does not run."""
        return legacy_links.resolve(container, self.find) if container.host.links else []

    def cgroup(self, container: Container) -> str:
        """The container's control group, below the mounts of the controllers."""
        # No ".." leads out of the mounts.
        parent = os.path.normpath(f"/{container.host.cgroup_parent}").strip("/") or self.cgroup_parent
        return f"{parent}/{container.id}"

    def copy(self, container: Container) -> str:
        """Where its root is, below the data root, if that is a copy; else ''."""
        return copies.place(container.id) if self.are_copied(container.layers) else ""

    def _root(self, container: Container) -> OverlayRoot | PlainRoot:
        if copy := self.copy(container):
            return PlainRoot(f"{self.paths.root}/{copy}", is_copy=True)
        own = f"containers/{container.id}"
        return OverlayRoot(
            base=str(self.paths.root),
            lowers=tuple(homes.lowers(container)),
            upper=f"{own}/upper",
            work=f"{own}/work",
            merged=f"{own}/merged",
            user_xattrs=not self.means.standing.initial,
            files=self.files(container.layers),
        )

    def _devices(self, container: Container) -> dict[str, Any]:
        """Nodes to make with the rules of the device cgroup; both need the machine's root, others show the host's."""
        injected = self._injected(container)
        named = {"injected": injected} if injected else {}
        if not self.means.standing.initial:
            return {"device_mounts": tuple(devices.binds(container.host)), **named}
        nodes, rules = devices.devices(container.host)
        if injected:
            nodes, rules = (*nodes, *injected.nodes), rules if container.host.privileged else (*rules, *injected.rules)
        return {"devices": nodes, "device_rules": rules, **named}

    def _injected(self, container: Container) -> Injected | None:
        """What devices that are asked for by name bring. Raises InvalidInput, Unsupported."""
        if not container.host.device_requests:
            return None
        return self.cdi().injected(container, self.means.standing)

    def _in_groups(self, user: User, container: Container, request: ExecRequest) -> User:
        """Of a container that runs: with the groups of its devices, which may have gone meanwhile. They are of the
        container's user, as those of ``--group-add``."""
        if request.user:
            return user
        with contextlib.suppress(InvalidInput, Unsupported):
            if injected := self._injected(container):
                return dataclasses.replace(user, additional_gids=injected.groups)
        return user

    def _peer(self, container: Container, kind: str) -> Container | None:
        ref = shared_container(getattr(container.host, _MODES[kind]))
        if not ref:
            return None
        peer = self.find(ref)
        if peer.id == container.id:
            raise InvalidInput(f"cannot join own {kind}")
        if not peer.state.running:
            raise Conflict(f"cannot join {kind} namespace of a non running container: {peer.id}")
        if kind == "ipc" and peer.host.ipc_mode not in ("shareable", "host"):
            raise InvalidInput(
                f"cannot join IPC of a container: {peer.id} has non-shareable IPC (hint: use "
                "IpcMode:shareable for the donor container)"
            )
        return peer

    def _at_end(self, container: Container, kind: str) -> Container:
        """Whose namespace it is: the end of the chain of containers that share it."""
        while ref := shared_container(getattr(container.host, _MODES[kind])):
            container = self.find(ref)
        return container

    def own_pids(self, container: Container) -> bool:
        """Whether its processes are in another pid namespace than the host's."""
        return self._mode_at_end(container, "pid") != "host"

    def _mode_at_end(self, container: Container, kind: str) -> str:
        return str(getattr(self._at_end(container, kind).host, _MODES[kind]))


def is_self_contained(container: Container) -> bool:
    """Whether nothing of the host's or another container's has a say in a container's plan: that may change before its
    start."""
    host = container.host
    shared = any(shared_container(getattr(host, mode)) for mode in _MODES.values())
    return not (shared or container.mounts or host.links or host.devices or host.device_requests)


def spawns(container: Container, request: ExecRequest) -> bool:
    """Whether an exec can be spawned by who has entered the container: not what only a process itself can do, and not
    within bounds of the user's own that another process would count against."""
    rules = security(container.host)
    bounded = bool(container.host.ulimits) or isinstance(rules.seccomp, dict)
    return not request.tty and not bounded


def seccomp(container: Container) -> dict[str, Any] | None:
    """The container's profile as the OCI has it; None is unconfined."""
    chosen = security(container.host).seccomp
    if chosen == "unconfined":
        return None
    held = tuple(name.removeprefix("CAP_") for name in capabilities(container.host))
    return resolve_profile(chosen, held) if isinstance(chosen, dict) else _default_profile(held)


_default_profile = functools.lru_cache(maxsize=32)(default_profile)


def _write(path: Path, text: str) -> None:
    """In place, not by rename: the file may be mounted, and who looks must see the new text."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
