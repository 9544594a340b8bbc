"""Who reaches whom by a network, in words: what ``corten network explain`` prints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_network
from typing import Any

from corten.engine.network_model import Network
from corten.network.barrier import LACKING
from corten.network.bridge import BridgeSettings
from corten.network.endpoint import Binding, Endpoint
from corten.network.ports import ANY, ANY6, bracketed


def lacking(reason: str) -> list[str]:
    """What is told, in the log and by ``info``, of an engine that has no firewall for that reason; nothing where it has
    one."""
    return [f"No firewall ({reason}): {LACKING}"] if reason else []


def warnings(reason: str, settings: Iterable[BridgeSettings]) -> list[str]:
    """What is told to whoever makes such networks, or a container in them, where there is no firewall for that
    reason."""
    if not reason or not any(one.driver == "bridge" and not one.internal for one in settings):
        return []
    return [f"No firewall ({reason}): containers reach this host and each other, but no other machine"]


def explain(
    network: Network, settings: BridgeSettings | None, places: Sequence[tuple[str, Endpoint]],
    strangers: Sequence[str], reason: str = "",
) -> dict[str, Any]:  # fmt: skip
    """``settings`` are those of a network that the engine makes, ``places`` the running containers' by their names,
    ``strangers`` the other programs' chains that drop what is forwarded, ``reason`` is why there is no firewall."""
    says = list(_says(network, settings, reason))
    if strangers and settings is not None and settings.driver == "bridge":
        says.append(_barred(settings.bridge, strangers))
    ports = [
        {"Container": name, "Port": f"{one.container_port}/{one.protocol}", "At": _at(one), "To": _to_whom(one)}
        for name, endpoint in places
        for one in endpoint.ports
    ]
    return {"Name": network.name, "Driver": network.driver, "Says": says, "Ports": ports}


def _says(network: Network, settings: BridgeSettings | None, reason: str) -> Iterator[str]:
    if settings is None:
        yield {
            "host": "Containers have the host's own network: whatever they listen on, the host listens on.",
            "null": "Containers have a loopback of their own, and nothing else.",
        }[network.driver]
        return
    subnets = " and ".join(str(one) for one in (settings.subnet, settings.subnet6) if one)
    if settings.driver != "bridge":
        yield f"Containers ({subnets}) are machines of their own on the network of {settings.bridge}."
        yield "The engine's firewall has no rules for them, and the host itself does not reach them."
        return
    yield f"Containers ({subnets}) are on the bridge {settings.bridge}; the host is their gateway."
    yield _way_out(settings, reason)
    if settings.open:
        yield "They reach each other on every port."
    else:
        yield "They do not reach each other, but for published ports."
    yield "The host reaches every port of theirs. They reach what the host listens on, except on 127.0.0.0/8 and ::1."
    yield "Other networks and other machines reach published ports only."
    if reason:
        yield "The network helper carries published ports: containers see the host's address, not the client's."


def _way_out(settings: BridgeSettings, reason: str) -> str:
    if settings.internal:
        return "The network is internal: nothing leaves it for other machines, and no port is published."
    if reason:
        return f"They reach no other machine, since there is no firewall that would translate addresses ({reason})."
    if settings.masquerade:
        return "They leave for other machines with the host's address."
    return "They leave for other machines with their own addresses, to which these need a route."


def _at(binding: Binding) -> str:
    return f"{bracketed(binding.host_ip)}:{binding.host_port}"


def _to_whom(binding: Binding) -> str:
    if binding.host_ip.startswith("127.") or binding.host_ip == "::1":
        return "the host itself"
    if binding.host_ip in (ANY, ANY6):
        return "whoever reaches an address of the host"
    return f"whoever reaches {binding.host_ip}"


def _barred(bridge: str, strangers: Sequence[str]) -> str:
    return (
        f"Another firewall drops what it does not know of what the host forwards ({', '.join(strangers)}): published "
        "ports are reached, and machines outside, only where it accepts the bridge, as by "
        f"{_accepting(bridge, strangers)}."
    )


def _accepting(bridge: str, strangers: Sequence[str]) -> str:
    if any(name.startswith("inet firewalld ") for name in strangers):
        return f"firewall-cmd --permanent --zone=trusted --add-interface={bridge}, and --reload"
    return f"iptables -I FORWARD -i {bridge} -j ACCEPT and -o {bridge}"


def allocations(network: Network, taken: int) -> list[tuple[str, int, int]]:
    """Of each subnet: its addresses in use (its own, the broadcast's and the gateway's among them, with ``taken``
    containers), and those that may be given out yet."""
    found = []
    for config in network.ipam.config:
        subnet = ip_network(config.subnet)
        used = taken + min(subnet.num_addresses, 2) + (1 if config.gateway else 0)
        dynamic = ip_network(config.ip_range).num_addresses if config.ip_range else subnet.num_addresses - used
        found.append((config.subnet, used, max(0, dynamic)))
    return found
