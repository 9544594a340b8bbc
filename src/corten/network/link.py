"""The operations that give a container its links, executed by the forks of the spawner.

On the way of a start nothing is moved or deleted: the container's end of a link is created inside its namespace
(moving a link between namespaces takes 10-30 ms), and the kernel drops both ends when the namespace dies (deleting
takes 12-47 ms). What is plugged into a container that runs, or out of it, are the same operations and
:class:`Unplug`, in a worker of the spawner.
"""

from __future__ import annotations

import dataclasses
import errno
import socket
import struct
from typing import ClassVar

from corten.spec.operation import INIT, PARENT, Context, Operation, operation
from corten.sys.netlink import Netlink
from corten.wire import netlink as wire
from corten.wire.netlink import Request

_ONE_QUEUE = wire.u32(wire.IFLA_NUM_TX_QUEUES, 1) + wire.u32(wire.IFLA_NUM_RX_QUEUES, 1)
"""The kernel's default is a queue for each CPU at each end, and an object in /sys, with an event, for each queue."""


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class Loopback(Operation):
    """Switch on ``lo``."""

    kind: ClassVar[str] = "network.loopback"
    stage: ClassVar[str] = INIT
    group: ClassVar[str] = "network"

    def what(self) -> str:
        return "lo"

    def why(self) -> str:
        return "A new network namespace has a loopback that is down; programs expect 127.0.0.1 to answer."

    def shell(self) -> str:
        return "ip link set lo up"

    def ahead(self) -> bool:
        return True

    def run(self, context: Context) -> None:
        with Netlink() as kernel:
            kernel.batch(switched_on("lo"))


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class VethPair(Operation):
    """A virtual cable: one end is a port of the bridge, the other appears inside the container."""

    kind: ClassVar[str] = "network.veth"
    stage: ClassVar[str] = PARENT
    group: ClassVar[str] = "network"
    of_endpoint: ClassVar[bool] = True

    host: str
    """Name of the host's end."""
    bridge: str
    name: str
    """Name of the container's end."""
    mac: str
    """Address of the container's end, ``02:42:…``."""
    mtu: int
    isolated: bool = False
    """The bridge forwards nothing between this port and others like it."""

    def what(self) -> str:
        return f"{self.host} to {self.name}"

    def why(self) -> str:
        return (
            f"A cable between the container and the bridge {self.bridge}: what goes in at one end comes out "
            f"at the other. The container's end is created inside its namespace, and goes with it."
        )

    def shell(self) -> str:
        common = f"mtu {self.mtu} numtxqueues 1 numrxqueues 1"
        return (
            f"ip link add {self.host} {common} master {self.bridge} type veth "
            f'peer name {self.name} address {self.mac} {common} netns "$PID" && '
            f"ip link set {self.host} type bridge_slave hairpin on{self._isolation()} && "
            f"ip link set {self.host} addrgenmode none && ip link set {self.host} up"
        )

    def _isolation(self) -> str:
        return " isolated on" if self.isolated else ""

    def rehearse(self, context: Context) -> None:
        with Netlink():
            self._pair(0, socket.if_nametoindex(self.bridge)).encode(1, 0)

    def run(self, context: Context) -> None:
        with Netlink() as kernel:
            bridge = socket.if_nametoindex(self.bridge)
            pair, settings = self._pair(context.init_pid, bridge), _as_port(self.host, self.isolated)
            kernel.batch(pair, settings, switched_on(self.host))

    def undo(self, context: Context) -> None:
        body = wire.link() + wire.text(wire.IFLA_IFNAME, self.host)
        with Netlink() as kernel:
            kernel.batch(Request(wire.RTM_DELLINK, 0, body))

    def _pair(self, pid: int, bridge: int) -> Request:
        common = wire.u32(wire.IFLA_MTU, self.mtu) + _ONE_QUEUE
        peer = (
            wire.link()
            + wire.text(wire.IFLA_IFNAME, self.name)
            + wire.attribute(wire.IFLA_ADDRESS, bytes.fromhex(self.mac.replace(":", "")))
            + wire.u32(wire.IFLA_NET_NS_PID, pid)
            + common
        )
        info = wire.nested(
            wire.IFLA_LINKINFO,
            wire.text(wire.IFLA_INFO_KIND, "veth"),
            wire.nested(wire.IFLA_INFO_DATA, wire.attribute(wire.VETH_INFO_PEER, peer)),
        )
        master = wire.u32(wire.IFLA_MASTER, bridge)
        body = wire.link() + wire.text(wire.IFLA_IFNAME, self.host) + common + master + info
        return Request(wire.RTM_NEWLINK, wire.NLM_F_CREATE | wire.NLM_F_EXCL, body)


def _as_port(name: str, isolated: bool) -> Request:
    """Settings of a port of the bridge, made before it is switched on.

    No IPv6 address: a port needs none, and the kernel's duplicate address detection and router solicitations
    would go to every container. Hairpin, so that frames may leave by the port they came in at: with
    br_netfilter, a container's traffic to its own published port is turned round inside the bridge.
    """
    isolation = wire.u8(wire.IFLA_BRPORT_ISOLATED, 1) if isolated else b""
    no_address = wire.u8(wire.IFLA_INET6_ADDR_GEN_MODE, wire.IN6_ADDR_GEN_MODE_NONE)
    hairpin = wire.nested(
        wire.IFLA_LINKINFO,
        wire.text(wire.IFLA_INFO_SLAVE_KIND, "bridge"),
        wire.nested(wire.IFLA_INFO_SLAVE_DATA, wire.u8(wire.IFLA_BRPORT_MODE, 1) + isolation),
    )
    family = wire.nested(wire.IFLA_AF_SPEC, wire.nested(socket.AF_INET6, no_address))
    return Request(wire.RTM_NEWLINK, 0, wire.link() + wire.text(wire.IFLA_IFNAME, name) + hairpin + family)


def switched_on(name: str) -> Request:
    """The request that switches an interface on; nothing when it is."""
    body = wire.link(0, wire.IFF_UP, wire.IFF_UP) + wire.text(wire.IFLA_IFNAME, name)
    return Request(wire.RTM_NEWLINK, 0, body)


_MODES = {
    "macvlan": {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8},
    "ipvlan": {"l2": 0, "l3": 1, "l3s": 2},
}


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class VirtualLink(Operation):
    """An interface of the container's own on one of the host's: macvlan or ipvlan."""

    kind: ClassVar[str] = "network.virtual-link"
    stage: ClassVar[str] = PARENT
    group: ClassVar[str] = "network"

    driver: str
    mode: str
    parent: str
    name: str
    mac: str
    mtu: int

    def what(self) -> str:
        return f"{self.parent} to {self.name}"

    def why(self) -> str:
        return (
            f"The container is a machine of its own on the network of {self.parent}: there is no bridge, and the "
            f"host itself does not reach it."
        )

    def shell(self) -> str:
        address = f" address {self.mac}" if self.driver == "macvlan" else ""
        return (
            f"ip link add link {self.parent} name {self.name}{address} mtu {self.mtu} "
            f'netns "$PID" type {self.driver} mode {self.mode}'
        )

    def run(self, context: Context) -> None:
        namespace = wire.u32(wire.IFLA_NET_NS_PID, context.init_pid)
        with Netlink() as kernel:
            kernel.batch(self.request(namespace))

    def request(self, placed: bytes = b"") -> Request:
        """The request that makes it, where ``placed`` says."""
        own = wire.attribute(wire.IFLA_ADDRESS, bytes.fromhex(self.mac.replace(":", ""))) if self.mac else b""
        number = _MODES[self.driver][self.mode]
        mode = wire.u32(1, number) if self.driver == "macvlan" else wire.attribute(1, struct.pack("=H", number))
        body = (
            wire.link()
            + wire.u32(wire.IFLA_LINK, socket.if_nametoindex(self.parent))
            + wire.text(wire.IFLA_IFNAME, self.name)
            + (own if self.driver == "macvlan" else b"")
            + wire.u32(wire.IFLA_MTU, self.mtu)
            + placed
            + wire.nested(
                wire.IFLA_LINKINFO,
                wire.text(wire.IFLA_INFO_KIND, self.driver),
                wire.nested(wire.IFLA_INFO_DATA, mode),
            )
        )
        return Request(wire.RTM_NEWLINK, wire.NLM_F_CREATE | wire.NLM_F_EXCL, body)


@dataclasses.dataclass(frozen=True, slots=True)
class _Deletion(Operation):
    """Delete an interface; nothing when it went by itself, or the container removed it."""

    group: ClassVar[str] = "network"

    name: str

    def what(self) -> str:
        return self.name

    def why(self) -> str:
        return "The container leaves the network; with one end of a cable, the kernel drops the other."

    def shell(self) -> str:
        return f"ip link delete {self.name}"

    def run(self, context: Context) -> None:
        try:
            with Netlink() as kernel:
                kernel.batch(Request(wire.RTM_DELLINK, 0, wire.link() + wire.text(wire.IFLA_IFNAME, self.name)))
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class Unplug(_Deletion):
    """Pull a cable out of the bridge, by the host's end: the container may have renamed its own."""

    kind: ClassVar[str] = "network.unplug"
    stage: ClassVar[str] = PARENT


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class RemoveLink(_Deletion):
    """Remove an interface of a container that runs, from inside."""

    kind: ClassVar[str] = "network.remove-link"
    stage: ClassVar[str] = INIT


_IPV6 = ("accept_ra", "accept_dad", "disable_ipv6")


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class Ipv6(Operation):
    """Switch IPv6 on, on one of the container's interfaces."""

    kind: ClassVar[str] = "network.ipv6"
    stage: ClassVar[str] = INIT
    group: ClassVar[str] = "network"
    of_endpoint: ClassVar[bool] = True

    name: str

    def what(self) -> str:
        return f"/proc/sys/net/ipv6/conf/{self.name}"

    def why(self) -> str:
        return (
            "The network has IPv6, whatever the host does by default. Router advertisements are not listened to: any "
            "neighbour could send them, and become the way out (CVE-2020-13401). The engine gives each address out "
            "once, so that the second of waiting for a neighbour who has it already is left out."
        )

    def shell(self) -> str:
        return " && ".join(f"echo 0 > {self.what()}/{switch}" for switch in _IPV6)

    def run(self, context: Context) -> None:
        for switch in _IPV6:
            _write(f"{self.what()}/{switch}", "0")


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class Switch(Operation):
    """Set one of an interface's switches, as the endpoint's driver option asks."""

    kind: ClassVar[str] = "network.switch"
    stage: ClassVar[str] = INIT
    group: ClassVar[str] = "network"

    path: str
    """Below /proc/sys/net."""
    value: str

    def what(self) -> str:
        return f"/proc/sys/net/{self.path}"

    def why(self) -> str:
        return "The driver option com.docker.network.endpoint.sysctls asks for it."

    def shell(self) -> str:
        return f"echo {self.value} > {self.what()}"

    def run(self, context: Context) -> None:
        _write(self.what(), self.value)


def _write(path: str, value: str) -> None:
    with open(path, "wb", buffering=0) as switch:
        switch.write(value.encode())


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class NoIpv6(Operation):
    """Switch IPv6 off on one of the container's interfaces."""

    kind: ClassVar[str] = "network.no-ipv6"
    stage: ClassVar[str] = INIT
    group: ClassVar[str] = "network"
    of_endpoint: ClassVar[bool] = True

    name: str

    def what(self) -> str:
        return self._path()

    def why(self) -> str:
        return "The network has no IPv6: without this the interface would give itself a link-local address."

    def shell(self) -> str:
        return f"echo 1 > {self._path()}"

    def _path(self) -> str:
        return f"/proc/sys/net/ipv6/conf/{self.name}/disable_ipv6"

    def run(self, context: Context) -> None:
        try:
            with open(self._path(), "wb", buffering=0) as switch:
                switch.write(b"1")
        except FileNotFoundError:  # a kernel without IPv6 has nothing to switch off
            return


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class Address(Operation):
    """Give an interface its IPv4 address and switch it on."""

    kind: ClassVar[str] = "network.address"
    stage: ClassVar[str] = INIT
    group: ClassVar[str] = "network"
    of_endpoint: ClassVar[bool] = True

    name: str
    ip: str
    prefix: int

    def what(self) -> str:
        return f"{self.name} {self.ip}/{self.prefix}"

    def why(self) -> str:
        return "The container's own address on the bridge; others on the same bridge reach it directly."

    def shell(self) -> str:
        address = f"{self.ip}/{self.prefix} broadcast +"
        return f"ip address add {address} dev {self.name} && ip link set {self.name} up"

    def rehearse(self, context: Context) -> None:
        with Netlink() as kernel:
            kernel.batch(switched_on("lo"))
        add_address(1, self.ip, self.prefix)

    def run(self, context: Context) -> None:
        with Netlink() as kernel:
            index = socket.if_nametoindex(self.name)
            kernel.batch(add_address(index, self.ip, self.prefix), switched_on(self.name))


def add_address(index: int, ip: str, prefix: int) -> Request:
    """The request that adds an IPv4 address, with its network's broadcast address, to an interface."""
    own = socket.inet_aton(ip)
    hosts = (1 << (32 - prefix)) - 1
    broadcast = (int.from_bytes(own, "big") | hosts).to_bytes(4, "big")
    body = (
        wire.address(socket.AF_INET, prefix, index)
        + wire.attribute(wire.IFA_LOCAL, own)
        + wire.attribute(wire.IFA_ADDRESS, own)
        + wire.attribute(wire.IFA_BROADCAST, broadcast)
    )
    return Request(wire.RTM_NEWADDR, wire.NLM_F_CREATE | wire.NLM_F_EXCL, body)


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class Address6(Operation):
    """Give an interface its IPv6 address."""

    kind: ClassVar[str] = "network.address6"
    stage: ClassVar[str] = INIT
    group: ClassVar[str] = "network"
    of_endpoint: ClassVar[bool] = True

    name: str
    ip: str
    prefix: int

    def what(self) -> str:
        return f"{self.name} {self.ip}/{self.prefix}"

    def why(self) -> str:
        return "The container's own IPv6 address on the bridge; others on the same bridge reach it directly."

    def shell(self) -> str:
        return f"ip -6 address add {self.ip}/{self.prefix} dev {self.name} nodad"

    def run(self, context: Context) -> None:
        with Netlink() as kernel:
            kernel.batch(add_address6(socket.if_nametoindex(self.name), self.ip, self.prefix))


def add_address6(index: int, ip: str, prefix: int) -> Request:
    """The request that adds an IPv6 address to an interface, without looking whether a neighbour has it."""
    own = socket.inet_pton(socket.AF_INET6, ip)
    body = (
        wire.address(socket.AF_INET6, prefix, index, wire.IFA_F_NODAD)
        + wire.attribute(wire.IFA_LOCAL, own)
        + wire.attribute(wire.IFA_ADDRESS, own)
    )
    return Request(wire.RTM_NEWADDR, wire.NLM_F_CREATE | wire.NLM_F_EXCL, body)


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class DefaultRoute(Operation):
    """Send everything that is not on a link of the container's own through the bridge."""

    kind: ClassVar[str] = "network.route"
    stage: ClassVar[str] = INIT
    group: ClassVar[str] = "network"
    of_endpoint: ClassVar[bool] = True

    gateway: str

    def what(self) -> str:
        return f"default via {self.gateway}"

    def why(self) -> str:
        return "The bridge's own address is the way out: the host forwards and translates what is sent there."

    def shell(self) -> str:
        return f"ip {'-6 ' if ':' in self.gateway else ''}route add default via {self.gateway}"

    def run(self, context: Context) -> None:
        with Netlink() as kernel:
            kernel.batch(_default_route(self.gateway, wire.NLM_F_CREATE | wire.NLM_F_EXCL))


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class Reroute(Operation):
    """Move the way out of a container that runs to another gateway."""

    kind: ClassVar[str] = "network.reroute"
    stage: ClassVar[str] = INIT
    group: ClassVar[str] = "network"

    gateway: str

    def what(self) -> str:
        return f"default via {self.gateway}"

    def why(self) -> str:
        return "The networks of the container have changed, and with them which gateway comes first."

    def shell(self) -> str:
        return f"ip {'-6 ' if ':' in self.gateway else ''}route replace default via {self.gateway}"

    def run(self, context: Context) -> None:
        with Netlink() as kernel:
            kernel.batch(_default_route(self.gateway, wire.NLM_F_CREATE | wire.NLM_F_REPLACE))


def _default_route(gateway: str, flags: int) -> Request:
    family = socket.AF_INET6 if ":" in gateway else socket.AF_INET
    body = wire.route(family) + wire.attribute(wire.RTA_GATEWAY, socket.inet_pton(family, gateway))
    return Request(wire.RTM_NEWROUTE, flags, body)
