"""Which names there are, and who may know them."""

from __future__ import annotations

import socket

import dns.message
import dns.rdatatype
import dns.reversename
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corten.network.names import NameTable
from corten.spec.names import Membership, NameRecord
from corten.wire import dns as wire

BACK, FRONT = "b" * 64, "f" * 64
NETWORKS = {BACK: "back", FRONT: "front.net"}


def member(network: str, ip: str, *names: str, **more: object) -> Membership:
    return Membership(network, NETWORKS[network], names, tuple(ip.split()), **more)  # type: ignore[arg-type]


def record(id: str, *memberships: Membership, run: str = "1") -> NameRecord:
    return NameRecord(id, run, memberships)


@pytest.fixture
def table() -> NameTable:
    made = NameTable()
    made.put(record("web", member(BACK, "10.0.0.2", "web", "www", "shop.eu")))
    made.put(record("db", member(BACK, "10.0.0.3 fd00::3", "db", "store")))
    made.put(record("other", member(FRONT, "10.1.0.2", "other", "www")))
    made.put(record("both", member(BACK, "10.0.0.4", "both"), member(FRONT, "10.1.0.4", "both")))
    return made


def ask(table: NameTable, asker: str, name: str, kind: str = "A") -> list[str] | None:
    """Addresses or names, in order, as dnspython reads them; None when the name is not known."""
    query = dns.message.make_query(name, kind)
    asked = wire.query(query.to_wire())
    known = table.of(asker)
    assert known is not None
    found = table.answer(known, asked)
    if found is None:
        return None
    message = dns.message.from_wire(wire.answer(asked, found))
    return [item.to_text() for rrset in message.answer for item in rrset]


def test_a_name_and_its_aliases(table: NameTable) -> None:
    for name in ("db", "DB.", "store", "db.back", "STORE.back."):
        assert ask(table, "web", name) == ["10.0.0.3"]
    assert ask(table, "web", "db", "AAAA") == ["fd00::3"]
    assert sorted(ask(table, "web", "db", "ANY") or []) == ["10.0.0.3", "fd00::3"]


def test_a_known_name_without_the_kind_is_no_unknown_name(table: NameTable) -> None:
    assert ask(table, "db", "web", "AAAA") == []
    assert ask(table, "db", "web", "MX") == []
    assert ask(table, "db", "nobody", "AAAA") is None


def test_names_and_networks_with_dots(table: NameTable) -> None:
    assert ask(table, "db", "shop.eu") == ["10.0.0.2"]
    assert ask(table, "db", "shop.eu.back") == ["10.0.0.2"]
    assert ask(table, "both", "other.front.net") == ["10.1.0.2"]
    assert ask(table, "both", "other.net") is None


def test_other_networks_names_are_not_known(table: NameTable) -> None:
    assert ask(table, "web", "other") is None
    assert ask(table, "web", "other.front.net") is None
    assert ask(table, "other", "db") is None
    assert ask(table, "both", "other") == ["10.1.0.2"]
    assert ask(table, "both", "db") == ["10.0.0.3"]


def test_a_name_in_two_networks_is_that_of_the_first(table: NameTable) -> None:
    assert ask(table, "both", "www") == ["10.0.0.2"]
    assert ask(table, "both", "www.front.net") == ["10.1.0.2"]


def test_each_of_several_is_the_first_in_its_turn(table: NameTable) -> None:
    for number in range(3):
        table.put(record(f"w{number}", member(BACK, f"10.0.1.{number}", f"w{number}", "worker")))
    answers = [ask(table, "db", "worker") for _ in range(6)]
    everyone = {f"10.0.1.{number}" for number in range(3)}
    assert all(set(answer or []) == everyone for answer in answers)
    firsts = [table.answer(_of(table, "db"), wire.query(_query("worker"))) for _ in range(3)]
    assert {found[0][-4:] for found in firsts if found} == {socket.inet_aton(ip) for ip in everyone}


def _of(table: NameTable, id: str) -> NameRecord:
    found = table.of(id)
    assert found
    return found


def _query(name: str) -> bytes:
    return dns.message.make_query(name, "A").to_wire()


def test_the_name_of_an_address(table: NameTable) -> None:
    def pointer(asker: str, address: str) -> list[str] | None:
        return ask(table, asker, str(dns.reversename.from_address(address)), "PTR")

    assert pointer("web", "10.0.0.3") == ["db.back."]
    assert pointer("web", "fd00::3") == ["db.back."]
    assert pointer("web", "10.1.0.2") is None
    assert pointer("both", "10.1.0.2") == ["other.front.net."]
    assert pointer("web", "8.8.8.8") is None


def test_a_link_is_the_linking_containers_own(table: NameTable) -> None:
    table.put(record("linker", member(BACK, "10.0.0.9", "linker", links=(("data", "db"), ("gone", "nobody")))))
    assert ask(table, "linker", "data") == ["10.0.0.3"]
    assert ask(table, "linker", "data.back") == ["10.0.0.3"]
    assert ask(table, "linker", "gone") is None
    assert ask(table, "web", "data") is None


def test_answers_leave_with_a_container(table: NameTable) -> None:
    table.drop("db")
    assert ask(table, "web", "db") is None
    assert ask(table, "web", "3.0.0.10.in-addr.arpa", "PTR") is None
    table.drop("db")  # twice is nothing


def test_the_end_of_an_earlier_run_is_not_this_ones(table: NameTable) -> None:
    table.put(record("db", member(BACK, "10.0.0.7", "db"), run="2"))
    table.drop("db", "1")
    assert ask(table, "web", "db") == ["10.0.0.7"]
    table.drop("db", "2")
    assert ask(table, "web", "db") is None


def test_another_name_takes_the_old_ones_place(table: NameTable) -> None:
    table.put(record("db", member(BACK, "10.0.0.3", "data")))
    assert ask(table, "web", "db") is None
    assert ask(table, "web", "data") == ["10.0.0.3"]


def test_the_whole_table_is_replaced(table: NameTable) -> None:
    table.replace([record("web", member(BACK, "10.0.0.2", "web"))])
    assert table.of("db") is None
    assert ask(table, "web", "db") is None
    assert ask(table, "web", "web") == ["10.0.0.2"]


def test_an_alias_that_is_no_name_has_no_pointer(table: NameTable) -> None:
    table.put(record("odd", member(BACK, "10.0.0.20", "x" * 80)))
    assert ask(table, "web", "20.0.0.10.in-addr.arpa", "PTR") is None


IDS = st.sampled_from("abc")
CHANGES = st.lists(st.tuples(IDS, st.sampled_from(["x", "y", "X"]), st.sampled_from([BACK, FRONT, ""])), max_size=30)


@settings(deadline=None)
@given(CHANGES)
def test_after_any_changes_the_table_is_as_if_made_anew(changes: list[tuple[str, str, str]]) -> None:
    table, model = NameTable(), dict[str, NameRecord]()
    for number, (id, name, network) in enumerate(changes):
        if network:
            model[id] = record(id, member(network, f"10.0.0.{number + 1}", name, "all"))
            table.put(model[id])
        else:
            model.pop(id, None)
            table.drop(id)
    fresh = NameTable()
    fresh.replace(model.values())
    for id in model:
        for name in ("x", "y", "all"):
            assert sorted(ask(table, id, name) or []) == sorted(ask(fresh, id, name) or [])


def test_records_survive_their_way() -> None:
    place = member(BACK, "10.0.0.1 fd00::1", "a", "b", links=(("l", "t"),))
    one = NameRecord("id", "run", (place,), ("1.1.1.1",), ndots=True)
    assert NameRecord.decode(one.encode()) == one
    assert one.has_way_out
    assert not record("id", member(BACK, "10.0.0.1", "a", internal=True)).has_way_out
