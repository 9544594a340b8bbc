"""IPv6 of a network: addresses, the way out, published ports and walls, as those of IPv4."""

from __future__ import annotations

import re
from ipaddress import IPv6Network
from pathlib import Path

import pytest

from corten.engine.model import PortBinding
from corten.engine.network_model import Ipam, IpamConfig, NetworkCreate
from corten.errors import AccessDenied, Conflict, InvalidInput, Unsupported
from tests.support.spaces import (
    HOST,
    HOST6,
    OTHER_MACHINE,
    OTHER_MACHINE6,
    TABLE,
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
SUBNET = "fd00:77::/64"


def _dual(name: str = "dual", subnet: str = SUBNET, **asked: object) -> NetworkCreate:
    ipam = Ipam(config=[IpamConfig(subnet)]) if subnet else None
    return NetworkCreate(name, enable_ipv6=True, ipam=ipam, **asked)  # type: ignore[arg-type]


def test_addresses_and_a_way_out(world: World) -> None:
    """The kernel's own choice among neighbours' router advertisements is switched off."""
    world.with_ipv6()
    world.networks.start()
    world.networks.create(_dual())
    a, place = world.start(container("a", network="dual"))
    assert (place.ip6, place.gateway6, place.prefix6) == ("fd00:77::2", "fd00:77::1", 64)
    with a.inside():
        assert "inet6 fd00:77::2/64 scope global nodad" in ip("-6", "address", "show", "eth0")
        assert "default via fd00:77::1 dev eth0" in ip("-6", "route")
        assert Path("/proc/sys/net/ipv6/conf/eth0/accept_ra").read_text() == "0\n"
    with tcp_server(80, address="::", space=world.other) as server:
        assert greet(server, (OTHER_MACHINE6, 80), a) == HOST6
    with tcp_server(81, address="::") as server:
        assert greet(server, ("fd00:77::1", 81), a) == place.ip6
    with tcp_server(80, address="::", space=a) as server:
        assert greet(server, (place.ip6, 80)) == "fd00:77::1"


def test_neighbours_and_strangers(either_way: World) -> None:
    world = either_way
    world.with_ipv6()
    world.networks.start()
    world.networks.create(_dual())
    world.networks.create(_dual("second", "fd00:78::/64"))
    a, _ = world.start(container("a", network="dual"))
    b, there = world.start(container("b", network="dual"))
    c, _ = world.start(container("c", network="second"))
    with world.other.inside():
        ip("-6", "route", "add", SUBNET, "via", HOST6)
    with tcp_server(80, address="::", space=b) as server:
        assert greet(server, (there.ip6, 80), a) == "fd00:77::2"
        assert refusal((there.ip6, 80), c) is TimeoutError
        assert refusal((there.ip6, 80), world.other) is TimeoutError


def test_a_published_port(either_way: World) -> None:
    """On all addresses of both families, by one port of the host; the other machine's address is seen as it is."""
    world = either_way
    world.with_ipv6()
    world.networks.start()
    world.networks.create(_dual())
    neighbour, _ = world.start(container("a", network="dual"))
    web, place = world.start(container("b", network="dual", publish=":80/tcp"))
    assert {one.host_ip for one in place.ports} == {"0.0.0.0", "::"}
    (port,) = {one.host_port for one in place.ports}
    with tcp_server(80, address="::", space=web) as server:
        assert greet(server, (HOST6, port), world.other) == OTHER_MACHINE6
        assert greet(server, (HOST, port), world.other) == f"::ffff:{OTHER_MACHINE}"
        assert greet(server, (HOST6, port)) == HOST6
        assert greet(server, (HOST6, port), neighbour) == "fd00:77::1"
    world.networks.release("b" * 64)
    assert refusal((HOST6, port), world.other) is ConnectionRefusedError
    assert not re.search(r"elements", ruleset())


def test_a_port_of_one_ipv6_address(world: World) -> None:
    world.with_ipv6()
    world.networks.start()
    world.networks.create(_dual())
    bindings: dict[str, list[PortBinding] | None] = {"80/tcp": [PortBinding(f"[{HOST6}]", "8080")]}
    web, place = world.start(container("b", network="dual", bindings=bindings))
    assert [(one.host_ip, one.host_port) for one in place.ports] == [(HOST6, 8080)]
    with tcp_server(80, address="::", space=web) as server:
        assert greet(server, (HOST6, 8080), world.other) == OTHER_MACHINE6
    with pytest.raises(Conflict, match=rf"Bind for \[{HOST6}\]:8080 failed: port is already allocated"):
        world.start(container("c", network="dual", bindings=bindings))


def test_what_no_rule_translates(world: World) -> None:
    """It is held for the network helper to carry; SCTP is not carried."""
    world.with_ipv6()
    world.networks.start()
    world.networks.create(_dual())
    _, plain = world.start(container("a", publish="8080:80/tcp"))
    assert {one.host_ip: plain.carries(one) for one in plain.ports} == {"0.0.0.0": False, "::": True}
    _, dual = world.start(container("b", network="dual", publish="8081:80/tcp"))
    assert {one.host_ip: (dual.translates(one), dual.carries(one)) for one in dual.ports} == {
        "0.0.0.0": (True, False), "::": (True, True),
    }  # fmt: skip
    for letter, address, network in (("c", HOST6, "bridge"), ("d", "::1", "dual")):
        asked: dict[str, list[PortBinding] | None] = {"80/tcp": [PortBinding(address, "8082")]}
        _, place = world.start(container(letter, network=network, bindings=asked))
        assert [(place.translates(one), place.carries(one)) for one in place.ports] == [(False, True)]
        with pytest.raises(Unsupported, match="publish SCTP on"):
            world.start(container("e", network=network, bindings={"80/sctp": [PortBinding(address, "8083")]}))
        world.networks.release("e" * 64)
    assert not re.search(r"808[023]", nft("list", "table", "ip6", TABLE))


def test_a_prefix_of_the_engines_own(world: World) -> None:
    """Unique local, another for each network, and kept by the next engine."""
    world.networks.start()
    first, second = (world.networks.create(_dual(name, "")) for name in ("one", "two"))
    prefixes = [IPv6Network(config.subnet) for network in (first, second) for config in network.ipam.config[1:]]
    assert [prefix.prefixlen for prefix in prefixes] == [64, 64]
    assert len(set(prefixes)) == 2
    assert all(str(prefix).startswith("fd") for prefix in prefixes)
    a, place = world.start(container("a", network="one"))
    world.networks.close()
    world.networks = world.engine()
    world.networks.start([place])
    assert world.networks.get("one") == first
    shown = world.networks.inspect("one").containers["a" * 64]
    assert shown.ipv6_address == f"{prefixes[0][2]}/64"
    with pytest.raises(AccessDenied, match="Address already in use"):
        world.networks.attach(container("b", network="one", ip6=str(prefixes[0][2])))
    _, other = world.start(container("c", network="one", ip6=str(prefixes[0][0x99])))
    assert other.ip6 == str(prefixes[0][0x99])
    with a.inside():
        assert str(prefixes[0][2]) in ip("-6", "address")


def test_an_internal_network(world: World) -> None:
    world.with_ipv6()
    world.networks.start()
    world.networks.create(_dual("inner", internal=True))
    a, place = world.start(container("a", network="inner", publish="8080:80/tcp"))
    assert (place.gateway6, place.ports) == ("", ())
    with a.inside():
        ip("-6", "route", "add", "default", "via", "fd00:77::1", "dev", "eth0")
    with tcp_server(80, address="::", space=world.other):
        assert refusal((OTHER_MACHINE6, 80), a) in (TimeoutError, OSError)


def test_forwarding_is_switched_on_openly_and_the_host_keeps_its_way_out(world: World) -> None:
    """A host that forwards ignores router advertisements unless it is told not to."""
    listens = Path("/proc/sys/net/ipv6/conf/uplink/accept_ra")
    listens.write_text("1")
    world.networks.start()
    world.networks.create(_dual())
    world.networks.close()
    Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("0")
    listens.write_text("1")
    world.networks = world.engine()
    (notice,) = world.networks.start()
    assert "net.ipv6.conf.all.forwarding was 0 and is 1 now" in notice
    assert Path("/proc/sys/net/ipv6/conf/all/forwarding").read_text() == "1\n"
    assert listens.read_text() == "2\n"


def test_the_twin_table_comes_and_goes(world: World) -> None:
    world.networks.start()
    assert "table ip6" not in ruleset()
    world.networks.create(_dual())
    assert f"table ip6 {TABLE}" in ruleset()
    nft("delete", "table", "ip6", TABLE)
    world.start(container("a", network="dual"))
    assert f"table ip6 {TABLE}" in ruleset()
    world.networks.release("a" * 64)
    world.networks.remove("dual")
    assert "table ip6" not in ruleset()
    assert f"table ip {TABLE}" in ruleset()
    world.networks.create(_dual())
    world.networks.remove_from_host()
    assert TABLE not in ruleset()


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (_dual(subnet="fd00:77::1/64"), "it should be fd00:77::/64"),
        (NetworkCreate("v4", enable_ipv6=False, ipam=Ipam(config=[IpamConfig(SUBNET)])), "the network has no IPv6"),
        (NetworkCreate("v6", enable_ipv6=True, ipam=Ipam(config=[IpamConfig(SUBNET, "10.0.0.1")])),
         "invalid gateway 10.0.0.1: parent subnet is an IPv6 block"),
    ],
)  # fmt: skip
def test_refusals(world: World, request_: NetworkCreate, said: str) -> None:
    world.networks.start()
    with pytest.raises(InvalidInput, match=said):
        world.networks.create(request_)


def test_a_container_without_it_in_a_network_without_it(world: World) -> None:
    world.networks.start()
    world.networks.create(NetworkCreate("plain"))
    with pytest.raises(InvalidInput, match="no configured subnet or ip-range contain the IP address fd00::9"):
        world.networks.attach(container("a", network="plain", ip6="fd00::9"))
    assert world.networks.inspect("plain").containers == {}


def test_the_default_network_by_the_engines_option(world: World) -> None:
    """It comes with the option and goes without it; not while a container is there."""
    world.networks = world.engine(ipv6=True)
    world.networks.start()
    assert world.networks.get("bridge").enable_ipv6
    _, place = world.start(container("a"))
    assert (place.ip, place.ip6[:2], place.ip6[-3:]) == ("172.17.0.2", "fd", "::2")
    world.networks.close()
    world.networks = world.engine()
    world.networks.start([place])
    assert world.networks.get("bridge").enable_ipv6
    world.networks.close()
    world.networks = world.engine()
    world.networks.start()
    assert not world.networks.get("bridge").enable_ipv6
    _, place = world.start(container("b"))
    assert (place.ip, place.ip6) == ("172.17.0.2", "")
    assert "inet6 fd" not in ip("address", "show", place.bridge)
