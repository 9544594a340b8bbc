"""Who reaches whom: containers, the host, another machine."""

from __future__ import annotations

import contextlib
import socket

import pytest

from corten.engine.network_model import NetworkCreate
from corten.errors import Conflict, Unsupported
from tests.support.spaces import (
    HOST,
    OTHER_MACHINE,
    TABLE,
    Space,
    World,
    container,
    greet,
    ip,
    nft,
    refusal,
    ruleset,
    tcp_server,
)

pytestmark = [pytest.mark.network, pytest.mark.root]


def test_containers_of_one_bridge_see_each_other(either_way: World) -> None:
    either_way.networks.start()
    a, _ = either_way.start(container("a"))
    b, there = either_way.start(container("b"))
    with tcp_server(80, space=b) as server:
        assert greet(server, (there.ip, 80), a) == "172.17.0.2"


def test_a_container_leaves_with_the_hosts_address(world: World) -> None:
    world.networks.start()
    a, _ = world.start(container("a"))
    with tcp_server(80, space=world.other) as server:
        assert greet(server, (OTHER_MACHINE, 80), a) == HOST


def test_the_host_reaches_a_container_and_back(world: World) -> None:
    world.networks.start()
    a, place = world.start(container("a"))
    with tcp_server(80, space=a) as server:
        assert greet(server, (place.ip, 80)) == place.gateway
    with tcp_server(81) as server:
        assert greet(server, (place.gateway, 81), a) == place.ip


def test_a_published_port_answers_everybody(either_way: World) -> None:
    """The other machine's address is seen as it is, else the bridge's: the answer comes by the host."""
    either_way.networks.start()
    neighbour, _ = either_way.start(container("a"))
    web, place = either_way.start(container("b", publish="8080:80/tcp"))
    with tcp_server(80, space=web) as server:
        assert greet(server, (HOST, 8080), either_way.other) == OTHER_MACHINE
        assert greet(server, ("127.0.0.1", 8080)) == place.gateway
        assert greet(server, (HOST, 8080)) == HOST
        assert greet(server, (place.gateway, 8080)) == place.gateway
        assert greet(server, (HOST, 8080), neighbour) == place.gateway
        assert greet(server, (place.gateway, 8080), web) == place.gateway
    with web.inside():
        assert socket.socket().connect_ex(("127.0.0.1", 8080)) != 0


def test_a_port_published_on_loopback_is_the_hosts_own(world: World) -> None:
    world.networks.start()
    neighbour, _ = world.start(container("a"))
    web, _ = world.start(container("b", publish="127.0.0.1:8080:80/tcp"))
    with tcp_server(80, space=web) as server:
        assert greet(server, ("127.0.0.1", 8080)) == "172.17.0.1"
        assert refusal((HOST, 8080), world.other) is ConnectionRefusedError
        assert refusal((HOST, 8080), neighbour) is ConnectionRefusedError
        _route_loopback_to_host(world)
        assert refusal(("127.0.0.1", 8080), world.other) is TimeoutError


def _route_loopback_to_host(world: World) -> None:
    """What a hostile neighbour does: send packets for 127.0.0.1 down the wire."""
    with world.other.inside():
        for name in ("all", "uplink"):
            with open(f"/proc/sys/net/ipv4/conf/{name}/route_localnet", "w") as switch:
                switch.write("1")
        ip("address", "del", "127.0.0.1/8", "dev", "lo")
        ip("rule", "add", "pref", "1", "to", "127.0.0.0/8", "lookup", "100")
        ip("route", "add", "127.0.0.0/8", "via", HOST, "dev", "uplink", "src", OTHER_MACHINE, "table", "100")


def test_a_container_cannot_reach_the_hosts_loopback(world: World) -> None:
    world.networks.start()
    a, place = world.start(container("a"))
    with a.inside():
        with open("/proc/sys/net/ipv4/conf/eth0/route_localnet", "w") as switch:
            switch.write("1")
        ip("address", "del", "127.0.0.1/8", "dev", "lo")
        ip("rule", "add", "pref", "1", "to", "127.0.0.0/8", "lookup", "100")
        ip(
            "route",
            "add",
            "127.0.0.0/8",
            "via",
            place.gateway,
            "dev",
            "eth0",
            "src",
            place.ip,
            "table",
            "100",
        )
    with tcp_server(80, address="127.0.0.1"):
        assert refusal(("127.0.0.1", 80), a) is TimeoutError


def test_what_is_not_published_is_walled_off(world: World) -> None:
    """Also from a machine that routes to the container's own address."""
    world.networks.start()
    a, place = world.start(container("a", publish="8080:80/tcp"))
    with world.other.inside():
        ip("route", "add", "172.17.0.0/16", "via", HOST)
    with tcp_server(81, space=a):
        assert refusal((place.ip, 81), world.other) is TimeoutError


def test_networks_are_walled_off_from_each_other_but_for_published_ports(world: World) -> None:
    world.networks.start()
    world.networks.create(NetworkCreate("mine"))
    a, _ = world.start(container("a"))
    b, place = world.start(container("b", network="mine", publish="8080:80/tcp"))
    assert place.ip == "172.18.0.2"
    with tcp_server(80, space=b) as server:
        assert refusal((place.ip, 80), a) is TimeoutError
        assert greet(server, (HOST, 8080), a) == place.gateway


def test_an_internal_network_has_no_way_out(world: World) -> None:
    world.networks.start()
    world.networks.create(NetworkCreate("inner", internal=True))
    a, place = world.start(container("a", network="inner"))
    assert place.gateway == ""
    with a.inside():
        ip("route", "add", "default", "dev", "eth0")
    with tcp_server(80, space=world.other):
        assert refusal((OTHER_MACHINE, 80), a) in (TimeoutError, OSError)


def test_datagrams_to_a_published_port(world: World) -> None:
    world.networks.start()
    a, _ = world.start(container("a", publish="5353:53/udp"))
    with contextlib.ExitStack() as closing:
        server, client = (_datagrams(closing, space) for space in (a, world.other))
        server.bind(("0.0.0.0", 53))
        client.sendto(b"question", (HOST, 5353))
        question, peer = server.recvfrom(100)
        assert (question, peer[0]) == (b"question", OTHER_MACHINE)
        server.sendto(b"answer", peer)
        assert client.recvfrom(100) == (b"answer", (HOST, 5353))


def _datagrams(closing: contextlib.ExitStack, space: Space) -> socket.socket:
    with space.inside():
        made = closing.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    made.settimeout(5)
    return made


def test_a_client_that_keeps_its_socket_finds_the_next_container(world: World) -> None:
    """Datagrams have no end of a connection: what the kernel remembers of them must not outlive a container."""
    world.networks.start()
    with contextlib.ExitStack() as closing:
        client = _datagrams(closing, world.other)
        client.sendto(b"to nobody yet", (HOST, 5353))
        for said, id in ((b"one", "a"), (b"two", "b")):
            space, place = world.start(container(id, publish="5353:53/udp"))
            server = _datagrams(closing, space)
            server.bind((place.ip, 53))
            client.sendto(said, (HOST, 5353))
            assert server.recv(100) == said
            world.networks.release(id * 64)
            world.networks.attach(container("c"))  # has its address: the next gets another


def test_a_port_is_one_element_of_a_map(world: World) -> None:
    """However many there are: no rule is added."""
    world.networks.start()
    before = ruleset()
    world.start(container("a", publish="8080:80/tcp 127.0.0.1:8081:81/udp"))
    added = set(ruleset().splitlines()) - set(before.splitlines())
    assert {line.strip() for line in added} == {
        "elements = { tcp . 8080 : 172.17.0.2 . 80 }",
        "elements = { 127.0.0.1 . udp . 8081 : 172.17.0.2 . 81 }",
    }
    world.networks.release("a" * 64)
    assert ruleset() == before


def test_an_administrators_policy_holds_for_published_ports(world: World) -> None:
    """Another table's drop drops, until it accepts the bridge as the manual says."""
    world.networks.start()
    web, _ = world.start(container("a", publish="8080:80/tcp"))
    nft("add", "table", "ip", "theirs")
    nft("add", "chain", "ip", "theirs", "barrier", "{ type filter hook forward priority 0; policy drop; }")
    with tcp_server(80, space=web) as server:
        assert refusal((HOST, 8080), world.other) is TimeoutError
        assert greet(server, ("127.0.0.1", 8080)) == "172.17.0.1"  # what is not forwarded is not theirs to drop
        for way in ("iifname", "oifname"):
            nft("add", "rule", "ip", "theirs", "barrier", way, "ct-test", "accept")
        assert greet(server, (HOST, 8080), world.other) == OTHER_MACHINE


def test_a_port_closes_with_its_container(world: World) -> None:
    world.networks.start()
    a, _ = world.start(container("a", publish="8080:80/tcp"))
    world.networks.release("a" * 64)
    with tcp_server(80, space=a):
        assert refusal((HOST, 8080), world.other) is ConnectionRefusedError
    with tcp_server(8080) as server:
        assert greet(server, (HOST, 8080), world.other) == OTHER_MACHINE


def test_a_flushed_ruleset_is_made_anew_by_the_next_container(world: World) -> None:
    world.networks.start()
    a, _ = world.start(container("a", publish="8080:80/tcp"))
    nft("flush", "ruleset")
    world.start(container("b"))
    assert f"table ip {TABLE}" in ruleset()
    with tcp_server(80, space=a) as server:
        assert greet(server, (HOST, 8080), world.other) == OTHER_MACHINE


def test_sctp_to_a_published_port(world: World) -> None:
    """Where the kernel has it; elsewhere the error says that it has none."""
    world.networks.start()
    try:
        client = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP)
    except OSError:
        with pytest.raises(Unsupported, match="this kernel has no SCTP"):
            world.start(container("a", publish="8080:80/sctp"))
        return
    client.close()
    a, _ = world.start(container("a", publish="8080:80/sctp"))
    with contextlib.ExitStack() as closing:
        ends = []
        for space in (a, world.other):
            with space.inside():
                made = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP)
            made.settimeout(10)
            ends.append(closing.enter_context(made))
        server, client = ends
        server.bind(("0.0.0.0", 80))
        server.listen()
        client.connect((HOST, 8080))
        accepted, peer = server.accept()
        closing.enter_context(accepted)
        client.sendall(b"ping")
        assert (accepted.recv(4), peer[0]) == (b"ping", OTHER_MACHINE)
    with pytest.raises(Conflict, match="port is already allocated"):
        world.start(container("b", publish="8080:80/sctp"))


def test_what_packets_meet_does_not_grow_with_the_networks(world: World) -> None:
    """Of a connection all packets but the first are decided on before any network's name is looked at; but for those
    out of internal networks, which nothing leaves."""
    world.networks.start()
    for name in ("one", "two"):
        world.networks.create(NetworkCreate(name))
    assert chain("guard")[0] == "ip daddr != 127.0.0.0/8 accept"
    assert chain("forward")[:2] == ["ct state established,related accept", "ct status dnat accept"]
    world.networks.create(NetworkCreate("inner", internal=True))
    assert [rule.endswith("drop") for rule in chain("forward")[:2]] == [True, False]


def chain(name: str) -> list[str]:
    """The rules of one of the table's chains."""
    lines = nft("list", "chain", "ip", TABLE, name).splitlines()
    return [line.strip() for line in lines[3:-2]]
