"""nf_tables' bytes. That the kernel reads rules as they are meant is shown by ``nft list`` in the integration
tests."""

from __future__ import annotations

import socket
import struct

import pytest

from corten.wire import nft
from corten.wire.netlink import NLM_F_CREATE, attribute, attribute_list, attributes, nested


def test_a_message_names_subsystem_and_family() -> None:
    request = nft.new_table(nft.Table("mine"))
    assert (request.type, request.flags) == (10 << 8, NLM_F_CREATE)
    assert request.body[:4] == b"\x02\0\0\0"
    assert attributes(request.body, 4)[1] == b"mine\0"


def test_a_batch_names_the_subsystem_in_network_order() -> None:
    assert nft.begin() == (0x10, 0, b"\0\0\0\x0a")
    assert nft.end() == (0x11, 0, b"\0\0\0\x0a")


def test_keys_are_padded_to_registers() -> None:
    assert nft.protocol_and_port(socket.IPPROTO_TCP, 8080) == b"\x06\0\0\0\x1f\x90\0\0"
    assert nft.address_and_port(b"\xac\x11\0\x02", 80) == b"\xac\x11\0\x02\0\x50\0\0"


def test_a_maps_types_are_concatenated() -> None:
    request = nft.new_map(
        nft.Table("t"), "m", 1, (nft.IPV4_ADDR, nft.INET_PROTO, nft.INET_SERVICE), (nft.IPV4_ADDR, nft.INET_SERVICE)
    )
    found = attributes(request.body, 4)
    numbers = {kind: struct.unpack("!I", found[kind])[0] for kind in (3, 4, 5, 6, 7)}
    assert numbers == {3: 8, 4: 7 << 12 | 12 << 6 | 13, 5: 12, 6: 7 << 6 | 13, 7: 8}


def test_many_elements_are_several_messages() -> None:
    """An attribute's length has 16 bits."""
    elements = [(nft.protocol_and_port(6, port), nft.address_and_port(bytes(4), port)) for port in range(1, 1202)]
    requests = nft.add_elements(nft.Table("t"), "m", elements)
    lists = [attributes(request.body, 4)[3] for request in requests]
    assert [len(list(attribute_list(one))) for one in lists] == [500, 500, 201]
    assert nft.add_elements(nft.Table("t"), "m", []) == []
    assert nft.delete_elements("t", "m", []) == []


@pytest.mark.parametrize("key", [8, 12, 24])
def test_an_element_is_its_key_and_its_data(key: int) -> None:
    pair = bytes(range(1, key + 1)), bytes(range(100, 108))
    (request,) = nft.add_elements(nft.Table("t"), "m", [pair])
    assert attributes(request.body, 4)[3] == nested(
        1, nested(1, attribute(1, pair[0])), nested(2, attribute(1, pair[1]))
    )  # fmt: skip


def test_a_priority_below_zero() -> None:
    hook = attributes(attributes(nft.base_chain(nft.Table("t"), "c", "filter", nft.PREROUTING, nft.RAW).body, 4)[4])
    assert hook[2] == struct.pack("!i", -300)
