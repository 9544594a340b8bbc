"""The network helper alone: told by the test, asked from containers' namespaces, with name servers on the host, on
another machine and in a container."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rrset
import pytest

from corten.sys import messages, process
from tests.support.dns import RESOLVER, Upstream, answering, ask, code, look_up, refusing, texts
from tests.support.helper import Helper
from tests.support.process import wait_until
from tests.support.spaces import OTHER_MACHINE, Space, World, container, network_of

pytestmark = [pytest.mark.root, pytest.mark.network]
STUB = "127.0.0.53"


@pytest.fixture
def helper(world: World, tmp_path: Path) -> Iterator[Helper]:
    """On the world's host, with ``a`` to ask from."""
    made = Helper(tmp_path)
    try:
        yield made
    finally:
        made.end()


@pytest.fixture
def inside(world: World, helper: Helper) -> int:
    """A process of the container ``a``, which the helper knows."""
    space, _ = world.start(container("a"))
    helper.put("a" * 64)
    helper.open("a" * 64, space.pid)
    return space.pid


@contextlib.contextmanager
def upstream(address: str, says: str, space: Space | None = None) -> Iterator[Upstream]:
    """A name server whose every answer is one address."""
    with space.inside() if space else contextlib.nullcontext():
        made = Upstream(address, answering(says))
    with made:
        yield made


def test_the_hosts_servers_are_followed(world: World, helper: Helper, inside: int) -> None:
    assert code(inside, "example.org") == "SERVFAIL"  # no resolv.conf, nobody to ask
    with upstream(STUB, "192.0.2.1") as stub, upstream(OTHER_MACHINE, "192.0.2.2", world.other) as far:
        helper.host_asks(STUB)
        assert look_up(inside, "example.org") == ["192.0.2.1"]
        helper.host_asks(OTHER_MACHINE)
        for stream in (False, True):
            assert look_up(inside, "example.org", stream=stream) == ["192.0.2.2"]
    assert (stub.asked, far.asked) == (["example.org"], ["example.org", "tcp:example.org"])


def test_the_next_server_is_asked(world: World, helper: Helper, inside: int) -> None:
    """One is not there, one refuses, one fails."""
    with upstream("127.0.0.2", "") as refuses, upstream("127.0.0.3", "") as fails, upstream(STUB, "192.0.2.1"):
        refuses.answer, fails.answer = refusing(dns.rcode.REFUSED), refusing(dns.rcode.SERVFAIL)
        helper.host_asks("127.0.0.9", "127.0.0.2", STUB)
        assert look_up(inside, "example.org") == ["192.0.2.1"]
        helper.host_asks("127.0.0.3", STUB)
        assert look_up(inside, "example.org", stream=True) == ["192.0.2.1"]
        helper.host_asks("127.0.0.3", "127.0.0.2")
        assert code(inside, "example.org") == "REFUSED"  # the last word that there was
    assert refuses.asked == ["example.org"] * 2


def test_that_a_name_is_none_is_final(helper: Helper, inside: int) -> None:
    with upstream(STUB, "") as first, upstream("127.0.0.2", "192.0.2.1") as second:
        first.answer = refusing(dns.rcode.NXDOMAIN)
        helper.host_asks(STUB, "127.0.0.2")
        assert code(inside, "nowhere.test") == "NXDOMAIN"
    assert second.asked == []


def test_a_server_that_says_nothing_is_not_waited_for_long(helper: Helper, inside: int) -> None:
    with upstream("127.0.0.2", "") as silent, upstream(STUB, "192.0.2.1"):
        silent.answer = lambda _: None
        helper.host_asks("127.0.0.2", STUB)
        assert look_up(inside, "example.org") == ["192.0.2.1"]
    assert silent.asked == ["example.org"]


def test_a_forged_answer_is_not_taken(helper: Helper, inside: int) -> None:
    """It has another number, or answers what was not asked."""

    def forge(question: dns.message.Message) -> dns.message.Message:
        made = answering("192.0.2.66")(question)
        assert made is not None
        if len(server.asked) == 1:
            made.id ^= 1
        else:
            made.question = dns.message.make_query("other.test", "A").question
        return made

    with upstream(STUB, "") as server, upstream("127.0.0.2", "192.0.2.1"):
        server.answer = forge
        helper.host_asks(STUB, "127.0.0.2")
        for _ in range(2):
            assert look_up(inside, "example.org") == ["192.0.2.1"]
    assert len(server.asked) == 2


def test_the_hosts_loopback_is_not_the_containers_to_choose(world: World, helper: Helper) -> None:
    """A container that was given 127.0.0.53 asks its own, where nobody is; the host's hears nothing."""
    space, _ = world.start(container("b"))
    helper.put("b" * 64, servers=(STUB,))
    helper.open("b" * 64, space.pid)
    with upstream(STUB, "192.0.2.1") as host:
        helper.host_asks(STUB)
        assert code(space.pid, "example.org") == "SERVFAIL"
        with upstream(STUB, "192.0.2.3", space):
            assert look_up(space.pid, "example.org") == ["192.0.2.3"]
    assert host.asked == []


def test_a_container_without_a_way_out_asks_nobody(world: World, helper: Helper) -> None:
    space, _ = world.start(container("b"))
    helper.put("b" * 64, internal=True)
    helper.open("b" * 64, space.pid)
    with upstream(STUB, "192.0.2.1") as host:
        helper.host_asks(STUB)
        assert code(space.pid, "example.org") == "SERVFAIL"
        assert look_up(space.pid, "name-b") == ["10.9.0.2"]
    assert host.asked == []


def test_long_answers_come_by_stream(helper: Helper, inside: int) -> None:
    def many(question: dns.message.Message) -> dns.message.Message:
        made = dns.message.make_response(question)
        addresses = [f"10.1.{number // 250}.{number % 250}" for number in range(300)]
        made.answer.append(dns.rrset.from_text_list(question.question[0].name, 60, "IN", "A", addresses))
        return made

    with upstream(STUB, "") as server:
        server.answer = many
        helper.host_asks(STUB)
        cut = ask(inside, "many.test")
        assert cut.flags & dns.flags.TC
        assert texts(cut) == []
        assert len(texts(ask(inside, "many.test", stream=True))) == 300


def test_hostile_datagrams_are_survived(helper: Helper, inside: int) -> None:
    good = dns.message.make_query("name-a", "A").to_wire()
    with network_of(inside):
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with client:
        client.connect((RESOLVER, 53))
        for length in range(len(good)):
            client.send(good[:length])
        for place in range(len(good)):
            client.send(good[:place] + bytes([good[place] ^ 0xFF]) + good[place + 1 :])
        client.send(b"\0" * 60000)
        answer = dns.message.make_response(dns.message.make_query("name-a", "A")).to_wire()
        client.send(answer)  # an answer is not answered: two resolvers would go on for ever
    assert look_up(inside, "name-a") == ["10.9.0.1"]


def test_streams_are_counted_and_their_questions_follow_each_other(helper: Helper, inside: int) -> None:
    query = dns.message.make_query("name-a", "A").to_wire()
    framed = len(query).to_bytes(2, "big") + query
    with contextlib.ExitStack() as closing, network_of(inside):
        held = [closing.enter_context(socket.create_connection((RESOLVER, 53), timeout=10)) for _ in range(40)]
        for one in held[:32]:  # several at once, and in pieces
            one.sendall(framed + framed + framed[:5])
            one.sendall(framed[5:])
            reader = closing.enter_context(one.makefile("rb"))
            for _ in range(3):
                reply = dns.message.from_wire(reader.read(int.from_bytes(reader.read(2), "big")))
                assert texts(reply) == ["10.9.0.1"]
        assert all(_is_closed(one) for one in held[32:])
        held[0].sendall(b"\0\1x")  # no question is so short
        assert _is_closed(held[0])


def _is_closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def test_questions_under_way_are_counted(helper: Helper, inside: int) -> None:
    """The 129th of one container is refused at once; its own names are answered all the while."""
    with upstream("127.0.0.2", "") as silent:
        silent.answer = lambda _: None
        helper.host_asks("127.0.0.2")
        with network_of(inside):
            client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with client:
            client.settimeout(10)
            for number in range(129):
                client.sendto(dns.message.make_query(f"n{number}.test", "A", id=number).to_wire(), (RESOLVER, 53))
            refused = dns.message.from_wire(client.recv(512))
            assert (refused.id, refused.rcode()) == (128, dns.rcode.SERVFAIL)
            assert look_up(inside, "name-a") == ["10.9.0.1"]


def test_what_it_knows_of_itself(helper: Helper, inside: int) -> None:
    assert helper.hello["pid"] == helper.pid
    assert helper.hello["start_time"] == process.start_time(helper.pid)
    assert helper.hello["boot_id"] == process.boot_id()
    wait_until(lambda: helper.sandboxes() == {"a" * 64: "run"}, "the sandbox")


def test_it_goes_on_without_an_engine_and_leaves_with_the_last_container(world: World, helper: Helper) -> None:
    first, _ = world.start(container("b"))
    second, _ = world.start(container("c"))
    for id, space in (("b" * 64, first), ("c" * 64, second)):
        helper.put(id)
        helper.open(id, space.pid)
    assert look_up(first.pid, "name-c") == ["10.9.0.3"]
    helper.engine.close()
    second.end()
    wait_until(lambda: not texts(ask(first.pid, "name-c")), "the end of the name")
    assert look_up(first.pid, "name-b") == ["10.9.0.2"]
    first.end()
    wait_until(helper.has_left, "the end of the helper", seconds=20)


def test_an_engine_that_knows_better_replaces_everything(helper: Helper, inside: int) -> None:
    assert look_up(inside, "name-a") == ["10.9.0.1"]
    messages.send(helper.engine, {"do": "replace", "records": []})
    wait_until(lambda: helper.sandboxes() == {}, "the end of the sandbox")
    with pytest.raises(ConnectionError):
        ask(inside, "name-a", stream=True)


def test_what_an_engine_says_amiss_ends_nothing(helper: Helper, inside: int) -> None:
    for message in ({"do": "nothing"}, {"do": "put"}, {"do": "put", "record": {}}, {"do": "proxy"}, {}):
        messages.send(helper.engine, message)
    assert look_up(inside, "name-a") == ["10.9.0.1"]
