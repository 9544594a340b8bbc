"""What a container has of a network: a value, kept in its record, that yields its operations."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from corten.network.announce import Announce, Announce6
from corten.network.link import (
    Address,
    Address6,
    DefaultRoute,
    Ipv6,
    Loopback,
    NoIpv6,
    RemoveLink,
    Switch,
    Unplug,
    VethPair,
    VirtualLink,
)
from corten.spec.operation import Operation

_LINK_LOCAL_PREFIX, _LINK_LOCAL_PREFIX6 = 16, 64  # RFC 3927, 2.1; RFC 4291, 2.5.6
LOOPBACK_ONLY: tuple[Operation, ...] = (Loopback(),)
"""The operations of a container with ``--network none``."""


@dataclasses.dataclass(frozen=True, slots=True)
class Binding:
    """One port of a container, published on one port of the host."""

    protocol: str
    """tcp, udp or sctp."""
    host_ip: str
    host_port: int
    container_port: int


@dataclasses.dataclass(frozen=True, slots=True)
class Endpoint:
    """A container's place in a network, while it runs. Addresses that there are none of are empty."""

    network: str
    network_id: str
    endpoint_id: str
    container_id: str
    bridge: str
    """The host's interface that it hangs on: a bridge, or the parent of a macvlan or ipvlan link."""
    host_interface: str
    interface: str
    ip: str
    prefix: int
    gateway: str
    mac: str
    mtu: int
    ports: tuple[Binding, ...] = ()
    ip6: str = ""
    prefix6: int = 0
    gateway6: str = ""
    driver: str = "bridge"
    mode: str = ""
    """Of a macvlan or ipvlan link."""
    isolated: bool = False
    """Its port of the bridge forwards nothing to other ports like it."""
    priority: int = 0
    """Of several networks with a gateway, the highest is the way out."""
    way_out: bool = True
    """Whether its gateway, if it has one, is the container's default route."""
    way_out6: bool = True
    switches: tuple[tuple[str, str], ...] = ()
    """Files below /proc/sys/net of the interface's own, and their values."""
    link_local: tuple[str, ...] = ()
    """Further addresses, of both families, that hold on the link alone."""
    carried: bool = False
    """No rule of the kernel translates its ports: the engine had no firewall when it was made."""

    @property
    def operations(self) -> tuple[Operation, ...]:
        """The steps that make it alone, for the container's plan."""
        return operations((self,))

    @property
    def plugged(self) -> Iterator[Operation]:
        """The steps that give the container the interface with its addresses."""
        yield self._link
        has_ipv6 = self.ip6 or any(":" in one for one in self.link_local)
        yield Ipv6(self.interface) if has_ipv6 else NoIpv6(self.interface)
        if self.driver != "bridge":
            yield Announce(self.interface)
        yield from (Switch(path, value) for path, value in self.switches)
        yield Address(self.interface, self.ip, self.prefix)
        if self.ip6:
            yield Address6(self.interface, self.ip6, self.prefix6)
            if self.driver == "macvlan":  # ipvlan: its parent's Ethernet address, as whoever was there before
                yield Announce6(self.interface, self.ip6, self.mac)
        yield from self._link_local

    @property
    def _link_local(self) -> Iterator[Operation]:
        for ip in self.link_local:
            if ":" in ip:
                yield Address6(self.interface, ip, _LINK_LOCAL_PREFIX6)
            else:
                yield Address(self.interface, ip, _LINK_LOCAL_PREFIX)

    @property
    def _link(self) -> Operation:
        if self.driver == "bridge":
            return VethPair(self.host_interface, self.bridge, self.interface, self.mac, self.mtu, self.isolated)
        return VirtualLink(self.driver, self.mode, self.bridge, self.interface, self.mac, self.mtu)

    @property
    def routed(self) -> Iterator[Operation]:
        """The steps that make its gateway the way out."""
        if self.way_out and self.gateway:
            yield DefaultRoute(self.gateway)
        if self.way_out6 and self.gateway6:
            yield DefaultRoute(self.gateway6)

    def carries(self, binding: Binding) -> bool:
        """Whether a published port of its is one that no rule of the kernel translates, and that is carried by the
        network helper: that of an IPv6 address where the container has none, and ``[::1]``."""
        if binding.protocol == "sctp":
            return False
        if self.carried or ":" not in binding.host_ip:
            return self.carried
        return not self.ip6 or binding.host_ip in ("::", "::1")

    def translates(self, binding: Binding) -> bool:
        """Whether a published port of its is one that rules of the kernel translate; ``[::]`` may be both."""
        if self.carried or ":" not in binding.host_ip:
            return not self.carried
        return self.ip6 != "" and binding.host_ip != "::1"

    @property
    def unplugged(self) -> Operation:
        """The step that takes the interface away."""
        return Unplug(self.host_interface) if self.driver == "bridge" else RemoveLink(self.interface)

    def encode(self) -> dict[str, Any]:
        """JSON values only."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {**values, "ports": [{name: getattr(one, name) for name in one.__slots__} for one in self.ports]}

    @staticmethod
    def decode(value: dict[str, Any]) -> Endpoint:
        """The endpoint of :meth:`encode`'s form."""
        ports = tuple(Binding(**binding) for binding in value["ports"])
        switches = tuple((path, setting) for path, setting in value.get("switches", ()))
        own = {"ports": ports, "switches": switches, "link_local": tuple(value.get("link_local", ()))}
        return Endpoint(**{**value, **own})


def operations(endpoints: Sequence[Endpoint]) -> tuple[Operation, ...]:
    """The steps that make a container's links: the loopback, each network's, and the way out."""
    plugged = (step for endpoint in endpoints for step in endpoint.plugged)
    routed = (step for endpoint in endpoints for step in endpoint.routed)
    return (*LOOPBACK_ONLY, *plugged, *routed)


def with_way_out(endpoints: Sequence[Endpoint]) -> tuple[Endpoint, ...]:
    """The endpoints of one container, with the default routes where dockerd puts them: of the gateways, that of the
    highest priority, then of the first name."""
    by_rank = sorted(endpoints, key=lambda endpoint: (-endpoint.priority, endpoint.network))
    first = next((endpoint.endpoint_id for endpoint in by_rank if endpoint.gateway), "")
    first6 = next((endpoint.endpoint_id for endpoint in by_rank if endpoint.gateway6), "")
    return tuple(
        _flagged(one, not one.gateway or one.endpoint_id == first, not one.gateway6 or one.endpoint_id == first6)
        for one in endpoints
    )


def _flagged(endpoint: Endpoint, way_out: bool, way_out6: bool) -> Endpoint:
    """A copy only where it differs: nearly every container has one network, and waits for this."""
    if (endpoint.way_out, endpoint.way_out6) == (way_out, way_out6):
        return endpoint
    return dataclasses.replace(endpoint, way_out=way_out, way_out6=way_out6)
