"""Containers as ``ps`` and ``inspect`` show them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from corten.api.shapes.configs import Version, config_shape, host_shape
from corten.api.shapes.descriptors import descriptor_shape
from corten.api.shapes.words import status_line
from corten.api.times import unix_seconds
from corten.engine import apparmor
from corten.engine.container_network import PREDEFINED, decoded_endpoints, network_settings, own_mac
from corten.engine.model import Container, MountPoint
from corten.engine.network_model import NetworkSettings
from corten.spec.runtime import WITHIN

if TYPE_CHECKING:
    from corten.api.services import Services

Sizes = tuple[int, int]
"""(SizeRw, SizeRootFs) in bytes."""


def _image_name(container: Container, services: Services) -> str:
    """What it was created from; the image's ID where that name is another image's now, or nobody's."""
    name = container.config.image
    found = services.images.find_named(name)
    return name if found is not None and found.id == container.image else container.image


def summaries(
    rows: Iterable[tuple[Container, Sizes | None]], services: Services, version: Version
) -> list[dict[str, Any]]:
    """``ContainerSummary`` of each: the rows of ``ps``."""
    aliases = services.containers.aliases()
    return [_summary(one, services, aliases.get(one.name, ()), sizes, version) for one, sizes in rows]


def _summary(
    container: Container, services: Services, aliases: Sequence[str], sizes: Sizes | None, version: Version
) -> dict[str, Any]:
    network = settings(container, services)
    shape: dict[str, Any] = {
        "Id": container.id,
        "Names": [f"/{container.name}", *aliases],
        "Image": _image_name(container, services),
        "ImageID": container.image,
        "Command": " ".join([container.path, *(f"'{word}'" if " " in word else word for word in container.args)]),
        "Created": unix_seconds(container.created),
        "Ports": list(_ports(network.ports)),
        "Labels": container.config.labels or {},
        "State": container.state.status,
        "Status": status_line(container.state, container.health),
        "HostConfig": _mode(container, version),
        "NetworkSettings": {"Networks": network.networks},
        "Mounts": [mount_shape(mount) for mount in container.mounts],
    }
    if version >= (1, 48):
        shape |= _manifest(container, services)
    if version >= (1, 52) and container.health is not None:
        shape["Health"] = {"Status": container.health.status, "FailingStreak": container.health.failing_streak}
    return shape | _sizes(sizes)


def _mode(container: Container, version: Version) -> dict[str, Any]:
    host = container.host
    if version >= (1, 46) and host.annotations:
        return {"NetworkMode": host.network_mode, "Annotations": host.annotations}
    return {"NetworkMode": host.network_mode}


def _manifest(container: Container, services: Services) -> dict[str, Any]:
    """``ImageManifestDescriptor``, while the image is here."""
    image = services.images.find(container.image)
    return {"ImageManifestDescriptor": descriptor_shape(image)} if image is not None else {}


def settings(container: Container, services: Services) -> NetworkSettings:
    """The container's networks, and its places there while it runs."""
    return network_settings(container, services.networks.names_of(container), decoded_endpoints(container))


def _sizes(sizes: Sizes | None) -> dict[str, int]:
    return {"SizeRw": sizes[0], "SizeRootFs": sizes[1]} if sizes else {}


def _ports(ports: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for name, bindings in sorted(ports.items()):
        port, _, protocol = name.partition("/")
        inside = {"PrivatePort": int(port), "Type": protocol or "tcp"}
        if not bindings:
            yield inside
        for binding in bindings or ():
            public = {"PublicPort": int(binding.host_port)} if binding.host_port else {}
            yield {"IP": binding.host_ip or "0.0.0.0", **inside, **public}  # noqa: S104  as it was asked for


def mount_shape(mount: MountPoint) -> dict[str, Any]:
    """``MountPoint``; a bind has no name and no driver."""
    shape = msgspec.to_builtins(mount)
    shape["Source"] = mount.source.replace(WITHIN, "/")
    return {name: value for name, value in shape.items() if value != "" or name not in ("Name", "Driver")}


def inspected(container: Container, services: Services, sizes: Sizes | None, version: Version) -> dict[str, Any]:
    """``ContainerInspectResponse``."""
    directory = services.containers.directory(container)
    return {
        "Id": container.id,
        "Created": container.created,
        "Path": container.path,
        "Args": container.args,
        "State": state_shape(container),
        "Image": container.image,
        "ResolvConfPath": f"{directory}/resolv.conf",
        "HostnamePath": f"{directory}/hostname",
        "HostsPath": f"{directory}/hosts",
        "LogPath": services.containers.log_path(container),
        "Name": f"/{container.name}",
        "RestartCount": container.restart_count,
        "Driver": services.images.layer_paths(container.layers)[0],
        "Platform": container.platform,
        **(_manifest(container, services) if version >= (1, 48) else {}),
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": apparmor.shown(container.host),
        "ExecIDs": services.containers.exec_ids(container) or None,
        "HostConfig": host_shape(container.host, version),
        "GraphDriver": _graph_driver(container, directory, services),
        **_sizes(sizes),
        "Mounts": [mount_shape(mount) for mount in container.mounts],
        "Config": _config_shape(container, version),
        "NetworkSettings": _network_shape(container, settings(container, services), version),
    }


def _config_shape(container: Container, version: Version) -> dict[str, Any]:
    """Until 1.51 with the MAC address that was asked for in the network of its mode."""
    shape = config_shape(container.config, version)
    if version < (1, 52) and (mac := own_mac(container)):
        shape["MacAddress"] = mac
    return shape


def state_shape(container: Container) -> dict[str, Any]:
    """``ContainerState``; with ``Health`` where the container has a check."""
    shape: dict[str, Any] = msgspec.to_builtins(container.state)
    return {**shape, "Health": container.health} if container.health is not None else shape


_BRIDGE_FIELDS = {
    "HairpinMode": False, "LinkLocalIPv6Address": "", "LinkLocalIPv6PrefixLen": 0, "SecondaryIPAddresses": None,
    "SecondaryIPv6Addresses": None,
}  # fmt: skip
_BRIDGE_MEMBERS = (
    "bridge", "endpoint_id", "gateway", "ip_address", "ip_prefix_len", "mac_address", "ipv6_gateway",
    "global_ipv6_address", "global_ipv6_prefix_len",
)  # fmt: skip


def _network_shape(container: Container, settings: NetworkSettings, version: Version) -> dict[str, Any]:
    """``NetworkSettings``; before 1.52 with the default bridge's fields at the top, before 1.45 with the short ID and
    the host name among the aliases."""
    shape: dict[str, Any] = msgspec.to_builtins(settings)
    own = [name for name in (container.id[:12], container.config.hostname) if name]
    for name, place in shape["Networks"].items() if version < (1, 45) else ():
        if name not in PREDEFINED:
            place["Aliases"] = list(dict.fromkeys((*(place["Aliases"] or ()), *own)))
    if version < (1, 52):
        return {**_BRIDGE_FIELDS, **shape}
    names = msgspec.structs.fields(NetworkSettings)
    for field in names:
        if field.name in _BRIDGE_MEMBERS:
            del shape[field.encode_name]
    return shape


def _graph_driver(container: Container, directory: str, services: Services) -> dict[str, Any]:
    driver, lowers = services.images.layer_paths(container.layers)
    if driver == "vfs":
        return {"Name": driver, "Data": None}
    return {
        "Name": driver,
        "Data": {
            "LowerDir": ":".join(lowers),
            "MergedDir": f"{directory}/merged",
            "UpperDir": f"{directory}/upper",
            "WorkDir": f"{directory}/work",
        },
    }
