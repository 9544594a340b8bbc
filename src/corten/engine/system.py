"""The engine itself: what it is, what it runs on, what it uses."""

from __future__ import annotations

import asyncio
import datetime
import functools
import os
import platform
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corten import __version__
from corten.engine import apparmor, layer_forms, network_explain
from corten.engine.events import Events
from corten.engine.images import Images
from corten.engine.limits import RUNTIME
from corten.engine.log_config import DRIVERS
from corten.engine.network_creation import LINK_DRIVERS
from corten.engine.observing import Observing
from corten.engine.paths import Paths
from corten.engine.records import Records
from corten.engine.trees import size_of
from corten.engine.volumes import Volumes
from corten.network.pool import Pool
from corten.runtime.cgroups import CgroupManager
from corten.store.layers import LayerStore
from corten.sys.standing import Standing

if TYPE_CHECKING:
    from corten.engine.cdi import Cdi

_NOT_HERE: dict[str, Any] = {
    "ContainerdCommit": {"ID": ""}, "RuncCommit": {"ID": ""}, "InitCommit": {"ID": ""}, "GenericResources": None,
    "ProductLicense": "",
}  # fmt: skip
"""Parts of other engines: members that clients expect to find."""


_CREDENTIALS = re.compile(r"(?<=://)[^/@]*@")


class System:
    """What can be said of one engine. ``stop`` ends it: True stops every container first; ``no_firewall`` tells why it
    has none."""

    def __init__(
        self,
        paths: Paths,
        records: Records,
        images: Images,
        volumes: Volumes,
        observing: Observing,
        cgroups: CgroupManager,
        standing: Standing,
        events: Events,
        pools: Sequence[Pool],
        stop: Callable[[bool], None],
        log_driver: str,
        layers: LayerStore,
        no_firewall: Callable[[], str],
        cdi: Callable[[], Cdi],
        mirrors: Sequence[str] = (),
    ) -> None:
        self._paths, self._records = paths, records
        self._images, self._volumes, self._observing = images, volumes, observing
        self._cgroups, self._standing, self._stop = cgroups, standing, stop
        self._events, self._pools = events, pools
        self._log_driver, self._layers, self._no_firewall = log_driver, layers, no_firewall
        self._mirrors, self._cdi = list(mirrors), cdi
        self._id = _engine_id(paths.root)

    def version(self) -> dict[str, Any]:
        """In the API's form (``SystemVersion``), without the versions of the API."""
        common = {
            "Version": __version__, "Os": "linux", "Arch": _architecture(), "KernelVersion": platform.release(),
            "Experimental": False, "GitCommit": "", "GoVersion": "", "BuildTime": "",
        }  # fmt: skip
        details = {
            "Arch": _architecture(), "Experimental": "false", "KernelVersion": platform.release(), "Os": "linux",
            "PythonVersion": platform.python_version(),
        }  # fmt: skip
        engine = {"Name": "Engine", "Version": __version__, "Details": details}
        return {"Platform": {"Name": "Corten"}, "Components": [engine], **common}

    def info(self) -> dict[str, Any]:
        """In the API's form (``SystemInfo``)."""
        states = [container.state for container in self._records]
        running = sum(state.running and not state.paused for state in states)
        paused = sum(state.paused for state in states)
        devices, unread = self._cdi().listed()
        return {
            "ID": self._id,
            "Containers": len(states),
            "ContainersRunning": running,
            "ContainersPaused": paused,
            "ContainersStopped": len(states) - running - paused,
            "Images": self._images.count(),
            **self._storage(),
            **self._limits(),
            **_host(),
            **proxies(),
            "DockerRootDir": str(self._paths.root),
            "ServerVersion": __version__,
            "SystemTime": datetime.datetime.now(datetime.UTC).isoformat().replace("+00:00", "Z"),
            "LoggingDriver": self._log_driver,
            "CgroupDriver": "cgroupfs" if self._cgroups.present else "none",
            "CgroupVersion": str(self._cgroups.version),
            "Runtimes": {RUNTIME: {"path": "corten-runtime", "status": {}}},
            "DefaultRuntime": RUNTIME,
            "InitBinary": "corten",
            **_NOT_HERE,
            **self._process(),
            "DefaultAddressPools": [{"Base": str(pool.base), "Size": pool.size} for pool in self._pools],
            "FirewallBackend": {"Driver": "none" if self._no_firewall() else "nftables"},
            "SecurityOptions": [
                *(["name=apparmor"] if apparmor.is_default() else []), "name=seccomp,profile=builtin",
                *([] if self._standing.initial else ["name=rootless"]), "name=cgroupns",
            ],
            "Swarm": {
                "NodeID": "", "NodeAddr": "", "LocalNodeState": "inactive", "ControlAvailable": False, "Error": "",
                "RemoteManagers": None,
            },
            "CDISpecDirs": list(self._cdi().directories),
            "DiscoveredDevices": [{"Source": "cdi", "ID": name} for name in devices],
            "Warnings": [*self._warnings(), *unread] or None,
        }  # fmt: skip

    def _process(self) -> dict[str, Any]:
        """What the engine's process is doing; its tasks are what goroutines are to dockerd."""
        return {
            "Debug": False,
            "NFd": len(os.listdir("/proc/self/fd")),
            "NGoroutines": len(asyncio.all_tasks()),
            "NEventsListener": self._events.subscribers,
        }

    def _warnings(self) -> list[str]:
        limits = self._limits()
        lacking = [] if self._cgroups.present else ["WARNING: No control groups: no limits, no pause, no statistics"]
        if self._cgroups.present and not limits["SwapLimit"]:
            lacking.append("WARNING: No swap limit support")
        if not self._standing.network:
            lacking.append("WARNING: No bridge networks: they need root")
        elif reason := self._no_firewall():
            lacking += [f"WARNING: {text}" for text in network_explain.lacking(reason)]
        elif not limits["IPv4Forwarding"]:
            lacking.append("WARNING: IPv4 forwarding is disabled")
        if reason := apparmor.lacking():
            lacking.append(f"WARNING: No AppArmor profile by default: {reason}")
        if self._standing.is_single:
            lacking.append("WARNING: A single user and group id: every file and process of a container is root's")
        return lacking

    def _storage(self) -> dict[str, Any]:
        made = ["bridge", *LINK_DRIVERS] if self._standing.network else []
        return {
            "Driver": layer_forms.driver(self._layers.form),
            "DriverStatus": layer_forms.status(self._layers, user_xattrs=not self._standing.initial),
            "Plugins": {"Volume": ["local"], "Network": sorted([*made, "host", "null"]), "Authorization": None,
                        "Log": list(DRIVERS)},
            "RegistryConfig": {"InsecureRegistryCIDRs": ["127.0.0.0/8", "::1/128"], "IndexConfigs": {
                "docker.io": {"Name": "docker.io", "Mirrors": self._mirrors, "Secure": True, "Official": True}},
                "Mirrors": self._mirrors},
        }  # fmt: skip

    def _limits(self) -> dict[str, Any]:
        present = {
            "MemoryLimit": "memory", "CpuCfsPeriod": "cpu", "CpuCfsQuota": "cpu", "CPUShares": "cpu",
            "CPUSet": "cpuset", "PidsLimit": "pids",
        }  # fmt: skip
        limits = {name: controller in self._cgroups.controllers for name, controller in present.items()}
        swap = self._cgroups.version == 2 or os.path.exists("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes")
        return {
            **limits,
            "SwapLimit": swap and limits["MemoryLimit"],
            "OomKillDisable": self._cgroups.version == 1 and limits["MemoryLimit"],  # version 2 has no way to
            "BridgeNfIptables": _read("/proc/sys/net/bridge/bridge-nf-call-iptables") == "1",
            "BridgeNfIp6tables": _read("/proc/sys/net/bridge/bridge-nf-call-ip6tables") == "1",
            "IPv4Forwarding": _read("/proc/sys/net/ipv4/ip_forward") == "1",
        }

    async def df(self) -> dict[str, Any]:
        """``{"containers": [(Container, size_rw, size_root)], "volumes": [(Volume, size, references)],
        "images": [(Image, size, shared)], "layers": bytes}``; the API shapes it."""
        images = await self._images.list()
        owners: dict[str, int] = {}
        sizes: dict[str, int] = {}
        for image in images:
            for chain_id, size in zip(image.chain_ids, image.layer_sizes, strict=True):
                owners[chain_id] = owners.get(chain_id, 0) + 1
                sizes[chain_id] = size
        shared = [
            (image, image.size, sum(sizes[one] for one in image.chain_ids if owners[one] > 1)) for image in images
        ]
        containers = [(one, *await self._observing.sizes(one)) for one in self._records]
        volumes = []
        for volume in self._volumes.list():
            users = sum(any(m.name == volume.name for m in one.mounts) for one in self._records)
            volumes.append((volume, await asyncio.to_thread(size_of, Path(volume.mountpoint)), users))
        return {"containers": containers, "volumes": volumes, "images": shared, "layers": sum(sizes.values())}

    def request_stop(self, *, all: bool = False) -> None:
        """Leave once the answer is out; with ``all`` stop every container first."""
        self._stop(all)


def _engine_id(root: Path) -> str:
    """An ID that a data root keeps: made when it is first asked for."""
    path = root / "engine-id"
    if not path.exists():
        import uuid

        path.write_text(str(uuid.uuid4()))
    return path.read_text().strip()


def _architecture() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)


@functools.cache
def _host() -> dict[str, Any]:
    machine = os.uname()
    release = platform.freedesktop_os_release() if os.path.exists("/etc/os-release") else {}
    return {
        "Name": machine.nodename,
        "KernelVersion": machine.release,
        "OperatingSystem": release.get("PRETTY_NAME", "Linux"),
        "OSVersion": release.get("VERSION_ID", ""),
        "OSType": "linux",
        "Architecture": machine.machine,
        "NCPU": len(os.sched_getaffinity(0)),
        "MemTotal": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "IndexServerAddress": "https://index.docker.io/v1/",
        "Labels": [], "ExperimentalBuild": False, "LiveRestoreEnabled": True, "Isolation": "",
    }  # fmt: skip


def proxies() -> dict[str, str]:
    """Those that registries are asked by, without the passwords."""
    found = {}
    for member, variable in (("HttpProxy", "http_proxy"), ("HttpsProxy", "https_proxy"), ("NoProxy", "no_proxy")):
        value = os.environ.get(variable) or os.environ.get(variable.upper(), "")
        found[member] = _CREDENTIALS.sub("xxxxx:xxxxx@", value)
    return found


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return ""
