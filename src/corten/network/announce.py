"""A container that takes an address tells its neighbours of it, unasked.

A neighbour, or the host, may remember whoever had the address before: by another Ethernet address, or, inside a bridge,
at another of its ports. The cable of a container that has just ended is on its way out for some ten milliseconds, and
who sends to its successor meanwhile would wait a second for TCP to send again.
"""

from __future__ import annotations

import dataclasses
import socket
import struct
from typing import ClassVar

from corten.spec.operation import INIT, Context, Operation, operation

_NEIGHBOUR_ADVERTISEMENT, _OVERRIDE, _TARGET_LINK_ADDRESS = 136, 0x20, 2
_ALL_NODES, _LINK_LOCAL_HOPS = "ff02::1", 255


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class Announce(Operation):
    """Have the kernel announce an interface's IPv4 address when it is switched on."""

    kind: ClassVar[str] = "network.announce"
    stage: ClassVar[str] = INIT
    group: ClassVar[str] = "network"

    name: str

    def what(self) -> str:
        return f"/proc/sys/net/ipv4/conf/{self.name}/arp_notify"

    def why(self) -> str:
        return (
            "The kernel then tells the neighbours by a gratuitous ARP request, as soon as the interface is switched "
            "on: what they and the bridge remember of whoever had the address before is wrong."
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
        packet = (
            struct.pack("!BBHB3x", _NEIGHBOUR_ADVERTISEMENT, 0, 0, _OVERRIDE)
            + socket.inet_pton(socket.AF_INET6, self.ip)
            + struct.pack("!BB", _TARGET_LINK_ADDRESS, 1)
            + bytes.fromhex(self.mac.replace(":", ""))
        )
        index = socket.if_nametoindex(self.name)
        with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as raw:
            raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, _LINK_LOCAL_HOPS)
            raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
            raw.bind((self.ip, 0))
            raw.sendto(packet, (_ALL_NODES, 0, 0, index))
