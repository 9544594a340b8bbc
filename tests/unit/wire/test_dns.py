"""The DNS codec, judged by dnspython."""

from __future__ import annotations

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.reversename
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corten.wire import dns as wire

LABELS = st.binary(min_size=1, max_size=63).filter(lambda label: b"." not in label and b"\\" not in label)
NAMES = st.lists(LABELS, min_size=1, max_size=5).filter(lambda labels: sum(map(len, labels)) + len(labels) < 250)
KINDS = st.sampled_from(["A", "AAAA", "PTR", "MX", "TXT", "SRV", "HTTPS", "ANY"])


def asked(name: str = "web.", kind: str = "A", **options: int | bool) -> bytes:
    return dns.message.make_query(name, kind, **options).to_wire()  # type: ignore[arg-type]


@settings(deadline=None)
@given(NAMES, KINDS, st.booleans())
def test_questions_are_read_as_dnspython_writes_them(labels: list[bytes], kind: str, edns: bool) -> None:
    message = dns.message.make_query(dns.name.Name([*labels, b""]), kind, use_edns=edns, payload=1232)
    found = wire.query(message.to_wire())
    assert found.name == b".".join(labels).lower()
    assert (found.id, found.kind) == (message.id, dns.rdatatype.from_text(kind))
    assert (found.space, found.edns) == (wire.INTERNET, edns)
    assert found.size == (1232 if edns else wire.SMALLEST)


@settings(deadline=None)
@given(st.lists(st.binary(min_size=4, max_size=4), max_size=20), st.booleans(), st.integers(0, 5))
def test_answers_are_what_dnspython_reads(addresses: list[bytes], edns: bool, code: int) -> None:
    question = dns.message.make_query("Web.Back.", "A", use_edns=edns)
    records = [wire.record(wire.A, address, 600) for address in addresses]
    answer = dns.message.from_wire(wire.answer(wire.query(question.to_wire()), records, code))
    assert question.is_response(answer)
    assert answer.rcode() == code
    assert (answer.edns == 0) == edns
    assert answer.flags & dns.flags.RA
    found = [record.to_digestable() for rrset in answer.answer for record in rrset]
    assert sorted(found) == sorted(set(addresses))
    assert all(rrset.ttl == 600 and rrset.name == dns.name.from_text("web.back") for rrset in answer.answer)


def test_what_does_not_fit_is_cut_and_said() -> None:
    records = [wire.record(wire.A, bytes([10, 0, 0, number]), 600) for number in range(200)]
    for edns, size in ((False, 512), (True, 1232)):
        found = wire.query(asked(use_edns=edns, payload=size))
        data = wire.answer(found, records, limit=found.size)
        message = dns.message.from_wire(data)
        assert size - 40 < len(data) <= size
        assert message.flags & dns.flags.TC
    assert not dns.message.from_wire(wire.answer(found, records)).flags & dns.flags.TC


@settings(deadline=None)
@given(st.binary(max_size=600))
def test_no_bytes_do_more_than_raise_malformed(data: bytes) -> None:
    if wire.is_response(data):
        return
    found = wrong(data)
    if isinstance(found, int):
        assert dns.message.from_wire(wire.refusal(data, found)).rcode() == found
    else:
        assert len(wire.answer(found)) <= len(data) + 11


def wrong(data: bytes) -> int | wire.Query:
    """What is wrong with a question, or the question."""
    try:
        return wire.query(data)
    except wire.Malformed as error:
        return error.code


@settings(deadline=None)
@given(st.data())
def test_a_broken_question_is_never_another_one(data: st.DataObject) -> None:
    good = bytearray(asked("service.network.", "AAAA", use_edns=True))
    place = data.draw(st.integers(2, len(good) - 1))
    good[place] ^= data.draw(st.integers(1, 255))
    if wire.is_response(bytes(good)):
        return
    try:
        found = wire.query(bytes(good))
    except wire.Malformed:
        return
    assert found.question == bytes(good)[12 : 12 + len(found.question)]
    assert wire.SMALLEST <= found.size <= wire.LARGEST


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (asked()[:-1], wire.FORMAT_ERROR),
        (asked() + b"x", wire.FORMAT_ERROR),
        (asked()[:4] + b"\0\2" + asked()[6:], wire.FORMAT_ERROR),
        (asked()[:12] + b"\xc0\x0c\0\1\0\1", wire.FORMAT_ERROR),
        (asked()[:2] + b"\x28" + asked()[3:], wire.NOT_IMPLEMENTED),
        (asked(use_edns=1), wire.BAD_VERSION),
        (asked()[:12] + b"\x3f" + b"a" * 63 + b"\0\1", wire.FORMAT_ERROR),
        (asked()[:12] + (b"\x3f" + b"a" * 63) * 5 + b"\0\0\1\0\1", wire.FORMAT_ERROR),
    ],
    ids=["short", "long", "two", "pointer", "update", "edns 1", "unended", "name over 255"],
)
def test_what_cannot_be_answered(data: bytes, code: int) -> None:
    with pytest.raises(wire.Malformed) as raised:
        wire.query(data)
    assert raised.value.code == code


def test_a_dot_in_a_label_is_none_between_labels() -> None:
    message = dns.message.make_query(dns.name.Name([b"web.back", b""]), "A")
    assert wire.query(message.to_wire()).name != b"web.back"


def test_whose_answer_it_is() -> None:
    question = dns.message.make_query("Example.org.", "A")
    own = wire.query(question.to_wire()).question
    answer = dns.message.make_response(question).to_wire()
    assert wire.replies_to(answer, question.id, own)
    assert wire.replies_to(answer[:12] + answer[12:].upper(), question.id, own)
    assert not wire.replies_to(answer, question.id ^ 1, own)
    assert not wire.replies_to(question.to_wire(), question.id, own)
    other = dns.message.make_query("example.com.", "A", id=question.id)
    assert not wire.replies_to(dns.message.make_response(other).to_wire(), question.id, own)
    other = dns.message.make_query("Example.org.", "AAAA", id=question.id)
    assert not wire.replies_to(dns.message.make_response(other).to_wire(), question.id, own)


def test_an_answer_too_long_for_its_client() -> None:
    question = dns.message.make_query("example.org.", "TXT")
    asked = wire.query(question.to_wire())
    cut = dns.message.from_wire(wire.truncated(dns.message.make_response(question).to_wire(), asked.question))
    assert cut.flags & dns.flags.TC
    assert question.is_response(cut)


@pytest.mark.parametrize("address", ["172.18.0.2", "10.255.0.1", "fd00::12", "2001:db8::ff:0:1"])
def test_names_of_addresses(address: str) -> None:
    pointer = dns.reversename.from_address(address)
    name = pointer.to_text(omit_final_dot=True).encode()
    assert dns.reversename.to_address(pointer) == address
    packed = wire.address_of_pointer(name)
    assert wire.encode_name(name) == pointer.to_wire()
    assert len(packed) == (16 if ":" in address else 4)


@settings(deadline=None)
@given(st.binary(max_size=80))
def test_names_of_no_address(name: bytes) -> None:
    for end in (b".in-addr.arpa", b".ip6.arpa", b""):
        assert len(wire.address_of_pointer(name + end)) in (0, 4, 16)
