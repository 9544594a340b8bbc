"""A container that takes an address is announced, unasked.

A neighbour, the host and the bridge remember whoever had the address before: by another Ethernet address, or, that
being the same, at another port of the bridge. The cable of a container that has just ended is on its way out for some
ten milliseconds; who sends to its successor meanwhile would be refused by the dead, or wait a second for TCP to send
again.

On a bridge the engine announces it, right after the start: a port does not let everything through in its first moments,
so that what the container itself sends then may be lost. On macvlan and ipvlan links the container does.
"""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import struct
from collections.abc import Iterator
from typing import ClassVar

from corten.spec.operation import INIT, Context, Operation, operation
from corten.sys.netlink import Netlink
from corten.wire import netlink as wire
from corten.wire.netlink import Request

_ARP, _IPV6 = 0x0806, 0x86DD
_TO_ALL = b"\xff" * 6
_ALL_NODES, _TO_ALL_NODES = "ff02::1", bytes.fromhex("333300000001")
_LINK_LOCAL_HOPS = 255
_NEIGHBOUR_ADVERTISEMENT, _OVERRIDE, _TARGET_LINK_ADDRESS = 136, 0x20, 2
_AF_BRIDGE = 7


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class Announce(Operation):
    """Have the kernel announce an interface's IPv4 address when it is switched on."""

    kind: ClassVar[str] = "network.announce"
    stage: ClassVar[str] = INIT
    group: ClassVar[str] = "network"
    of_endpoint: ClassVar[bool] = True

    name: str

    def what(self) -> str:
        return f"/proc/sys/net/ipv4/conf/{self.name}/arp_notify"

    def why(self) -> str:
        return (
            "The kernel then tells the neighbours by a gratuitous ARP request, as soon as the interface is switched "
            "on: what they remember of whoever had the address before is wrong."
        )

    def shell(self) -> str:
        return f"echo 1 > {self.what()}"

    def run(self, context: Context) -> None:
        with open(self.what(), "wb", buffering=0) as switch:
            switch.write(b"1")


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class Announce6(Operation):
    """Announce an IPv6 address (RFC 4861, section 7.2.6). The kernel does so only for addresses that it has looked for
    among the neighbours first."""

    kind: ClassVar[str] = "network.announce6"
    stage: ClassVar[str] = INIT
    group: ClassVar[str] = "network"
    of_endpoint: ClassVar[bool] = True

    name: str
    ip: str
    mac: str

    def what(self) -> str:
        return f"{self.name} {self.ip}"

    def why(self) -> str:
        return "One unsolicited neighbour advertisement: what neighbours remember of the address is wrong."

    def shell(self) -> str:
        return f"ndsend {self.ip} {self.name}"

    def run(self, context: Context) -> None:
        index = socket.if_nametoindex(self.name)
        with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as raw:
            raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, _LINK_LOCAL_HOPS)
            raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
            raw.bind((self.ip, 0))
            raw.sendto(_advertisement(self.ip, _bytes_of(self.mac)), (_ALL_NODES, 0, 0, index))


class Announcer:
    """Announces who is new on a bridge of this host."""

    def __init__(self) -> None:
        self._kernel: Netlink | None = None
        self._wire: socket.socket | None = None

    def announce(self, bridge: str, port: str, mac: str, addresses: tuple[str, ...]) -> None:
        """Tell the bridge at which ``port`` an Ethernet address is, and host and neighbours who has the IP addresses.
        Raises OSError, for one when somebody has removed the bridge."""
        index, hardware = socket.if_nametoindex(bridge), _bytes_of(mac)
        if self._kernel is None:
            self._kernel = Netlink()
        # Whoever is not known needs no correction (ENOENT); a port that is not yet on learns by itself (EPERM).
        for request in _corrections(index, port, hardware, addresses):
            with contextlib.suppress(OSError):
                self._kernel.batch(request)
        if self._wire is None:
            # Of no protocol: it receives nothing. Kept open: closing one makes the kernel wait for all processors.
            self._wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        for address in addresses:
            self._wire.sendto(_frame(address, hardware), (bridge, 0))

    def close(self) -> None:
        """Let the sockets go."""
        if self._kernel is not None:
            self._kernel.close()
        if self._wire is not None:
            self._wire.close()
        self._kernel = self._wire = None


def _bytes_of(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def _corrections(index: int, port: str, hardware: bytes, addresses: tuple[str, ...]) -> Iterator[Request]:
    link_address = wire.attribute(wire.NDA_LLADDR, hardware)
    with contextlib.suppress(OSError):  # a container may remove its end, and with it the port
        at = wire.neighbour(_AF_BRIDGE, socket.if_nametoindex(port), wire.NUD_REACHABLE, wire.NTF_MASTER)
        yield Request(wire.RTM_NEWNEIGH, wire.NLM_F_CREATE | wire.NLM_F_REPLACE, at + link_address)
    for address in addresses:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        known = wire.attribute(wire.NDA_DST, socket.inet_pton(family, address))
        body = wire.neighbour(family, index, wire.NUD_STALE) + known + link_address
        yield Request(wire.RTM_NEWNEIGH, wire.NLM_F_REPLACE, body)


def _frame(address: str, hardware: bytes) -> bytes:
    """A gratuitous ARP request (RFC 5227), or an unsolicited neighbour advertisement."""
    if ":" not in address:
        ip = socket.inet_aton(address)
        request = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + hardware + ip + bytes(6) + ip
        return _TO_ALL + hardware + struct.pack("!H", _ARP) + request
    message = _advertisement(address, hardware)
    ends = socket.inet_pton(socket.AF_INET6, address) + socket.inet_pton(socket.AF_INET6, _ALL_NODES)
    pseudo_header = ends + struct.pack("!IxxxB", len(message), socket.IPPROTO_ICMPV6)
    message = message[:2] + _checksum(pseudo_header + message) + message[4:]
    header = struct.pack("!IHBB", 6 << 28, len(message), socket.IPPROTO_ICMPV6, _LINK_LOCAL_HOPS) + ends
    return _TO_ALL_NODES + hardware + struct.pack("!H", _IPV6) + header + message


def _advertisement(address: str, hardware: bytes) -> bytes:
    """The ICMPv6 message, without its checksum."""
    head = struct.pack("!BBHB3x", _NEIGHBOUR_ADVERTISEMENT, 0, 0, _OVERRIDE)
    option = struct.pack("!BB", _TARGET_LINK_ADDRESS, 1) + hardware
    return head + socket.inet_pton(socket.AF_INET6, address) + option


def _checksum(data: bytes) -> bytes:
    """Of the internet (RFC 1071), of an even number of bytes."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!H", ~total & 0xFFFF)
