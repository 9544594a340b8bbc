"""What a request asks for and gets nothing of, though it is no error to ask: a warning each, where dockerd has none."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from corten.engine import apparmor, health
from corten.engine.model import ContainerConfig, CreateRequest, HostConfig
from corten.engine.privileges import security

_NONE = "none"


def offline(request: CreateRequest) -> tuple[CreateRequest, list[str]]:
    """``NetworkDisabled`` is the network mode ``none``, whatever else is said, as for dockerd; and a warning, if there
    is."""
    if not request.network_disabled:
        return request, []
    host, networking = request.host(), request.networking_config
    listed = (networking.endpoints_config if networking else None) or {}
    asked = {host.network_mode, *listed} - {"", "default", _NONE}
    host = msgspec.structs.replace(host, network_mode=_NONE)
    request = msgspec.structs.replace(request, host_config=host, networking_config=None)
    return request, [f"Networking is disabled. Networks discarded: {', '.join(sorted(asked))}"] if asked else []


def warnings(host: HostConfig, config: ContainerConfig) -> Iterator[str]:
    """Of what is left of a request when all that is refused was."""
    if host.network_mode == "host" and host.port_bindings:
        yield "Published ports are discarded when using host network mode"
    if host.network_mode == _NONE and host.port_bindings:
        yield "Published ports are discarded when using none network mode"
    found = security(host)
    if found.labels:
        yield f"SELinux is not supported. Labels discarded: {', '.join(found.labels)}"
    if found.apparmor not in ("", "unconfined") and not apparmor.is_enabled():
        yield f"AppArmor is not enabled on this kernel. Profile discarded: {found.apparmor}"
    yield from health.warnings(config.healthcheck)
