"""Networks by what they are called. Two may have one name, where a client of an old API asked for that."""

from __future__ import annotations

from collections.abc import Mapping

from corten.engine.container_network import DEFAULT
from corten.engine.network_model import Network
from corten.errors import InvalidInput, NotFound


def look_up(networks: Mapping[str, Network], ref: str) -> Network:
    """By ID, name or a unique prefix of an ID, in this order. Raises NotFound, InvalidInput for one of several."""
    name = DEFAULT if ref == "default" else ref
    if (network := networks.get(name)) is not None:
        return network
    for kind, found in (("name", named(networks, name)), ("ID prefix", _beginning(networks, ref))):
        if len(found) > 1:
            raise InvalidInput(f"network {ref} is ambiguous ({len(found)} matches found on {kind})")
        if found:
            return found[0]
    raise NotFound(f"network {ref} not found")


def named(networks: Mapping[str, Network], name: str) -> list[Network]:
    """All that have a name."""
    return [network for network in networks.values() if network.name == name]


def _beginning(networks: Mapping[str, Network], prefix: str) -> list[Network]:
    return [network for id, network in networks.items() if prefix and id.startswith(prefix)]
