"""One network: what the engine asks when a container starts and ends.

The facts are in the kernel and in the containers' records; what is kept here (addresses, ports given out) is
rebuilt from the endpoints of running containers by :meth:`BridgeNetwork.adopt` before
:meth:`BridgeNetwork.ensure`. Calls are synchronous, take well under a millisecond (``ensure`` and ``remove``
apart) and come from one thread.
"""

from __future__ import annotations

import dataclasses
import secrets
import socket
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network

from corten.errors import AccessDenied, Conflict, CortenError, InvalidInput, Unsupported
from corten.network import host
from corten.network.barrier import Barrier
from corten.network.endpoint import Binding, Endpoint
from corten.network.firewall import Forwarding, Inside
from corten.network.pool import Addresses, Subnet, mac_of
from corten.network.ports import ANY, ANY6, HeldPorts, PortRequest, family_of


@dataclasses.dataclass(frozen=True, slots=True)
class BridgeSettings:
    """What a network is made of."""

    name: str
    network_id: str
    bridge: str
    """The interface's name, at most 15 bytes; of a macvlan or ipvlan network its parent's."""
    subnet: IPv4Network
    gateway: IPv4Address
    mtu: int
    internal: bool = False
    """Without a way out of the host."""
    subnet6: IPv6Network | None = None
    gateway6: IPv6Address | None = None
    range: IPv4Network | None = None
    """What containers are given of the subnet, where it is not the whole."""
    range6: IPv6Network | None = None
    reserved: tuple[str, ...] = ()
    """Addresses of both subnets that containers are not given."""
    open: bool = True
    masquerade: bool = True
    host_ip: str = ""
    """Where ports are published that name no address."""
    driver: str = "bridge"
    mode: str = ""
    prefix: str = "eth"
    """What the names of the containers' interfaces begin with."""

    @property
    def inside(self) -> Inside:
        """The network as the firewall sees it."""
        return Inside(self.bridge, self.subnet, self.internal, self.subnet6, self.open, self.masquerade)


@dataclasses.dataclass(frozen=True, slots=True)
class Wish:
    """What is asked of a place in a network; empty is the network's choice."""

    ip: str = ""
    ip6: str = ""
    mac: str = ""
    interface: str = ""
    priority: int = 0
    link_local: tuple[str, ...] = ()
    switches: tuple[tuple[str, str], ...] = ()
    """As of an endpoint, with ``IFNAME`` for the interface."""


_NO_WISH = Wish()


class BridgeNetwork:
    """A bridge, its addresses, and the endpoints of the running containers on it. A macvlan or ipvlan network is one
    without a bridge, a firewall and ports."""

    def __init__(self, settings: BridgeSettings, firewall: Barrier, ports: HeldPorts) -> None:
        self.settings = settings
        self.endpoints: dict[str, Endpoint] = {}
        """By container ID."""
        self.overtaken: Callable[[str], None] = lambda _: None
        """Hears of a container whose reserved place went to another one; set by who reserves."""
        self._reserved: dict[str, Endpoint] = {}
        self._made_ahead: set[str] = set()
        self._firewall = firewall
        self._ports = ports
        self._addresses = _addresses(settings.subnet, settings.gateway, settings.range, settings.reserved)
        self._addresses6: Addresses | None = None
        if settings.subnet6 is not None and settings.gateway6 is not None:
            self._addresses6 = _addresses(settings.subnet6, settings.gateway6, settings.range6, settings.reserved)

    @property
    def is_bridge(self) -> bool:
        """Whether the host has an interface of it, with its gateway's address."""
        return self.settings.driver == "bridge"

    def ensure(self) -> None:
        """Make the bridge as it should be, and remove cables on it that no endpoint has. The firewall's table
        is its own affair. Raises CortenError."""
        if not self.is_bridge:
            return
        settings = self.settings
        host.ensure_bridge(settings.bridge, self._own_addresses(), settings.mtu)
        # Where nothing guards 127.0.0.0/8 from containers, the host's loopback is not theirs to reach in any way.
        host.set_switch(f"net/ipv4/conf/{settings.bridge}/route_localnet", str(int(not self._firewall.carries)))
        owned = {one.host_interface for one in (*self.endpoints.values(), *self._reserved.values())}
        for name in host.ports(settings.bridge):
            if name not in owned:
                host.delete_link(name)

    def _own_addresses(self) -> list[host.Interface]:
        settings = self.settings
        own: list[host.Interface] = [IPv4Interface((settings.gateway, settings.subnet.prefixlen))]
        if settings.subnet6 is not None and settings.gateway6 is not None:
            own.append(IPv6Interface((settings.gateway6, settings.subnet6.prefixlen)))
        return own

    def remove(self) -> None:
        """Delete the bridge. Raises Conflict while containers are on it."""
        if self.endpoints:
            raise Conflict(f"error while removing network: network {self.settings.name} has active endpoints")
        self._overtake(list(self._reserved))
        if self.is_bridge:
            host.delete_link(self.settings.bridge)

    def attach(self, container_id: str, interface: str = "eth0", wish: Wish = _NO_WISH) -> Endpoint:
        """Give a container a place; what makes it is the endpoint's ``operations``.

        Raises AccessDenied when the container has one or the address is used, Conflict when none is left, InvalidInput
        for a bad one.
        """
        if container_id in self.endpoints:
            raise AccessDenied(
                f"endpoint of container {container_id[:12]} already exists in network {self.settings.name}"
            )
        _check_mac(wish.mac)
        self._mend()
        if wish == _NO_WISH and self._is_plugged(container_id, interface):
            self._made_ahead.add(container_id)
            endpoint = self._reserved.pop(container_id)
        else:
            ip, ip6 = self._chosen(wish)
            endpoint = self._endpoint(container_id, ip, ip6, wish.interface or interface, wish)
        self.endpoints[container_id] = endpoint
        return endpoint

    # A place that is taken before there is a container: its cable is plugged in by who stands by for its start.

    def reserve(self, container_id: str) -> Endpoint:
        """Take a place for a container that is to be, which has it when it is attached and wishes for nothing else.
        Raises Conflict when no address is left."""
        endpoint = self._endpoint(container_id, *self._next_free(), f"{self.settings.prefix}0", _NO_WISH)
        self._reserved[container_id] = endpoint
        return endpoint

    def _is_plugged(self, container_id: str, interface: str) -> bool:
        """Whether a container finds its cable where it was made for it: somebody may have removed that."""
        reserved = self._reserved.get(container_id)
        return reserved is not None and reserved.interface == interface and host.link_exists(reserved.host_interface)

    def reserved(self, container_id: str) -> Endpoint | None:
        """The place that is reserved for a container, if it has not taken it."""
        return self._reserved.get(container_id)

    def unreserve(self, container_id: str) -> None:
        """Give a reserved place back; nothing when there is none."""
        if (endpoint := self._reserved.pop(container_id, None)) is not None:
            self._release_addresses(endpoint)

    def was_reserved(self, container_id: str) -> bool:
        """Whether a container's place is the one that was reserved for it."""
        return container_id in self._made_ahead

    def renew(self, container_id: str) -> None:
        """Take another place, where nobody is there any more who made the reserved one. That is given back when he is
        gone, with :meth:`unreserve`: until then he has its address. Where that is the last one it stays the
        container's, on another cable."""
        old = self.endpoints[container_id]
        if self._addresses.is_full:
            self._overtake(list(self._reserved))
        is_last = self._addresses.is_full
        addresses = (old.ip, old.ip6) if is_last else self._next_free()
        self.endpoints[container_id] = self._endpoint(container_id, *addresses, old.interface, _NO_WISH)
        self._made_ahead.discard(container_id)
        if not is_last:
            self._reserved[container_id] = old

    def _overtake(self, container_ids: Sequence[str]) -> None:
        """Whoever is there counts for more than whoever may come."""
        for container_id in container_ids:
            self.unreserve(container_id)
            self.overtaken(container_id)

    def _next_free(self) -> tuple[str, str]:
        return self._addresses.allocate(), self._given6("")

    def _chosen(self, wish: Wish) -> tuple[str, str]:
        """The addresses for a wish. Raises as :meth:`attach`."""
        wanted = {wish.ip, wish.ip6} - {""}
        self._overtake([id for id, one in self._reserved.items() if wanted & {one.ip, one.ip6}])
        if self._addresses.is_full:
            self._overtake(list(self._reserved))
        ip = _given(self._addresses, wish.ip)
        try:
            return ip, self._given6(wish.ip6)
        except CortenError:
            self._addresses.release(ip)
            raise

    def _given6(self, wanted: str) -> str:
        if self._addresses6 is not None:
            return _given(self._addresses6, wanted)
        if wanted:
            raise InvalidInput(f"no configured subnet or ip-range contain the IP address {wanted}")
        return ""

    def _mend(self) -> None:
        """Make anew what somebody deleted: the table (``nft flush ruleset``), the bridge."""
        if not self.is_bridge:
            return
        self._firewall.ensure()
        if not host.link_exists(self.settings.bridge):
            self.ensure()

    def _endpoint(self, container_id: str, ip: str, ip6: str, interface: str, wish: Wish) -> Endpoint:
        settings = self.settings
        is_open = not settings.internal
        return Endpoint(
            network=settings.name,
            network_id=settings.network_id,
            endpoint_id=secrets.token_hex(32),
            container_id=container_id,
            bridge=settings.bridge,
            # Not derived from the container: the cable of its last run may still be on its way out.
            host_interface="veth" + secrets.token_hex(4)[:7] if self.is_bridge else "",
            interface=interface,
            ip=ip,
            prefix=settings.subnet.prefixlen,
            gateway=str(settings.gateway) if is_open else "",
            mac=wish.mac or mac_of(ip),
            mtu=settings.mtu,
            ip6=ip6,
            prefix6=settings.subnet6.prefixlen if settings.subnet6 else 0,
            gateway6=str(settings.gateway6) if is_open and ip6 else "",
            driver=settings.driver,
            mode=settings.mode,
            isolated=not settings.open,
            priority=wish.priority,
            link_local=wish.link_local,
            switches=tuple((path.replace("IFNAME", interface), value) for path, value in wish.switches),
            carried=self._firewall.carries,
        )

    def adopt(self, endpoint: Endpoint) -> list[str]:
        """Take over the endpoint of a container that is running from before this engine.

        Its ports are opened when the firewall's table is next made. Returns what could not be had (a port
        that another process has taken meanwhile: translation goes on, the process is not reached from
        outside). Those that the network helper carries are not held here: it has them, or gets them.
        """
        if self._firewall.carries and not endpoint.carried:
            endpoint = dataclasses.replace(endpoint, carried=True)
        self._addresses.reserve(endpoint.ip)
        if endpoint.ip6 and self._addresses6 is not None:
            self._addresses6.reserve(endpoint.ip6)
        self.endpoints[endpoint.container_id] = endpoint
        self._firewall.remember(_forwardings(endpoint))
        notices = []
        for binding in endpoint.ports:
            if endpoint.carries(binding):
                continue
            if endpoint.carried:
                notices.append(f"port {binding.host_port}/{binding.protocol} is not reached: it takes a firewall")
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
        if not requests or not self.is_bridge:
            return endpoint
        taken: list[Binding] = []
        try:
            anywhere = [ANY, ANY6] if endpoint.ip6 or host.has_ipv6() else [ANY]
            taken = self._ports.take([(one, self._host_addresses(endpoint, one, anywhere)) for one in requests])
            published = dataclasses.replace(endpoint, ports=(*endpoint.ports, *taken))
            self._firewall.publish(_forwardings(dataclasses.replace(endpoint, ports=tuple(taken))))
        except CortenError as error:
            self._ports.give_back(taken)
            raise _programming_failed(error, name or endpoint.container_id[:12], endpoint) from error
        self.endpoints[endpoint.container_id] = published
        return published

    def _host_addresses(self, endpoint: Endpoint, request: PortRequest, anywhere: list[str]) -> list[str]:
        """Where on the host a port is to be published, ``anywhere`` if it does not say. What no rule translates is
        carried, but for SCTP. Raises Unsupported for that."""
        asked = request.host_ip or self.settings.host_ip
        is_carried = request.protocol != "sctp"
        if endpoint.carried and not is_carried:
            raise Unsupported(
                f"publish SCTP port {request.container_port}: it takes nf_tables, which this engine does not have",
                hint="corten network explain tells why",
            )
        if not asked:
            return anywhere if endpoint.ip6 or is_carried else [ANY]
        if not is_carried and family_of(asked) == socket.AF_INET6 and (asked == "::1" or not endpoint.ip6):
            raise Unsupported(
                f"publish SCTP on {asked}: no rule of the kernel translates it",
                hint="give an address of an interface, and --ipv6 to the network; or an IPv4 address",
            )
        return [asked]

    def withdraw(self, container_id: str) -> Endpoint:
        """Close the ports of a container that stays."""
        endpoint = self.endpoints[container_id]
        self._ports.give_back(endpoint.ports)
        self._firewall.withdraw(endpoint.ports)
        self.endpoints[container_id] = dataclasses.replace(endpoint, ports=())
        return self.endpoints[container_id]

    def update(self, endpoint: Endpoint) -> None:
        """Remember what has changed of a container's place."""
        self.endpoints[endpoint.container_id] = endpoint

    def release(self, container_id: str) -> None:
        """Close the ports and free the address; nothing when the container has no endpoint here. The kernel
        has dropped, or is dropping, the cable with the container's namespace."""
        endpoint = self.endpoints.pop(container_id, None)
        if endpoint is None:
            return
        self._made_ahead.discard(container_id)
        self._release_addresses(endpoint)
        self._ports.give_back(endpoint.ports)
        self._firewall.withdraw(endpoint.ports)

    def _release_addresses(self, endpoint: Endpoint) -> None:
        self._addresses.release(endpoint.ip)
        if endpoint.ip6 and self._addresses6 is not None:
            self._addresses6.release(endpoint.ip6)


def _forwardings(endpoint: Endpoint) -> list[Forwarding]:
    return [
        Forwarding(binding, endpoint.ip6 if family_of(binding.host_ip) == socket.AF_INET6 else endpoint.ip)
        for binding in endpoint.ports
        if endpoint.translates(binding)
    ]


def _addresses(
    subnet: Subnet, gateway: IPv4Address | IPv6Address, within: Subnet | None, reserved: Sequence[str]
) -> Addresses:
    own = [text for text in reserved if (":" in text) == (subnet.version == 6)]
    return Addresses(subnet, gateway, within=within, reserved=own)


def _given(addresses: Addresses, wanted: str) -> str:
    """An address: the one that is wanted, or the next."""
    if not wanted:
        return addresses.allocate()
    addresses.reserve(wanted)
    return wanted


def _programming_failed(error: CortenError, name: str, endpoint: Endpoint) -> CortenError:
    """Docker's sentence around the cause, of the same kind."""
    text = "driver failed programming external connectivity on endpoint"
    return type(error)(f"{text} {name} ({endpoint.endpoint_id}): {error.message}", hint=error.hint)


def is_mac(mac: str) -> bool:
    """Six bytes, not a group's address; '' is whatever comes."""
    parts = mac.split(":")
    try:
        octets = bytes(int(part, 16) for part in parts if len(part) == 2)
    except ValueError:
        octets = b""
    return not mac or (len(octets) == len(parts) == 6 and not octets[0] & 1)


def _check_mac(mac: str) -> None:
    if not is_mac(mac):
        raise InvalidInput(f"use Ethernet address {mac!r}: invalid MAC address")
