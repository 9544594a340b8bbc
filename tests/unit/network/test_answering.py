"""What a container's resolver answers to whatever bytes a container sends."""

from __future__ import annotations

import dns.message
import dns.rcode
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from corten.network.helper.answering import Answers
from corten.network.helper.forwarding import Forwarder
from corten.network.helper.loop import Loop
from corten.network.helper.upstream import HostServers, servers
from corten.network.names import NameTable
from corten.spec.names import Membership, NameRecord
from corten.wire import dns as wire

MANY = tuple(f"10.1.{number // 250}.{number % 250}" for number in range(2000))


def answers(*, ndots: bool = False, internal: bool = False) -> Answers:
    table = NameTable()
    own = Membership("n", "net", ("web", "x" * 63), ("10.0.0.2",), internal=internal)
    table.put(NameRecord("a", "1", (own,), ndots=ndots))
    table.put(NameRecord("b", "1", (Membership("n", "net", ("many",), MANY),)))
    return Answers(table, Forwarder(Loop()), HostServers("/nonexistent"))


ANSWERS = answers()


@settings(deadline=None)
@given(st.binary(max_size=300), st.booleans())
@example(dns.message.make_query("many", "A").to_wire(), False)
@example(dns.message.make_query("many", "A", use_edns=True, payload=65535).to_wire(), False)
@example(dns.message.make_query("many", "A").to_wire(), True)
def test_any_bytes_get_an_answer_of_their_own_number_and_a_size_that_was_asked_for(data: bytes, stream: bool) -> None:
    answer = ANSWERS.local("a", data, stream=stream)
    if isinstance(answer, wire.Query):
        return
    assert not answer or answer[:2] == data[:2]
    assert len(answer) <= (65535 if stream else wire.LARGEST)
    if answer:
        dns.message.from_wire(answer)


@settings(deadline=None)
@given(st.sampled_from(["web", "many", "nobody.test"]), st.integers(0, 0xFFFF), st.integers(0, 0xFFFF))
def test_any_kind_and_class(name: str, kind: int, space: int) -> None:
    data = bytearray(dns.message.make_query(name, "A").to_wire())
    data[-4:] = kind.to_bytes(2, "big") + space.to_bytes(2, "big")
    answer = ANSWERS.local("a", bytes(data), stream=False)
    if isinstance(answer, wire.Query):
        assert (name, space) == ("nobody.test", 1) or (kind == wire.PTR and space == 1)
    else:
        assert answer[3] & 0xF == (dns.rcode.NOERROR if space == 1 else dns.rcode.NOTIMP)


def local(made: Answers, name: str, kind: str = "A", asker: str = "a") -> str:
    """The code of an answer, or where the question goes."""
    answer = made.local(asker, dns.message.make_query(name, kind).to_wire(), stream=False)
    if isinstance(answer, wire.Query):
        return "elsewhere"
    return dns.rcode.to_text(dns.message.from_wire(answer).rcode())


def test_who_is_asked() -> None:
    assert local(answers(), "example.org") == local(answers(), "nobody") == "elsewhere"
    assert local(answers(internal=True), "example.org") == "SERVFAIL"
    assert local(answers(internal=True), "web") == "NOERROR"
    assert local(answers(), "web", asker="unknown") == "SERVFAIL"


def test_a_number_of_dots_leaves_plain_names_to_the_search_list() -> None:
    dotted = answers(ndots=True)
    assert local(dotted, "nobody") == local(dotted, "nobody", "AAAA") == "NOERROR"
    assert local(dotted, "nobody", "TXT") == local(dotted, "example.org") == "elsewhere"


@pytest.mark.parametrize(
    ("text", "of_host", "from_host"),
    [
        ("127.0.0.53", True, [True]), ("10.0.0.1", True, [False]), ("fd00::1", True, [True]), ("::1", True, [True]),
        ("127.0.0.53", False, [False]), ("fd00::1", False, [False]), ("fe80::1%lo", True, [True]),
        ("not an address", True, []), ("", True, []), ("256.1.1.1", False, []),
    ],
)  # fmt: skip
def test_from_where_servers_are_asked(text: str, of_host: bool, from_host: list[bool]) -> None:
    assert [one.from_host for one in servers([text], of_host=of_host)] == from_host


def test_no_more_than_three_servers() -> None:
    found = servers([f"10.0.0.{number}" for number in range(9)], of_host=True)
    assert [one.address for one in found] == [("10.0.0.0", 53), ("10.0.0.1", 53), ("10.0.0.2", 53)]
