"""Connection tracking messages (include/uapi/linux/netfilter/nfnetlink_conntrack.h), no I/O."""

from __future__ import annotations

import struct
from typing import NamedTuple

from corten.wire.netlink import Message, Request, attributes, nested

_SUBSYSTEM, _GET, _DELETE = 1, 1, 2
_ORIGINAL, _ADDRESSES, _PROTOCOL = 1, 1, 2
_DESTINATION, _NUMBER, _DESTINATION_PORT = 2, 1, 3
_HEADER = struct.pack("!BBH", 2, 0, 0)  # AF_INET


class Flow(NamedTuple):
    """One tracked flow, as its first packet was: before translation."""

    protocol: int
    destination: bytes
    port: int
    original: bytes
    """The attributes that name it to the kernel."""


def list_flows() -> Request:
    """Ask for every IPv4 flow: a dump."""
    return Request(_SUBSYSTEM << 8 | _GET, 0, _HEADER)


def flow(message: Message) -> Flow:
    """A flow of the dump; port 0 where the protocol has none."""
    original = attributes(message.body, len(_HEADER))[_ORIGINAL]
    parts = attributes(original)
    protocol = attributes(parts[_PROTOCOL])
    (port,) = struct.unpack("!H", protocol.get(_DESTINATION_PORT, b"\0\0"))
    return Flow(protocol[_NUMBER][0], attributes(parts[_ADDRESSES])[_DESTINATION], port, original)


def forget_flow(tracked: Flow) -> Request:
    """Delete it: the next packet is looked at anew. ENOENT when it has ended meanwhile."""
    return Request(_SUBSYSTEM << 8 | _DELETE, 0, _HEADER + nested(_ORIGINAL, tracked.original))
