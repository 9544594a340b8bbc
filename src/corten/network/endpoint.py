"""What a container has of a network: a value, kept in its record, that yields its operations."""

from __future__ import annotations

import dataclasses
from typing import Any

from corten.network.link import Address, DefaultRoute, Loopback, NoIpv6, VethPair
from corten.spec.operation import Operation

LOOPBACK_ONLY: tuple[Operation, ...] = (Loopback(),)
"""The operations of a container with ``--network none``."""


@dataclasses.dataclass(frozen=True, slots=True)
class Binding:
    """One port of a container, published on one port of the host."""

    protocol: str
    """tcp or udp."""
    host_ip: str
    host_port: int
    container_port: int


@dataclasses.dataclass(frozen=True, slots=True)
class Endpoint:
    """A container's place in a bridge network, while it runs."""

    network: str
    network_id: str
    endpoint_id: str
    container_id: str
    bridge: str
    host_interface: str
    interface: str
    ip: str
    prefix: int
    gateway: str
    mac: str
    mtu: int
    ports: tuple[Binding, ...] = ()

    @property
    def operations(self) -> tuple[Operation, ...]:
        """The steps that make it, for the container's plan."""
        way_out = (DefaultRoute(self.gateway),) if self.gateway else ()
        return (
            *LOOPBACK_ONLY,
            VethPair(self.host_interface, self.bridge, self.interface, self.mac, self.mtu),
            NoIpv6(self.interface),
            Address(self.interface, self.ip, self.prefix),
            *way_out,
        )

    def encode(self) -> dict[str, Any]:
        """JSON values only."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {**values, "ports": [{name: getattr(one, name) for name in one.__slots__} for one in self.ports]}

    @staticmethod
    def decode(value: dict[str, Any]) -> Endpoint:
        """The endpoint of :meth:`encode`'s form."""
        ports = tuple(Binding(**binding) for binding in value["ports"])
        return Endpoint(**{**value, "ports": ports})
