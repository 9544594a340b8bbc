"""Networks without a firewall: who reaches whom then, and what is refused."""

from __future__ import annotations

import asyncio
import socket

import pytest

from corten.engine.network_model import NetworkCreate
from corten.engine.network_watch import NetworkWatch
from corten.errors import Unsupported
from tests.support.spaces import (
    HOST,
    OTHER_MACHINE,
    OTHER_MACHINE6,
    TABLE,
    Space,
    World,
    container,
    greet,
    ip,
    refusal,
    ruleset,
    tcp_server,
)

pytestmark = [pytest.mark.network, pytest.mark.root]
OPTION = "com.docker.network.bridge."
FORWARDING = "/proc/sys/net/ipv4/ip_forward"


@pytest.fixture
def bare(world: World) -> World:
    """A host without a firewall that forwards for others, as many do, and another machine that knows the way in."""
    world.networks = world.engine(ipv6=True, firewall="none")
    world.with_ipv6()
    for path in (FORWARDING, "/proc/sys/net/ipv6/conf/all/forwarding"):
        with open(path, "w") as switch:
            switch.write("1")
    with world.other.inside():
        ip("route", "add", "172.16.0.0/12", "via", HOST)
        ip("-6", "route", "add", "fd00::/8", "via", "2001:db8::1")
    return world


def _rules() -> list[str]:
    """Those of both families that are the engine's."""
    return [line for line in (ip("rule") + ip("-6", "rule")).splitlines() if line.startswith(("1:", "2:"))]


def test_the_host_and_its_containers_reach_each_other(bare: World) -> None:
    bare.networks.start()
    a, place = bare.start(container("a"))
    b, there = bare.start(container("b"))
    with tcp_server(80, address="::", space=b) as server:
        assert greet(server, (there.ip, 80), a) == f"::ffff:{place.ip}"
        assert greet(server, (there.ip6, 80), a) == place.ip6
        assert greet(server, (there.ip, 80)) == f"::ffff:{place.gateway}"
        assert greet(server, (there.ip6, 80)) == place.gateway6
    with tcp_server(81, address="::") as server:
        for address in (place.gateway, HOST, place.gateway6):
            assert greet(server, (address, 81), a).removeprefix("::ffff:") in (place.ip, place.ip6)
    assert ruleset() == ""


def test_nobody_else_is_forwarded_for(bare: World) -> None:
    """Other networks and machines, though the host forwards, and though they know the way."""
    bare.networks.start()
    bare.networks.create(NetworkCreate("mine", enable_ipv6=True))
    a, place = bare.start(container("a"))
    b, _ = bare.start(container("b", network="mine"))
    for address in (place.ip, place.ip6):
        with tcp_server(80, address="::", space=a):
            assert refusal((address, 80), b) is not ConnectionRefusedError
            assert refusal((address, 80), bare.other) is not ConnectionRefusedError
        assert not _hears(a, address, bare.other)
        assert not _hears(a, address, b)
    for address in (OTHER_MACHINE, OTHER_MACHINE6):
        with tcp_server(80, address="::", space=bare.other):
            assert refusal((address, 80), a) is not ConnectionRefusedError
        assert not _hears(bare.other, address, a)


def _hears(space: Space, address: str, sender: Space) -> bool:
    """Whether a single datagram, that needs no answer, comes through; the host's own comes after it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with space.inside():
        receiver = socket.socket(family, socket.SOCK_DGRAM)
        receiver.bind(("", 90))
    with receiver:
        receiver.settimeout(5)
        for place, word in ((sender, b"theirs"), (None, b"the host's")):
            with place.inside() if place else space.inside():
                one = socket.socket(family, socket.SOCK_DGRAM)
            with one:
                one.sendto(word, (address, 90))
        return receiver.recv(100) == b"theirs"


def test_containers_that_are_not_to_reach_each_other_do_not(bare: World) -> None:
    """Nor by the gateway, which could send a packet back to where it came from."""
    bare.networks.start()
    bare.networks.create(NetworkCreate("apart", options={f"{OPTION}enable_icc": "false"}))
    a, place = bare.start(container("a", network="apart"))
    b, there = bare.start(container("b", network="apart"))
    with tcp_server(80, space=b):
        assert refusal((there.ip, 80), a) in (TimeoutError, OSError)
        with a.inside():
            ip("route", "add", f"{there.ip}/32", "via", place.gateway)
        assert refusal((there.ip, 80), a) is not ConnectionRefusedError


def test_the_hosts_loopback_is_its_own(bare: World) -> None:
    bare.networks.start()
    a, place = bare.start(container("a"))
    with a.inside():
        with open("/proc/sys/net/ipv4/conf/eth0/route_localnet", "w") as switch:
            switch.write("1")
        ip("address", "del", "127.0.0.1/8", "dev", "lo")
        ip("rule", "add", "pref", "1", "to", "127.0.0.0/8", "lookup", "100")
        ip("route", "add", "127.0.0.0/8", "via", place.gateway, "dev", "eth0", "src", place.ip, "table", "100")
    with tcp_server(82, address="127.0.0.1") as server:
        assert refusal(("127.0.0.1", 82), a) is TimeoutError
        assert greet(server, ("127.0.0.1", 82)) == "127.0.0.1"


def test_forwarding_is_not_switched_on(world: World) -> None:
    with open(FORWARDING, "w") as switch:
        switch.write("0")
    (notice,) = world.engine(firewall="none").start()
    assert notice.startswith("No firewall (the engine was started with --firewall none): the network helper carries")
    with open(FORWARDING) as switch:
        assert switch.read() == "0\n"


def test_its_rules_come_and_go_with_the_networks(bare: World) -> None:
    bare.networks.start()
    network = bare.networks.create(NetworkCreate("mine"))
    bridge = f"br-{network.id[:12]}"
    assert f"2:\tfrom all iif {bridge} prohibit" in _rules()
    assert sum("172.18.0.0/16" in rule for rule in _rules()) == 2
    before = _rules()
    bare.networks.close()
    again = bare.engine(ipv6=True, firewall="none")
    again.start()
    assert _rules() == before
    again.remove("mine")
    assert not any("172.18.0.0/16" in rule or bridge in rule for rule in _rules())
    again.remove_from_host()
    assert _rules() == []


def test_rules_that_are_deleted_come_back(bare: World, caplog: pytest.LogCaptureFixture) -> None:
    bare.networks.start()
    before = _rules()

    async def flush() -> None:
        watch = NetworkWatch(bare.networks)
        watch.start()
        try:
            ip("rule", "add", "pref", "1", "to", "203.0.113.0/24", "lookup", "main")
            ip("rule", "del", "pref", "1", "to", "203.0.113.0/24", "lookup", "main")
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert not caplog.records
            ip("-6", "rule", "flush")
            ip("rule", "del", "pref", "2", "iif", "ct-test", "prohibit")
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        finally:
            watch.close()

    asyncio.run(flush())
    assert sorted(_rules()) == sorted(before)
    messages = {record.getMessage() for record in caplog.records}
    assert messages == {
        "the wall of routing rules around the networks was changed by another program: it is restored"
    }
    ip("rule", "del", "pref", "2", "iif", "ct-test", "prohibit")
    bare.start(container("a"))  # nobody listened: who joins a network finds its wall whole
    assert sorted(_rules()) == sorted(before)


def test_what_needs_a_firewall_is_refused(bare: World) -> None:
    bare.networks.start()
    with pytest.raises(Unsupported, match="SCTP port 80: it takes nf_tables"):
        bare.place(container("a", publish="8080:80/sctp"))
    routed = NetworkCreate("routed", options={f"{OPTION}enable_ip_masquerade": "false"})
    with pytest.raises(Unsupported, match="a network with a way out takes a firewall"):
        bare.networks.create(routed)
    assert [one.name for one in bare.networks.list()] == ["bridge", "host", "none"]


def test_what_there_is_not_is_said(bare: World) -> None:
    bare.networks.start()
    bare.networks.create(NetworkCreate("mine"))
    bare.networks.create(NetworkCreate("inner", internal=True))
    (warning,) = bare.networks.warnings(["mine"])
    assert "but no other machine" in warning
    assert bare.networks.warnings(["inner"]) == bare.networks.warnings(["host"]) == []
    said = " ".join(bare.networks.explain("mine")["Says"])
    assert "They reach no other machine" in said
    assert "--firewall none" in said
    assert "not the client's" in said


def test_an_engine_may_lose_its_firewall_and_get_one(world: World) -> None:
    """What the other kind had made goes; a port that was translated is carried from then on."""
    world.networks.start()
    web, place = world.start(container("a", publish="8080:80/tcp"))
    assert f"table ip {TABLE}" in ruleset()
    world.networks.close()
    bare = world.engine(firewall="none")
    bare.start([place])
    assert ruleset() == ""
    (now,) = bare.endpoints_of("a" * 64)
    assert now.carried
    assert all(now.carries(binding) and not now.translates(binding) for binding in now.ports)
    assert len(_rules()) == 3
    bare.close()
    world.networks = world.engine()
    world.networks.start([now])
    assert _rules() == []
    assert f"table ip {TABLE}" in ruleset()
    with tcp_server(80, space=world.other) as server:
        assert greet(server, (OTHER_MACHINE, 80), web) == HOST
    (still,) = world.networks.endpoints_of("a" * 64)
    assert still == now
    world.networks.release("a" * 64)
    web.end()
    other, _ = world.start(container("b", publish="8080:80/tcp"))
    with tcp_server(80, space=other) as server:
        assert greet(server, (HOST, 8080), world.other) == OTHER_MACHINE
