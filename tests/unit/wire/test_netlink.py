"""Netlink's bytes, there and back."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.wire import netlink as wire


def test_a_request_on_the_wire() -> None:
    data = wire.Request(wire.RTM_NEWLINK, wire.NLM_F_CREATE, b"body").encode(7, wire.NLM_F_ACK)
    assert data == struct.pack("=IHHII", 20, 16, 0x405, 7, 0) + b"body"


def test_attributes_are_padded_and_nested() -> None:
    assert wire.text(3, "lo") == struct.pack("=HH", 7, 3) + b"lo\0\0"
    assert wire.nested(18, wire.u8(1, 5)) == struct.pack("=HHHHB3x", 12, 0x8012, 5, 1, 5)
    assert wire.be32(2, 1) == struct.pack("=HH", 8, 2) + b"\0\0\0\1"


@given(st.lists(st.tuples(st.integers(0, 0x3FFF), st.binary(max_size=40))))
def test_attributes_there_and_back(pairs: list[tuple[int, bytes]]) -> None:
    data = b"".join(wire.attribute(kind, payload) for kind, payload in pairs)
    assert list(wire.attribute_list(data)) == pairs
    assert wire.attributes(data) == dict(pairs)


@given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.binary(max_size=40).filter(lambda body: len(body) % 4 == 0))))
def test_messages_there_and_back(sent: list[tuple[int, bytes]]) -> None:
    data = b"".join(wire.Request(kind, 0, body).encode(number) for number, (kind, body) in enumerate(sent))
    got = [(message.type, message.sequence, message.body) for message in wire.messages(data)]
    assert got == [(kind, number, body) for number, (kind, body) in enumerate(sent)]


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for read in (wire.messages, wire.attribute_list):
        try:
            list(read(data))
        except ValueError:
            continue


@pytest.mark.parametrize("length", [0, 15, 17, 0xFFFFFFFF])
def test_a_length_that_does_not_fit_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        list(wire.messages(struct.pack("=IHHII", length, 2, 0, 0, 0)))


def _error(flags: int, code: int, echoed: bytes, *attributes: bytes) -> wire.Message:
    header = struct.pack("=IHHII", 16 + len(echoed), 16, 0, 1, 0)
    body = struct.pack("=i", -code) + header + (b"" if flags & wire.NLM_F_CAPPED else echoed)
    return wire.Message(wire.NLMSG_ERROR, flags, 1, body + b"".join(attributes))


def test_an_acknowledgement_without_more() -> None:
    assert wire.acknowledgement(_error(0, 0, b"")) == (0, "")
    assert wire.acknowledgement(_error(0, 17, b"request!")) == (17, "")


@pytest.mark.parametrize("flags", [wire.NLM_F_ACK_TLVS, wire.NLM_F_ACK_TLVS | wire.NLM_F_CAPPED])
def test_the_kernels_words_follow_the_request_echoed_or_not(flags: int) -> None:
    told = wire.text(wire.NLMSGERR_ATTR_MSG, "Unknown device type"), wire.u32(wire.NLMSGERR_ATTR_OFFS, 16)
    assert wire.acknowledgement(_error(flags, 95, b"requests", *told)) == (95, "Unknown device type")
