"""``POST /containers/create`` in each version of the API: what a version has not is left out or refused, and what older
ones take for granted is filled in, as by dockerd (daemon/server/router/container).
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from corten.engine.model import (
    BindOptions,
    CreateRequest,
    EndpointRequest,
    HostConfig,
    MountRequest,
    NetworkingConfig,
)
from corten.errors import InvalidInput

Version = tuple[int, int]


def of_version(body: CreateRequest, version: Version) -> tuple[CreateRequest, list[str]]:
    """What a request asks for in its version, and the warnings of that. Raises InvalidInput for what the version has
    not, or no longer."""
    warnings = list(_deprecated(body, version))
    host = _host(body.host_config or HostConfig(), version)
    check = body.healthcheck
    if check is not None and version < (1, 44):
        check = msgspec.structs.replace(check, start_interval=0)
    networking = _with_mac(body, host, _networking(body.networking_config, version), version)
    body = msgspec.structs.replace(body, host_config=host, networking_config=networking, healthcheck=check)
    return body, warnings


def _deprecated(body: CreateRequest, version: Version) -> Iterator[str]:
    if body.mac_address and version >= (1, 52):
        raise InvalidInput(
            "container-wide MAC address no longer supported; use endpoint-specific MAC address instead"
        )
    if body.mac_address and version >= (1, 44):
        yield (
            "The container-wide MacAddress field is now deprecated. It should be specified in EndpointsConfig instead."
        )
    bindings = (body.host_config.port_bindings if body.host_config else None) or {}
    if version == (1, 52) and (empty := sorted(port for port, places in bindings.items() if not places)):
        yield (
            f"Following container port(s) have an empty list of port-bindings: {', '.join(empty)}. Starting with API "
            "1.53, such bindings will be discarded."
        )


def _host(host: HostConfig, version: Version) -> HostConfig:
    if version < (1, 25):  # the client removed it
        host = msgspec.structs.replace(host, auto_remove=False)
    if version < (1, 40):
        host = msgspec.structs.replace(host, pids_limit=None, ipc_mode=host.ipc_mode or "shareable")
    if version < (1, 41):
        host = msgspec.structs.replace(host, cgroupns_mode=host.cgroupns_mode or "host")
    if version < (1, 42):
        host = msgspec.structs.replace(host, console_size=None)
    if version < (1, 43):
        host = msgspec.structs.replace(host, annotations=None)
    if host.mounts and version < (1, 48):
        host = msgspec.structs.replace(host, mounts=[_mount(mount, version) for mount in host.mounts])
    if host.port_bindings and version >= (1, 53):
        bound = {port: places for port, places in host.port_bindings.items() if places}
        host = msgspec.structs.replace(host, port_bindings=bound)
    return host


def _mount(mount: MountRequest, version: Version) -> MountRequest:
    bind, volume = mount.bind_options, mount.volume_options
    if mount.type == "image":
        raise InvalidInput('Mount type "Image" needs API v1.48 or newer')
    if version < (1, 45) and volume is not None and volume.subpath:
        raise InvalidInput("VolumeOptions.Subpath needs API v1.45 or newer")
    if version < (1, 44) and bind is not None and bind.read_only_force_recursive:
        raise InvalidInput("BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer")
    return msgspec.structs.replace(mount, **_unknown(mount, bind, version))


def _unknown(mount: MountRequest, bind: BindOptions | None, version: Version) -> dict[str, object]:
    """Options of a mount that a version does not look at, as they are then."""
    found: dict[str, object] = {}
    if bind is not None and version < (1, 42):
        bind = msgspec.structs.replace(bind, create_mountpoint=False)
        found["bind_options"] = msgspec.structs.replace(bind, non_recursive=bind.non_recursive and version >= (1, 40))
    if mount.type not in ("volume", "bind") and version < (1, 42):  # with a bind they have always been refused
        found["volume_options"] = None
    if mount.type != "tmpfs" and version < (1, 42):
        found["tmpfs_options"] = None
    return found


def _networking(asked: NetworkingConfig | None, version: Version) -> NetworkingConfig | None:
    listed = asked.endpoints_config if asked else None
    if not listed or version >= (1, 48):
        return asked
    if version < (1, 44) and len(listed) > 1:
        raise InvalidInput(f"Container cannot be created with multiple network endpoints: {', '.join(sorted(listed))}")
    changes: dict[str, object] = {"gw_priority": 0}
    if version < (1, 44):
        changes["mac_address"] = ""
    places = {name: one and msgspec.structs.replace(one, **changes) for name, one in listed.items()}
    return NetworkingConfig(places)


def _with_mac(
    body: CreateRequest, host: HostConfig, asked: NetworkingConfig | None, version: Version
) -> NetworkingConfig | None:
    """The networks with the MAC address that is the whole container's for the one that is its own."""
    mode = host.network_mode
    if not body.mac_address or mode in ("host", "none") or mode.startswith("container:"):
        return asked
    listed = dict((asked.endpoints_config if asked else None) or {})
    own = "bridge" if mode in ("", "default") else mode
    own = "default" if own not in listed and own == "bridge" and "default" in listed else own
    if version < (1, 44) and listed:  # the one that there is
        own = next(iter(listed))
    if listed and own not in listed:
        raise InvalidInput("HostConfig.NetworkMode must match the identity of a network in NetworkSettings.Networks")
    place = listed.get(own) or EndpointRequest()
    if place.mac_address not in ("", body.mac_address):
        raise InvalidInput(
            "the container-wide MAC address must match the endpoint-specific MAC address for the main network, or be "
            "left empty"
        )
    return NetworkingConfig({**listed, own: msgspec.structs.replace(place, mac_address=body.mac_address)})
