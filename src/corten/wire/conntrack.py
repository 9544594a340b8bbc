"""Connection tracking messages (include/uapi/linux/netfilter/nfnetlink_conntrack.h), no I/O."""

from __future__ import annotations

import struct
from typing import NamedTuple

from corten.wire.netlink import Message, Request, attributes, nested

_SUBSYSTEM, _GET, _DELETE = 1, 1, 2
_ORIGINAL, _ADDRESSES, _PROTOCOL = 1, 1, 2
_DESTINATION, _DESTINATION_V6, _NUMBER, _DESTINATION_PORT = 2, 4, 1, 3
_AF_INET = 2


class Flow(NamedTuple):
    """One tracked flow, as its first packet was: before translation."""

    protocol: int
    destination: bytes
    port: int
    original: bytes
    """The attributes that name it to the kernel."""
    family: int = _AF_INET


def _header(family: int) -> bytes:
    return struct.pack("!BBH", family, 0, 0)


def list_flows(family: int = _AF_INET) -> Request:
    """Ask for every flow of a family: a dump."""
    return Request(_SUBSYSTEM << 8 | _GET, 0, _header(family))


def flow(message: Message) -> Flow:
    """A flow of the dump; port 0 where the protocol has none."""
    original = attributes(message.body, 4)[_ORIGINAL]
    parts = attributes(original)
    protocol = attributes(parts[_PROTOCOL])
    (port,) = struct.unpack("!H", protocol.get(_DESTINATION_PORT, b"\0\0"))
    addresses = attributes(parts[_ADDRESSES])
    destination = addresses.get(_DESTINATION) or addresses[_DESTINATION_V6]
    return Flow(protocol[_NUMBER][0], destination, port, original, message.body[0])


def forget_flow(tracked: Flow) -> Request:
    """Delete it: the next packet is looked at anew. ENOENT when it has ended meanwhile."""
    body = _header(tracked.family) + nested(_ORIGINAL, tracked.original)
    return Request(_SUBSYSTEM << 8 | _DELETE, 0, body)
