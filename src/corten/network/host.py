"""The host's side of networking: its links, routes and switches, read and set by rtnetlink and /proc/sys."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import os
import socket
import struct
import sys
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Interface, IPv6Network

from corten.errors import Conflict, CortenError, Unsupported
from corten.network.link import VirtualLink, add_address, add_address6
from corten.network.pool import Subnet, mac_of, overlaps
from corten.sys.netlink import Netlink
from corten.wire import netlink as wire
from corten.wire.netlink import Request


@dataclasses.dataclass(frozen=True, slots=True)
class Link:
    """An interface."""

    index: int
    name: str
    kind: str
    """``bridge``, ``veth`` and so on; empty for hardware."""
    master: int
    """Index of the bridge that it is a port of, or 0."""
    mtu: int


@dataclasses.dataclass(frozen=True, slots=True)
class Route:
    """A route that is not the default, or, with a network of prefix 0, the default."""

    network: Subnet
    index: int
    """The interface, or 0 when the route has several or none."""


@contextlib.contextmanager
def exclusive() -> Iterator[None]:
    """One engine of this network namespace at a time: others wait. The lock is on the namespace's own inode,
    so it reaches exactly as far as the routes do and leaves no file behind."""
    namespace = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(namespace, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(namespace, fcntl.LOCK_UN)
    finally:
        os.close(namespace)


def links() -> list[Link]:
    """All interfaces."""
    with Netlink() as kernel:
        return [_link(message) for message in kernel.dump(Request(wire.RTM_GETLINK, 0, wire.link()))]


def _link(message: wire.Message) -> Link:
    (index,) = struct.unpack_from("=i", message.body, 4)
    found = wire.attributes(message.body, 16)
    info = wire.attributes(found.get(wire.IFLA_LINKINFO, b""))
    return Link(
        index=index,
        name=found[wire.IFLA_IFNAME].rstrip(b"\0").decode(),
        kind=info.get(wire.IFLA_INFO_KIND, b"").rstrip(b"\0").decode(),
        master=_number(found.get(wire.IFLA_MASTER)),
        mtu=_number(found.get(wire.IFLA_MTU)),
    )


def _number(value: bytes | None) -> int:
    return int.from_bytes(value or b"", sys.byteorder)


def routes() -> list[Route]:
    """The routes of all tables but ``local``, which repeats what the others say."""
    found = []
    with Netlink() as kernel:
        for family in (socket.AF_INET, socket.AF_INET6):
            request = Request(wire.RTM_GETROUTE, 0, wire.route(family))
            with contextlib.suppress(OSError) if family == socket.AF_INET6 else contextlib.nullcontext():
                found += [route_of(message) for message in kernel.dump(request)]
    return [route for route in found if route]


def route_of(message: wire.Message) -> Route | None:
    """The route of a message; None for one that leads to no machine, or that is in the table ``local``."""
    family, prefix, _, _, table, _, _, kind = struct.unpack_from("=8B", message.body)
    if kind != wire.RTN_UNICAST or table == wire.RT_TABLE_LOCAL or family not in (socket.AF_INET, socket.AF_INET6):
        return None
    found = wire.attributes(message.body, 12)
    index = _number(found.get(wire.RTA_OIF))
    if family == socket.AF_INET6:
        return Route(IPv6Network((found.get(wire.RTA_DST, bytes(16)), prefix)), index)
    return Route(IPv4Network((IPv4Address(found.get(wire.RTA_DST, bytes(4))), prefix)), index)


def taken_networks(except_link: str) -> list[Subnet]:
    """The networks that the host has routes to, those through one link left out."""
    own = {link.index for link in links() if link.name == except_link}
    return [route.network for route in routes() if route.network.prefixlen and route.index not in own]


def outward_mtu() -> int:
    """The MTU of the interface that the default route leaves by, at most Ethernet's 1500 bytes."""
    way_out = {route.index for route in routes() if not route.network.prefixlen and route.network.version == 4}
    return min([1500, *(link.mtu for link in links() if link.index in way_out)])


Interface = IPv4Interface | IPv6Interface
"""An address with the prefix of its network."""


def ensure_bridge(name: str, addresses: Sequence[Interface], mtu: int) -> None:
    """Make a bridge that is up and has its addresses (the first is an IPv4 one), or bring the one that is there to
    that. Raises CortenError.

    Its Ethernet address is set, not left to the kernel, which would take that of the lowest port and change
    it as containers come and go. Without spanning tree a new port forwards at once.
    """
    has_ipv6 = any(address.version == 6 for address in addresses)
    try:
        with Netlink() as kernel:
            _create_bridge(kernel, name, mac_of(str(addresses[0].ip)))
            set_switch(f"net/ipv6/conf/{name}/accept_ra", "0", optional=True)
            # Until its link-local address is known to be nobody else's, for seconds, it asks for no neighbour.
            set_switch(f"net/ipv6/conf/{name}/accept_dad", "0", optional=True)
            set_switch(f"net/ipv6/conf/{name}/disable_ipv6", str(int(not has_ipv6)), optional=not has_ipv6)
            index = socket.if_nametoindex(name)
            _set_addresses(kernel, index, addresses)
            kernel.batch(
                Request(wire.RTM_NEWLINK, 0, wire.link(index) + wire.u32(wire.IFLA_MTU, mtu)),
                Request(wire.RTM_NEWLINK, 0, wire.link(index, wire.IFF_UP, wire.IFF_UP)),
            )
    except OSError as error:
        raise _refused("create bridge", name, error) from error


def _create_bridge(kernel: Netlink, name: str, mac: str) -> None:
    existing = [link for link in links() if link.name == name]
    if existing and existing[0].kind != "bridge":
        raise Conflict(
            f"create bridge {name}: an interface of that name exists and is no bridge",
            hint="give the engine another name with --bridge",
        )
    if existing:
        return
    info = wire.nested(
        wire.IFLA_LINKINFO,
        wire.text(wire.IFLA_INFO_KIND, "bridge"),
        wire.nested(wire.IFLA_INFO_DATA, wire.u32(wire.IFLA_BR_STP_STATE, 0), wire.u32(wire.IFLA_BR_FORWARD_DELAY, 0)),
    )
    address = wire.attribute(wire.IFLA_ADDRESS, bytes.fromhex(mac.replace(":", "")))
    body = wire.link() + wire.text(wire.IFLA_IFNAME, name) + address + info
    kernel.batch(Request(wire.RTM_NEWLINK, wire.NLM_F_CREATE | wire.NLM_F_EXCL, body))


def _set_addresses(kernel: Netlink, index: int, addresses: Sequence[Interface]) -> None:
    """Give the bridge its addresses and take any other away, of an earlier subnet; a link-local one stays."""
    present = set()
    for family in {socket.AF_INET, *(socket.AF_INET6 for one in addresses if one.version == 6)}:
        for message in kernel.dump(Request(wire.RTM_GETADDR, 0, wire.address(family, 0, 0))):
            prefix, owner = struct.unpack_from("=xBxxI", message.body)
            found = wire.attributes(message.body, 8)
            own = found.get(wire.IFA_LOCAL) or found.get(wire.IFA_ADDRESS)
            if owner != index or not own:
                continue
            there = _interface(own, prefix)
            if there in addresses or there.is_link_local:
                present.add(there)
            else:
                old = wire.address(family, prefix, index) + wire.attribute(wire.IFA_LOCAL, own)
                kernel.batch(Request(wire.RTM_DELADDR, 0, old))
    for missing in [one for one in addresses if one not in present]:
        add = add_address if missing.version == 4 else add_address6
        kernel.batch(add(index, str(missing.ip), missing.network.prefixlen))


def _interface(address: bytes, prefix: int) -> Interface:
    return IPv4Interface((address, prefix)) if len(address) == 4 else IPv6Interface((address, prefix))


def forward_ipv6() -> list[str]:
    """Let the host forward IPv6; what was changed, for the engine's log. A host that forwards stops listening to router
    advertisements, and would lose its own way out, where it is not told to go on."""
    kept = []
    for name in os.listdir("/proc/sys/net/ipv6/conf"):
        path = f"net/ipv6/conf/{name}/accept_ra"
        with contextlib.suppress(OSError), open(f"/proc/sys/{path}", encoding="ascii") as file:
            if name not in ("all", "lo") and file.read().strip() == "1":
                kept.append(path)
    if not set_switch("net/ipv6/conf/all/forwarding", "1"):
        return []
    for path in kept:
        set_switch(path, "2", optional=True)
    kept_on = f"; these go on listening to router advertisements: {', '.join(kept)}" if kept else ""
    return [f"net.ipv6.conf.all.forwarding was 0 and is 1 now: this host forwards IPv6{kept_on}"]


def has_driver(driver: str, parent: str) -> bool:
    """Whether this kernel has a kind of virtual link, by making one and deleting it. Raises CortenError when it
    refuses for another reason."""
    name = f"ct{os.urandom(5).hex()}"
    mode = "private" if driver == "macvlan" else "l2"
    try:
        with Netlink() as kernel:
            kernel.batch(VirtualLink(driver, mode, parent, name, "", 1280).request())
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            return False
        raise _refused(f"create {driver} link", f"on {parent}", error) from error
    delete_link(name)
    return True


def overlapping(subnet: Subnet, interface: str) -> list[Subnet]:
    """The networks of the host's routes that a subnet overlaps, those of one interface left out."""
    return [other for other in taken_networks(interface) if overlaps(subnet, other)]


def machine_id() -> str:
    """What no other machine has (machine-id(5)); empty where there is no such file."""
    with contextlib.suppress(OSError), open("/etc/machine-id", encoding="ascii") as file:
        return file.read().strip()
    return ""


def has_ipv6() -> bool:
    """Whether this host can be reached by IPv6 at all, if only by itself."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def link_exists(name: str) -> bool:
    """Whether there is such an interface."""
    try:
        socket.if_nametoindex(name)
    except OSError:
        return False
    return True


def ports(bridge: str) -> list[str]:
    """The names of the virtual cables plugged into a bridge."""
    every = links()
    own = {link.index for link in every if link.name == bridge}
    return [link.name for link in every if link.master in own and link.kind == "veth"]


def delete_link(name: str) -> None:
    """Delete an interface, unless it is gone. Raises CortenError."""
    try:
        with Netlink() as kernel:
            kernel.batch(Request(wire.RTM_DELLINK, 0, wire.link() + wire.text(wire.IFLA_IFNAME, name)))
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise _refused("delete link", name, error) from error


def set_switch(path: str, value: str, *, optional: bool = False) -> bool:
    """Write a file below /proc/sys, when it says otherwise; whether it did. Raises Unsupported when it cannot
    be written; an ``optional`` one may be missing."""
    whole = f"/proc/sys/{path}"
    try:
        with open(whole, encoding="ascii") as file:
            if file.read().strip() == value:
                return False
        with open(whole, "w", encoding="ascii") as file:
            file.write(value)
    except FileNotFoundError:
        if optional:
            return False
        raise Unsupported(f"set {whole}: this kernel has no such switch") from None
    except OSError as error:
        cause = os.strerror(error.errno or 0).lower()
        raise Unsupported(
            f"set {whole}: {cause}", hint="/proc/sys is read-only here: use --network host or --network none"
        ) from error
    return True


def _refused(operation: str, name: str, error: OSError) -> CortenError:
    if error.errno == errno.EOPNOTSUPP:
        return Unsupported(f"{operation} {name}: this kernel has no such kind of link", hint="modprobe bridge veth")
    return CortenError(f"{operation} {name}: {str(error.strerror or error).lower()}")
