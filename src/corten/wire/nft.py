"""nf_tables messages: what ``nft`` sends over nfnetlink (include/uapi/linux/netfilter/nf_tables.h), no I/O.

A rule is a list of expressions that work on registers: load a field, compare it, look it up, act. Registers
are addressed as 32-bit ones (8 and up); the verdict register is 0. A concatenated key fills consecutive
registers, each part padded to four bytes.
"""

from __future__ import annotations

import functools
import socket
import struct
from collections.abc import Sequence
from typing import NamedTuple

from corten.wire.netlink import (
    NLM_F_APPEND,
    NLM_F_CREATE,
    Message,
    Request,
    attribute,
    attribute_list,
    attributes,
    be32,
    nested,
    text,
)

GROUP = 7
"""The multicast group that hears of every change of the rules (NFNLGRP_NFTABLES)."""
_SUBSYSTEM, _BATCH_BEGIN, _BATCH_END = 10, 0x10, 0x11
_NEWTABLE, _GETTABLE, _DELTABLE, _NEWCHAIN, _NEWRULE, _NEWSET, _NEWSETELEM, _DELSETELEM = (
    0,
    1,
    2,
    3,
    6,
    9,
    12,
    14,
)
_GETCHAIN, _DELCHAIN, _GETRULE, _DELRULE, _DELSET = 4, 5, 7, 8, 11
_FAMILY_NAMES = {1: "inet", 2: "ip", 5: "netdev", 7: "bridge", 10: "ip6"}

PREROUTING, FORWARD, OUTPUT, POSTROUTING = 0, 2, 3, 4
RAW, DSTNAT, FILTER, SRCNAT = -300, -100, 0, 100
DROP, ACCEPT = 0, 1
IIFNAME, OIFNAME, _L4PROTO = 6, 7, 16
IPV4_ADDR, IPV6_ADDR, INET_PROTO, INET_SERVICE = 7, 8, 12, 13
"""Data types, for ``nft list`` to print keys by; the kernel only stores them."""
ESTABLISHED, RELATED = 2, 4
_FIRST_REGISTER = 8
_SET_FLAG_MAP = 0x8
_ELEMENTS_PER_MESSAGE = 500
"""An attribute's length has 16 bits; an element takes under a hundred bytes."""


class Family(NamedTuple):
    """A kind of address, and where the header of its packets has them (offsets and length in bytes)."""

    number: int
    address: int
    """Its data type."""
    length: int
    source: int
    destination: int


IPV4, IPV6 = Family(2, IPV4_ADDR, 4, 12, 16), Family(10, IPV6_ADDR, 16, 8, 24)


class Table(NamedTuple):
    """A table's name. Each family has tables of its own."""

    name: str
    family: Family = IPV4


def _message(kind: int, table: Table, body: bytes, flags: int = 0) -> Request:
    head = struct.pack("!BBH", table.family.number, 0, 0) + text(1, table.name)
    return Request(_SUBSYSTEM << 8 | kind, flags, head + body)


def is_removal(message: Message, name: str) -> bool:
    """Whether the kernel tells that a table of that name, or something in it, was deleted."""
    kinds = (_DELTABLE, _DELCHAIN, _DELRULE, _DELSET, _DELSETELEM)
    if message.type not in [_SUBSYSTEM << 8 | kind for kind in kinds]:
        return False
    return attributes(message.body, 4).get(1, b"").rstrip(b"\0") == name.encode()


class Chain(NamedTuple):
    """A chain at a hook, of anybody's table."""

    table: str
    """With its family, as nft(8) has it: ``ip filter``."""
    name: str
    hook: int
    drops: bool
    """What becomes of a packet that no rule decides on."""


def list_chains() -> Request:
    """Ask for every chain: a dump."""
    return Request(_SUBSYSTEM << 8 | _GETCHAIN, 0, struct.pack("!BBH", 0, 0, 0))


def chain(message: Message) -> Chain | None:
    """A chain of the dump; None for one at no hook."""
    found = attributes(message.body, 4)
    if 4 not in found:
        return None
    hook, policy = attributes(found[4]).get(1, bytes(4)), found.get(5, struct.pack("!I", ACCEPT))
    family = _FAMILY_NAMES.get(message.body[0], "?")
    names = [found[kind].rstrip(b"\0").decode(errors="replace") for kind in (1, 3)]
    return Chain(f"{family} {names[0]}", names[1], int.from_bytes(hook, "big"), int.from_bytes(policy, "big") == DROP)


def list_rules(chain: Chain) -> Request:
    """Ask for the rules of a chain: a dump."""
    family, _, table = chain.table.partition(" ")
    number = next(number for number, name in _FAMILY_NAMES.items() if name == family)
    head = struct.pack("!BBH", number, 0, 0)
    return Request(_SUBSYSTEM << 8 | _GETRULE, 0, head + text(1, table) + text(2, chain.name))


def refuses_all(message: Message) -> bool:
    """Whether a rule of the dump refuses whatever comes to it: a ``drop`` or ``reject`` under no condition."""
    verdicts = 0
    for _, expression in attribute_list(attributes(message.body, 4).get(4, b"")):
        parts = attributes(expression)
        name = parts[1].rstrip(b"\0")
        if name == b"reject" or (name == b"immediate" and _verdict(parts[2]) == DROP):
            verdicts += 1
        elif name not in (b"counter", b"log"):
            return False
    return verdicts > 0


def _verdict(immediate: bytes) -> int:
    """The code of an expression that gives one, -1 of another."""
    code = attributes(attributes(attributes(immediate).get(2, b"")).get(2, b"")).get(1)
    return int.from_bytes(code, "big") if code else -1


def begin() -> Request:
    """The start of a batch: what follows, up to :func:`end`, is done wholly or not at all."""
    return Request(_BATCH_BEGIN, 0, struct.pack("!BBH", 0, 0, _SUBSYSTEM))


def end() -> Request:
    """The end of a batch."""
    return Request(_BATCH_END, 0, struct.pack("!BBH", 0, 0, _SUBSYSTEM))


def new_table(table: Table) -> Request:
    """Create a table, unless it is there."""
    return _message(_NEWTABLE, table, be32(2, 0), NLM_F_CREATE)


def get_table(table: Table) -> Request:
    """Ask for a table: ENOENT when there is none."""
    return _message(_GETTABLE, table, b"")


def delete_table(table: Table) -> Request:
    """Delete a table and all that is in it."""
    return _message(_DELTABLE, table, b"")


def base_chain(table: Table, name: str, kind: str, hook: int, priority: int) -> Request:
    """Create a chain that the kernel enters at a hook; packets that reach its end go on."""
    where = nested(4, be32(1, hook), be32(2, priority & 0xFFFFFFFF))
    return _message(_NEWCHAIN, table, text(3, name) + where + text(7, kind), NLM_F_CREATE)


def rule(table: Table, chain: str, *expressions: bytes) -> Request:
    """Append a rule."""
    body = text(2, chain) + nested(4, *expressions)
    return _message(_NEWRULE, table, body, NLM_F_CREATE | NLM_F_APPEND)


def new_map(table: Table, name: str, identity: int, key: Sequence[int], data: Sequence[int]) -> Request:
    """Create a map; key and data are concatenations of data types. ``identity`` is a number of the caller's, unlike
    that of any other set of the batch."""
    body = (
        text(2, name)
        + be32(3, _SET_FLAG_MAP)
        + be32(4, _concatenated(key))
        + be32(5, _length(key))
        + be32(6, _concatenated(data))
        + be32(7, _length(data))
        + be32(10, identity)
    )
    return _message(_NEWSET, table, body, NLM_F_CREATE)


def _length(types: Sequence[int]) -> int:
    """Bytes of a concatenation: but for an IPv6 address, each part takes four."""
    return sum(16 if kind == IPV6_ADDR else 4 for kind in types)


def _concatenated(types: Sequence[int]) -> int:
    value = 0
    for kind in types:
        value = value << 6 | kind
    return value


def add_elements(table: Table, name: str, elements: Sequence[tuple[bytes, bytes]]) -> list[Request]:
    """Put key-and-data pairs in a map."""
    flat = [_element(key, data) for key, data in elements]
    return _element_messages(_NEWSETELEM, table, name, flat, NLM_F_CREATE)


def _element(key: bytes, data: bytes) -> bytes:
    """The elements of a map are all of one size, and a container's start waits for them."""
    before, between = _around(len(key), len(data))
    return before + key + between + data


@functools.lru_cache
def _around(key: int, data: int) -> tuple[bytes, bytes]:
    """What stands before the key and before the data of an element; both are registers, of whole words."""
    whole = nested(1, nested(1, attribute(1, bytes(key))), nested(2, attribute(1, bytes(data))))
    head = 3 * 4
    return whole[:head], whole[head + key : len(whole) - data]


def delete_elements(table: Table, name: str, keys: Sequence[bytes]) -> list[Request]:
    """Take keys out of a map. ENOENT, and nothing of the batch is done, when one is missing."""
    flat = [nested(1, nested(1, attribute(1, key))) for key in keys]
    return _element_messages(_DELSETELEM, table, name, flat, 0)


def _element_messages(kind: int, table: Table, name: str, flat: list[bytes], flags: int) -> list[Request]:
    step = _ELEMENTS_PER_MESSAGE
    chunks = [flat[start : start + step] for start in range(0, len(flat), step)]
    return [_message(kind, table, text(2, name) + nested(3, *chunk), flags) for chunk in chunks]


def _expression(name: str, *attributes: bytes) -> bytes:
    return nested(1, text(1, name), nested(2, *attributes))


def _load_meta(key: int, register: int) -> bytes:
    return _expression("meta", be32(1, register), be32(2, key))


def _load_payload(base: int, offset: int, length: int, register: int) -> bytes:
    return _expression("payload", be32(1, register), be32(2, base), be32(3, offset), be32(4, length))


def _compare(value: bytes, *, equal: bool = True) -> bytes:
    data = nested(3, attribute(1, value))
    return _expression("cmp", be32(1, _FIRST_REGISTER), be32(2, 0 if equal else 1), data)


def _mask(mask: bytes) -> bytes:
    register = be32(1, _FIRST_REGISTER) + be32(2, _FIRST_REGISTER)
    zero = nested(5, attribute(1, bytes(len(mask))))
    return _expression("bitwise", register, be32(3, len(mask)), nested(4, attribute(1, mask)), zero)


def interface(direction: int, name: str, *, equal: bool = True) -> bytes:
    """``iifname`` or ``oifname`` is, or is not, a name."""
    padded = name.encode().ljust(16, b"\0")
    return _load_meta(direction, _FIRST_REGISTER) + _compare(padded, equal=equal)


def _in_network(offset: int, network: bytes, prefix: int, *, equal: bool = True) -> bytes:
    bits = 8 * len(network)
    mask = ((1 << bits) - (1 << bits - prefix)).to_bytes(len(network), "big")
    return (
        _load_payload(1, offset, len(network), _FIRST_REGISTER) + _mask(mask) + _compare(network, equal=equal)
    )


def source(family: Family, network: bytes, prefix: int) -> bytes:
    """``saddr`` is in a network."""
    return _in_network(family.source, network, prefix)


def destination(family: Family, network: bytes, prefix: int, *, equal: bool = True) -> bytes:
    """``daddr`` is, or is not, in a network."""
    return _in_network(family.destination, network, prefix, equal=equal)


def to_this_host() -> bytes:
    """``fib daddr type local``: the packet is for one of the host's own addresses."""
    local = struct.pack("=I", 2)
    return _expression("fib", be32(1, _FIRST_REGISTER), be32(2, 3), be32(3, 2)) + _compare(local)


def connection_state(bits: int) -> bytes:
    """``ct state`` has one of the bits."""
    return _connection_bits(0, bits)


def destination_translated() -> bytes:
    """``ct status dnat``: the connection was made to a published port."""
    return _connection_bits(2, 1 << 5)


def _connection_bits(key: int, bits: int) -> bytes:
    load = _expression("ct", be32(1, _FIRST_REGISTER), be32(2, key))
    return load + _mask(struct.pack("=I", bits)) + _compare(bytes(4), equal=False)


def verdict(code: int) -> bytes:
    """``accept`` or ``drop``."""
    return _expression("immediate", be32(1, 0), nested(2, nested(2, be32(1, code))))


def masquerade() -> bytes:
    """Give the packet the source address of the interface that it leaves by."""
    return _expression("masq")


def translate_by(family: Family, map_name: str, *, by_address: bool) -> bytes:
    """``dnat to [daddr .] meta l4proto . th dport map @…``: the data is an address and a port."""
    first, registers = _FIRST_REGISTER, family.length // 4
    load = _load_payload(1, family.destination, family.length, first) if by_address else b""
    protocol = first + registers if by_address else first
    load += _load_meta(_L4PROTO, protocol) + _load_payload(2, 2, 2, protocol + 1)
    found = _expression("lookup", text(1, map_name), be32(2, first), be32(3, first))
    target = _expression("nat", be32(1, 1), be32(2, family.number), be32(3, first), be32(5, first + registers))
    return load + found + target


def address_and_port(address: bytes, port: int) -> bytes:
    """A map's data."""
    return address + struct.pack("!Hxx", port)


def protocol_and_port(protocol: int, port: int) -> bytes:
    """A map's key; with an address before it, the key of a map by address."""
    return struct.pack("!BxxxHxx", protocol, port)


TO, FROM = 16, 12
"""Where an IPv4 header has the address that a packet goes to, and the one that it comes from."""


def move_port(protocol: int, way: int, address: bytes, port: bytes, other: bytes) -> bytes:
    """A packet to (:data:`TO`) or from (:data:`FROM`) a port of an IPv4 address gets another port there: ``ip daddr …
    udp dport … udp dport set …``. No connection is tracked for it."""
    offset, checksum = (2 if way == TO else 0), (6 if protocol == socket.IPPROTO_UDP else 16)
    meant = (
        _load_meta(_L4PROTO, _FIRST_REGISTER) + _compare(bytes([protocol])),
        _load_payload(1, way, 4, _FIRST_REGISTER) + _compare(address),
        _load_payload(2, offset, 2, _FIRST_REGISTER) + _compare(port),
    )
    load = _expression("immediate", be32(1, _FIRST_REGISTER), nested(2, attribute(1, other)))
    place = be32(2, 2) + be32(3, offset) + be32(4, 2)
    write = _expression("payload", place, be32(5, _FIRST_REGISTER), be32(6, 1), be32(7, checksum))
    return b"".join((*meant, load, write))
