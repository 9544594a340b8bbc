"""Netlink messages: bytes to values and back, no I/O (netlink(7), rtnetlink(7),
include/uapi/linux/netlink.h).

A message is a header (length, type, flags, sequence, port), a body that the type defines, and attributes:
each a length, a type and a payload, padded to four bytes. Numbers are in the machine's byte order.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x4, 0x300
NLM_F_DUMP_INTR = 0x10
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE, NLM_F_APPEND = 0x100, 0x200, 0x400, 0x800
NLM_F_CAPPED, NLM_F_ACK_TLVS = 0x100, 0x200
NLMSGERR_ATTR_MSG, NLMSGERR_ATTR_OFFS = 1, 2
NLA_F_NESTED, NLA_TYPE_MASK = 0x8000, 0x3FFF

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK = 16, 17, 18, 19
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWNEIGH, NDA_DST, NDA_LLADDR = 28, 1, 2
NUD_REACHABLE, NUD_STALE, NTF_MASTER = 2, 4, 4
RTM_NEWRULE, RTM_DELRULE, RTM_GETRULE = 32, 33, 34
RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV4_RULE, RTNLGRP_IPV6_ROUTE, RTNLGRP_IPV6_RULE = 7, 8, 11, 19

IFF_UP, IFF_LOOPBACK = 0x1, 0x8
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_LINK, IFLA_MASTER = 1, 3, 4, 5, 10
IFLA_LINKINFO, IFLA_NET_NS_PID, IFLA_AF_SPEC, IFLA_NUM_TX_QUEUES, IFLA_NUM_RX_QUEUES = 18, 19, 26, 31, 32
IFLA_INFO_KIND, IFLA_INFO_DATA, IFLA_INFO_SLAVE_KIND, IFLA_INFO_SLAVE_DATA, VETH_INFO_PEER = 1, 2, 4, 5, 1
IFLA_BR_FORWARD_DELAY, IFLA_BR_STP_STATE, IFLA_BRPORT_MODE, IFLA_BRPORT_ISOLATED = 1, 5, 4, 33
IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE = 8, 1
IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST, IFA_F_NODAD = 1, 2, 4, 0x02
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_TABLE = 1, 4, 5, 15
RT_TABLE_MAIN, RT_TABLE_LOCAL, RTPROT_BOOT, RTN_UNICAST = 254, 255, 3, 1
FRA_DST, FRA_IIFNAME, FRA_PRIORITY, FRA_TABLE, FR_ACT_TO_TBL, FR_ACT_PROHIBIT = 1, 3, 6, 15, 1, 8

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")


class Request(NamedTuple):
    """A message to send, before it has a sequence number."""

    type: int
    flags: int
    body: bytes

    def encode(self, sequence: int, extra_flags: int = 0) -> bytes:
        """The message's bytes."""
        flags = NLM_F_REQUEST | self.flags | extra_flags
        return _HEADER.pack(_HEADER.size + len(self.body), self.type, flags, sequence, 0) + self.body


class Message(NamedTuple):
    """A message received."""

    type: int
    flags: int
    sequence: int
    body: bytes
    port: int = 0
    """The socket that caused it; 0 is the kernel."""


class Acknowledgement(NamedTuple):
    """The kernel's answer to one request: an errno (0: done) and, where it has one, a sentence of its own."""

    errno: int
    text: str


def attribute(kind: int, payload: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    return _ATTRIBUTE.pack(len(payload) + 4, kind) + payload + bytes(-len(payload) & 3)


def nested(kind: int, *attributes: bytes) -> bytes:
    """An attribute whose payload is attributes."""
    return attribute(kind | NLA_F_NESTED, b"".join(attributes))


def text(kind: int, value: str) -> bytes:
    """An attribute with a string that ends in NUL."""
    return attribute(kind, value.encode() + b"\0")


def u8(kind: int, value: int) -> bytes:
    """An attribute with an 8-bit number."""
    return attribute(kind, struct.pack("=B", value))


def u32(kind: int, value: int) -> bytes:
    """An attribute with a 32-bit number in the machine's byte order."""
    return attribute(kind, struct.pack("=I", value))


def be32(kind: int, value: int) -> bytes:
    """An attribute with a 32-bit number in network byte order, which netfilter uses for all of its
    numbers."""
    return attribute(kind, struct.pack("!I", value))


def link(index: int = 0, flags: int = 0, change: int = 0, family: int = 0) -> bytes:
    """``struct ifinfomsg``: ``change`` says which of the flags are to be set."""
    return struct.pack("=BxHiII", family, 0, index, flags, change)


def address(family: int, prefix: int, index: int, flags: int = 0) -> bytes:
    """``struct ifaddrmsg`` of a global address."""
    return struct.pack("=BBBBI", family, prefix, flags, 0, index)


def route(family: int, *, prefix: int = 0, table: int = RT_TABLE_MAIN) -> bytes:
    """``struct rtmsg`` of a unicast route of global scope."""
    return struct.pack("=BBBBBBBBI", family, prefix, 0, 0, table, RTPROT_BOOT, 0, RTN_UNICAST, 0)


def neighbour(family: int, index: int, state: int, flags: int = 0) -> bytes:
    """``struct ndmsg``: what is known at an interface of an address, or, of the family AF_BRIDGE, at a port."""
    return struct.pack("=BxxxiHBB", family, index, state, flags, 0)


def rule(family: int, action: int, *, prefix: int = 0, table: int = 0) -> bytes:
    """``struct fib_rule_hdr``; ``prefix`` is the length of the destination."""
    return struct.pack("=BBBBBBBBI", family, prefix, 0, 0, table, 0, 0, action, 0)


def messages(data: bytes) -> Iterator[Message]:
    """The messages of one datagram. Raises ValueError when a length runs past the end."""
    offset = 0
    while offset < len(data):
        if len(data) - offset < _HEADER.size:
            raise ValueError("netlink message: truncated header")
        length, kind, flags, sequence, port = _HEADER.unpack_from(data, offset)
        if not _HEADER.size <= length <= len(data) - offset:
            raise ValueError(f"netlink message: length {length} does not fit")
        yield Message(kind, flags, sequence, data[offset + _HEADER.size : offset + length], port)
        offset += (length + 3) & ~3


def attributes(data: bytes, offset: int = 0) -> dict[int, bytes]:
    """The attributes from an offset on, by type; of a repeated type the last. Raises ValueError like
    messages()."""
    return dict(attribute_list(data, offset))


def attribute_list(data: bytes, offset: int = 0) -> Iterable[tuple[int, bytes]]:
    """The attributes from an offset on, in order, for lists whose elements share a type."""
    while len(data) - offset >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if not _ATTRIBUTE.size <= length <= len(data) - offset:
            raise ValueError(f"netlink attribute: length {length} does not fit")
        yield kind & NLA_TYPE_MASK, data[offset + _ATTRIBUTE.size : offset + length]
        offset += (length + 3) & ~3


def acknowledgement(message: Message) -> Acknowledgement:
    """Decode ``NLMSG_ERROR``: errno, the request (or, with NLM_F_CAPPED, its header only), extended
    attributes."""
    (code, length) = struct.unpack_from("=iI", message.body)
    if not message.flags & NLM_F_ACK_TLVS:
        return Acknowledgement(-code, "")
    echoed = _HEADER.size if message.flags & NLM_F_CAPPED else (length + 3) & ~3
    extended = attributes(message.body, 4 + echoed)
    return Acknowledgement(-code, extended.get(NLMSGERR_ATTR_MSG, b"").rstrip(b"\0").decode(errors="replace"))
