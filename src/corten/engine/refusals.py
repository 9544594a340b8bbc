"""What a request to create a container asks for that this engine cannot do: said, never passed over in silence."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from corten.engine.model import HostConfig
from corten.errors import InvalidInput, Unsupported


def refuse(host: HostConfig) -> None:
    """Raises InvalidInput and Unsupported, in Docker's words where it has some."""
    if host.storage_opt:
        raise InvalidInput("--storage-opt is supported only for overlay over xfs with 'pquota' mount option")
    if host.userns_mode not in ("", "host"):
        raise InvalidInput(f"invalid userns mode: {host.userns_mode}")
    for request in host.device_requests or ():
        kinds = " ".join(f"[{' '.join(group)}]" for group in request.get("Capabilities") or ())
        driver = request.get("Driver") or ""
        raise Unsupported(f'could not select device driver "{driver}" with capabilities: [{kinds}]')
    _addresses(host.dns or ())


def _addresses(servers: Iterable[str]) -> None:
    for server in servers:
        try:
            ipaddress.ip_address(server)
        except ValueError:
            raise InvalidInput(f"invalid IP address: {server}: --dns takes the address of a name server") from None
