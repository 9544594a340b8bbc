"""One bridge network: what the engine asks when a container starts and ends.

The facts are in the kernel and in the containers' records; what is kept here (addresses, ports given out) is
rebuilt from the endpoints of running containers by :meth:`BridgeNetwork.adopt` before
:meth:`BridgeNetwork.ensure`. Calls are synchronous, take well under a millisecond (``ensure`` and ``remove``
apart) and come from one thread.
"""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network

from corten.errors import Conflict, CortenError, InvalidInput
from corten.network import host
from corten.network.endpoint import Binding, Endpoint
from corten.network.firewall import Firewall, Forwarding, Inside
from corten.network.pool import Addresses, mac_of
from corten.network.ports import HeldPorts, PortRequest


@dataclasses.dataclass(frozen=True, slots=True)
class BridgeSettings:
    """What a bridge network is made of."""

    name: str
    network_id: str
    bridge: str
    """The interface's name, at most 15 bytes."""
    subnet: IPv4Network
    gateway: IPv4Address
    mtu: int
    internal: bool = False
    """Without a way out of the host."""

    @property
    def inside(self) -> Inside:
        """The network as the firewall sees it."""
        return Inside(self.bridge, self.subnet, self.internal)


class BridgeNetwork:
    """A bridge, its addresses, and the endpoints of the running containers on it."""

    def __init__(self, settings: BridgeSettings, firewall: Firewall, ports: HeldPorts) -> None:
        self.settings = settings
        self.endpoints: dict[str, Endpoint] = {}
        """By container ID."""
        self._firewall = firewall
        self._ports = ports
        self._addresses = Addresses(settings.subnet, settings.gateway)

    def ensure(self) -> None:
        """Make the bridge as it should be, and remove cables on it that no endpoint has. The firewall's table
        is its own affair. Raises CortenError."""
        settings = self.settings
        host.ensure_bridge(settings.bridge, settings.gateway, settings.subnet, settings.mtu)
        host.set_switch(f"net/ipv4/conf/{settings.bridge}/route_localnet", "1")
        owned = {endpoint.host_interface for endpoint in self.endpoints.values()}
        for name in host.ports(settings.bridge):
            if name not in owned:
                host.delete_link(name)

    def remove(self) -> None:
        """Delete the bridge. Raises Conflict while containers are on it."""
        if self.endpoints:
            raise Conflict(f"error while removing network: network {self.settings.name} has active endpoints")
        host.delete_link(self.settings.bridge)

    def attach(self, container_id: str, *, ip: str = "", mac: str = "", interface: str = "eth0") -> Endpoint:
        """Give a container a place; what makes it is the endpoint's ``operations``.

        Raises Conflict when the container has one, the address is used or none is left, InvalidInput for a
        bad one.
        """
        if container_id in self.endpoints:
            raise Conflict(f"endpoint of container {container_id[:12]} already exists in network {self.settings.name}")
        _check_mac(mac)
        self._mend()
        if ip:
            self._addresses.reserve(ip)
        else:
            ip = self._addresses.allocate()
        endpoint = self._endpoint(container_id, ip, mac or mac_of(ip), interface)
        self.endpoints[container_id] = endpoint
        return endpoint

    def _mend(self) -> None:
        """Make anew what somebody deleted: the table (``nft flush ruleset``), the bridge."""
        self._firewall.ensure()
        if not host.link_exists(self.settings.bridge):
            self.ensure()

    def _endpoint(self, container_id: str, ip: str, mac: str, interface: str) -> Endpoint:
        settings = self.settings
        return Endpoint(
            network=settings.name,
            network_id=settings.network_id,
            endpoint_id=secrets.token_hex(32),
            container_id=container_id,
            bridge=settings.bridge,
            # Not derived from the container: the cable of its last run may still be on its way out.
            host_interface="veth" + secrets.token_hex(4)[:7],
            interface=interface,
            ip=ip,
            prefix=settings.subnet.prefixlen,
            gateway="" if settings.internal else str(settings.gateway),
            mac=mac,
            mtu=settings.mtu,
        )

    def adopt(self, endpoint: Endpoint) -> list[str]:
        """Take over the endpoint of a container that is running from before this engine.

        Its ports are opened when the firewall's table is next made. Returns what could not be had (a port
        that another process has taken meanwhile: translation goes on, the process is not reached from
        outside).
        """
        self._addresses.reserve(endpoint.ip)
        self.endpoints[endpoint.container_id] = endpoint
        self._firewall.remember(_forwardings(endpoint))
        notices = []
        for binding in endpoint.ports:
            try:
                self._ports.hold(binding)
            except CortenError as error:
                notices.append(error.message)
        return notices

    def publish(self, endpoint: Endpoint, requests: Sequence[PortRequest], *, name: str = "") -> Endpoint:
        """Publish ports; the endpoint with its bindings. All or none. ``name`` is the container's, for
        messages.

        Raises Conflict when a port is in use, CortenError when one cannot be bound.
        """
        if not requests:
            return endpoint
        taken: list[Binding] = []
        try:
            for request in requests:
                taken.append(self._ports.take(request))  # noqa: PERF401 -- a partial list is given back
            published = dataclasses.replace(endpoint, ports=(*endpoint.ports, *taken))
            self._firewall.publish(_forwardings(dataclasses.replace(endpoint, ports=tuple(taken))))
        except CortenError as error:
            self._ports.give_back(taken)
            raise _programming_failed(error, name or endpoint.container_id[:12], endpoint) from error
        self.endpoints[endpoint.container_id] = published
        return published

    def release(self, container_id: str) -> None:
        """Close the ports and free the address; nothing when the container has no endpoint here. The kernel
        has dropped, or is dropping, the cable with the container's namespace."""
        endpoint = self.endpoints.pop(container_id, None)
        if endpoint is None:
            return
        self._addresses.release(endpoint.ip)
        self._ports.give_back(endpoint.ports)
        self._firewall.withdraw(endpoint.ports)


def _forwardings(endpoint: Endpoint) -> list[Forwarding]:
    return [Forwarding(binding, endpoint.ip) for binding in endpoint.ports]


def _programming_failed(error: CortenError, name: str, endpoint: Endpoint) -> CortenError:
    """Docker's sentence around the cause, of the same kind."""
    text = "driver failed programming external connectivity on endpoint"
    return type(error)(f"{text} {name} ({endpoint.endpoint_id}): {error.message}", hint=error.hint)


def _check_mac(mac: str) -> None:
    """Six bytes, not a group's address."""
    parts = mac.split(":")
    try:
        octets = bytes(int(part, 16) for part in parts if len(part) == 2)
    except ValueError:
        octets = b""
    if mac and (len(octets) != 6 or len(parts) != 6 or octets[0] & 1):
        raise InvalidInput(f"use Ethernet address {mac!r}: invalid MAC address")
