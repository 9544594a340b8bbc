"""Which names there are, and who may know them: the table of the resolver, without any I/O.

As Docker's: a container sees the names in its own networks only. ``web`` is looked for in each of them, ``web.back``
also as ``web`` in the network ``back``. A name that is known, but has nothing of the kind that was asked for, is not
asked of anybody else.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from corten.spec.names import Membership, NameRecord
from corten.wire import dns

TTL = 600
"""Seconds, as Docker's."""


class _Place(NamedTuple):
    """A name's bearer."""

    container_id: str
    addresses: tuple[bytes, ...]


class _Zone:
    """One network's names, and the names of its addresses."""

    def __init__(self) -> None:
        self.places: dict[bytes, list[_Place]] = {}
        self.pointers: dict[bytes, bytes] = {}

    def add(self, container_id: str, one: Membership) -> None:
        place = _Place(container_id, tuple(filter(None, map(_packed, one.addresses))))
        for name in dict.fromkeys(map(_key, one.names)):
            self.places.setdefault(name, []).append(place)
        full = f"{one.names[0]}.{one.network}".encode()
        self.pointers.update(dict.fromkeys(place.addresses, full))

    def take(self, container_id: str, one: Membership) -> None:
        for name in map(_key, one.names):
            left = [place for place in self.places.get(name, ()) if place.container_id != container_id]
            if left:
                self.places[name] = left
            else:
                self.places.pop(name, None)
        for address in filter(None, map(_packed, one.addresses)):
            self.pointers.pop(address, None)


class NameTable:
    """All names of one engine's networks."""

    def __init__(self) -> None:
        self._records: dict[str, NameRecord] = {}
        self._zones: dict[str, _Zone] = {}
        self._turn = 0

    def put(self, record: NameRecord) -> None:
        """A container's names from now on, in the place of those that it had."""
        self.drop(record.container_id)
        self._records[record.container_id] = record
        for one in _named(record):
            self._zones.setdefault(one.network_id, _Zone()).add(record.container_id, one)

    def drop(self, container_id: str, run: str = "") -> None:
        """A container's names are over; with ``run`` only those of that run."""
        record = self._records.get(container_id)
        if record is None or (run and record.run != run):
            return
        del self._records[container_id]
        for one in _named(record):
            zone = self._zones[one.network_id]
            zone.take(container_id, one)
            if not zone.places:
                del self._zones[one.network_id]

    def replace(self, records: Iterable[NameRecord]) -> None:
        """These and no others."""
        self._records, self._zones = {}, {}
        for record in records:
            self.put(record)

    def of(self, container_id: str) -> NameRecord | None:
        """What is known of a container."""
        return self._records.get(container_id)

    def answer(self, asker: NameRecord, asked: dns.Query) -> list[bytes] | None:
        """The records that answer a question of a container's; none when the name is known and has none of the kind;
        None when it is not known."""
        if asked.kind == dns.PTR:
            return self._pointer(asker, asked.name)
        places = self._find(asker, asked.name)
        if places is None:
            return None
        return self._addresses(places, asked.kind)

    def _find(self, asker: NameRecord, name: bytes) -> list[_Place] | None:
        """In the asker's networks, as it stands and then with a network's name at its end."""
        for one in _named(asker):
            if (places := self._in(one, name)) is not None:
                return places
        for first, network in _splits(name):
            for one in _named(asker):
                if _key(one.network) == network and (places := self._in(one, first)) is not None:
                    return places
        return None

    def _in(self, one: Membership, name: bytes) -> list[_Place] | None:
        zone = self._zones[one.network_id]
        for alias, target in one.links:
            if _key(alias) == name and (places := zone.places.get(_key(target))) is not None:
                return places
        return zone.places.get(name)

    def _addresses(self, places: list[_Place], kind: int) -> list[bytes]:
        """Of several bearers each is the first in its turn."""
        sizes = {dns.A: (4,), dns.AAAA: (16,), dns.ANY: (4, 16)}.get(kind, ())
        found = [address for place in places for address in place.addresses if len(address) in sizes]
        if len(found) > 1:
            self._turn += 1
            first = self._turn % len(found)
            found = found[first:] + found[:first]
        return [dns.record(dns.A if len(one) == 4 else dns.AAAA, one, TTL) for one in found]

    def _pointer(self, asker: NameRecord, name: bytes) -> list[bytes] | None:
        address = dns.address_of_pointer(name)
        for one in _named(asker) if address else ():
            if (full := self._zones[one.network_id].pointers.get(address)) is not None:
                try:
                    return [dns.record(dns.PTR, dns.encode_name(full), TTL)]
                except dns.Malformed:  # an alias may be what no name can be
                    return None
        return None


def _named(record: NameRecord) -> Iterator[Membership]:
    """The networks that have names; the default one has none."""
    return (one for one in record.memberships if one.names)


def _splits(name: bytes) -> Iterator[tuple[bytes, bytes]]:
    """``a.b.c`` as (``a.b``, ``c``), (``a``, ``b.c``): names may have dots in them, and so may networks'."""
    place = name.rfind(b".")
    while place > 0:
        yield name[:place], name[place + 1 :]
        place = name.rfind(b".", 0, place)


def _key(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape").lower()


def _packed(address: str) -> bytes:
    try:
        return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
    except OSError:
        return b""
