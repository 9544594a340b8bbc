"""WebSocket frames: RFC 6455's own examples, pieces, and what is against the rules."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.errors import InvalidInput
from corten.wire import websocket
from corten.wire.websocket import Decoder, Frame, Violation


def masked(opcode: int, payload: bytes, mask: bytes = b"\x37\xfa\x21\x3d") -> bytes:
    """A client's frame."""
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | size)
    elif size < 1 << 16:
        head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, size)
    return head + mask + bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))


def test_the_handshake_of_the_specification() -> None:
    assert websocket.accept_value("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize("key", ["", "short", "dGhlIHNhbXBsZQ==", "dGhlIHNhbXBsZSBub25jZQ==\n!"])
def test_a_key_that_is_none_is_refused(key: str) -> None:
    with pytest.raises(InvalidInput):
        websocket.accept_value(key)


def test_the_masked_hello_of_the_specification() -> None:
    assert Decoder().feed(bytes.fromhex("818537fa213d7f9f4d5158")) == [Frame(websocket.TEXT, b"Hello")]


@given(st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=70_000)), max_size=3), st.integers(1, 5000))
def test_frames_come_whole_however_they_are_cut(frames: list[tuple[int, bytes]], step: int) -> None:
    sent = b"".join(masked(opcode, payload) for opcode, payload in frames)
    decoder = Decoder()
    found = [frame for start in range(0, len(sent), step) for frame in decoder.feed(sent[start : start + step])]
    assert found == [Frame(opcode, payload) for opcode, payload in frames]


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_a_servers_frame_has_its_length(size: int) -> None:
    frame = websocket.encode(websocket.BINARY, bytes(size))
    width = 0 if size < 126 else 2 if size < 65536 else 8
    assert (frame[0], len(frame), frame[1] & 0x80) == (0x82, 2 + width + size, 0)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x82\x01x", websocket.PROTOCOL_ERROR),  # not masked
        (b"\xc2\x80\0\0\0\0", websocket.PROTOCOL_ERROR),  # a reserved bit
        (b"\x83\x80\0\0\0\0", websocket.PROTOCOL_ERROR),  # an opcode of nobody's
        (b"\x89\xfe\x00\x80", websocket.PROTOCOL_ERROR),  # a long ping
        (b"\x09\x80\0\0\0\0", websocket.PROTOCOL_ERROR),  # a ping in pieces
        (b"\x82\xff" + (1 << 40).to_bytes(8, "big"), websocket.TOO_BIG),
    ],
)
def test_what_is_against_the_rules_says_so(data: bytes, code: int) -> None:
    with pytest.raises(Violation) as raised:
        Decoder().feed(data)
    assert raised.value.code == code


@given(st.binary(max_size=200))
def test_no_bytes_break_the_decoder(data: bytes) -> None:
    try:
        Decoder().feed(data)
    except Violation:
        return
