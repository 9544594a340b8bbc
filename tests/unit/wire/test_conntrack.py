"""A flow as the kernel dumps it, and the request that deletes it."""

from __future__ import annotations

import socket
import struct

from corten.wire import conntrack
from corten.wire.netlink import Message, attribute, attributes, nested, u8

_ORIGINAL = (
    nested(1, attribute(1, bytes([198, 51, 100, 2])), attribute(2, bytes([198, 51, 100, 1])))
    + nested(2, u8(1, socket.IPPROTO_UDP), attribute(2, struct.pack("!H", 4000)), attribute(3, struct.pack("!H", 53)))
)  # fmt: skip


def test_a_flow_is_read_and_named_back() -> None:
    flow = conntrack.flow(Message(0x100, 0, 1, b"\x02\0\0\0" + nested(1, _ORIGINAL) + nested(2, b"")))
    assert flow[:3] == (socket.IPPROTO_UDP, bytes([198, 51, 100, 1]), 53)
    request = conntrack.forget_flow(flow)
    assert request.type == 0x102
    assert attributes(request.body, 4) == {1: _ORIGINAL}


def test_a_protocol_without_ports() -> None:
    original = nested(1, attribute(1, bytes(4)), attribute(2, bytes(4))) + nested(2, u8(1, socket.IPPROTO_ICMP))
    flow = conntrack.flow(Message(0x100, 0, 1, b"\x02\0\0\0" + nested(1, original)))
    assert flow[:3] == (socket.IPPROTO_ICMP, bytes(4), 0)
