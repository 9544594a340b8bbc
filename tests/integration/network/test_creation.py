"""What networks can be asked for, and what the kernel then does."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from corten.engine.model import Strings
from corten.engine.network_model import Ipam, IpamConfig, NetworkCreate
from corten.errors import AccessDenied, Conflict, CortenError, InvalidInput, NotFound, Unsupported
from tests.support.spaces import (
    HOST,
    OTHER_MACHINE,
    World,
    container,
    greet,
    ip,
    refusal,
    tcp_server,
)

pytestmark = [pytest.mark.network, pytest.mark.root]


def _asked(name: str = "mine", subnet: str = "10.70.0.0/16", gateway: str = "", **ipam: object) -> NetworkCreate:
    config = IpamConfig(subnet, gateway, **ipam)  # type: ignore[arg-type]
    return NetworkCreate(name, ipam=Ipam(config=[config]))


def _with(**options: str) -> NetworkCreate:
    named = {f"com.docker.network.{name.replace('__', '.')}": value for name, value in options.items()}
    return NetworkCreate("mine", options=named)


def test_a_range_and_auxiliary_addresses(world: World) -> None:
    world.networks.start()
    made = world.networks.create(
        _asked(gateway="10.70.0.254", ip_range="10.70.5.0/30", auxiliary_addresses={"router": "10.70.5.1"})
    )
    assert made.ipam.config[0].auxiliary_addresses == {"router": "10.70.5.1"}
    places = [world.networks.attach(container(letter, network="mine"))[0] for letter in "ab"]
    assert [(place.ip, place.gateway) for place in places] == [
        ("10.70.5.0", "10.70.0.254"), ("10.70.5.2", "10.70.0.254"),
    ]  # fmt: skip
    (chosen,) = world.networks.attach(container("c", network="mine", ip="10.70.200.9"))
    assert chosen.ip == "10.70.200.9"
    world.networks.attach(container("d", network="mine"))
    with pytest.raises(Conflict, match="no available IPv4 addresses"):
        world.networks.attach(container("e", network="mine"))
    with pytest.raises(AccessDenied, match="Address already in use"):
        world.networks.attach(container("f", network="mine", ip="10.70.5.1"))


@pytest.mark.parametrize(
    ("request_", "kind", "said"),
    [
        (_asked(subnet="10.70.0.7/16"), InvalidInput, "invalid subnet 10.70.0.7/16: it should be 10.70.0.0/16"),
        (_asked(subnet="ten"), InvalidInput, "invalid subnet ten: invalid CIDR block notation"),
        (_asked(subnet="10.70.0.0/31"), InvalidInput, "no room"),
        (_asked(gateway="10.71.0.1"), InvalidInput, "parent subnet 10.70.0.0/16 doesn't contain this address"),
        (_asked(gateway="10.70.255.255"), InvalidInput, "invalid gateway"),
        (_asked(ip_range="10.0.0.0/8"), InvalidInput, "CIDR block is bigger than its parent subnet"),
        (_asked(ip_range="10.71.0.0/24"), InvalidInput, "doesn't contain ip-range"),
        (_asked(ip_range="10.70.1.1/24"), InvalidInput, "invalid ip-range 10.70.1.1/24: it should be 10.70.1.0/24"),
        (_asked(auxiliary_addresses={"a": "10.9.9.9"}), InvalidInput, "invalid auxiliary address 10.9.9.9"),
        (_asked(subnet="", gateway="10.70.0.1"), InvalidInput, "invalid subnet"),
        (_asked(subnet="198.51.100.0/25"), AccessDenied, "Pool overlaps with other one on this address space"),
        (_asked(subnet="172.17.0.0/24"), AccessDenied, "Pool overlaps"),
        (NetworkCreate("mine", ipam=Ipam(config=[IpamConfig("10.1.0.0/16"), IpamConfig("10.2.0.0/16")])),
         AccessDenied, "does not support multiple subnets"),
        (NetworkCreate("mine", ipam=Ipam(driver="odd")), NotFound, 'plugin "odd" not found'),
        (NetworkCreate("mine", driver="odd"), NotFound, 'plugin "odd" not found'),
        (NetworkCreate("mine", driver="host"), AccessDenied, 'only one instance of "host" network is allowed'),
        (NetworkCreate("mine", driver="none"), AccessDenied, 'only one instance of "null" network is allowed'),
        (NetworkCreate("mine", driver="macvlan"), InvalidInput, "needs an interface"),
        (NetworkCreate("mine", driver="macvlan", options={"parent": "nope"}), InvalidInput, "no interface nope"),
        (NetworkCreate("mine", scope="swarm"), Unsupported, "swarm"),
        (NetworkCreate("mine", enable_ipv4=False), Unsupported, "without IPv4"),
        (NetworkCreate("a/b"), InvalidInput, "invalid network name"),
        (NetworkCreate("bridge"), AccessDenied, "operation is not permitted on predefined bridge network"),
        (_with(bridge__enable_icc="perhaps"), InvalidInput, "'perhaps' is neither true nor false"),
        (_with(driver__mtu="9"), InvalidInput, "9 is not between 68 and 65535"),
        (_with(bridge__name="much-too-long-for-linux"), InvalidInput, "invalid interface name"),
        (_with(bridge__host_binding_ipv4="fd00::1"), InvalidInput, "host_binding_ipv4"),
        (_with(bridge__colour="red"), InvalidInput, "unknown option com.docker.network.bridge.colour"),
        (_with(bridge__name="ct-test"), AccessDenied, "networks have same bridge name"),
        (_with(bridge__name="uplink"), Conflict, "the host has an interface uplink of its own"),
    ],
)  # fmt: skip
def test_refusals_leave_nothing(world: World, request_: NetworkCreate, kind: type[CortenError], said: str) -> None:
    world.networks.start()
    before = socket.if_nameindex()
    with pytest.raises(kind) as caught:
        world.networks.create(request_)
    assert said in caught.value.message
    assert socket.if_nameindex() == before
    assert [network.name for network in world.networks.list()] == ["bridge", "host", "none"]


@pytest.mark.parametrize("driver", ["macvlan", "ipvlan"])
def test_drivers_that_this_kernel_may_not_have(world: World, driver: str) -> None:
    """A container of them is on the wire itself; or the error names what is missing."""
    world.networks.start()
    config = Ipam(config=[IpamConfig("198.51.100.0/24", OTHER_MACHINE, "198.51.100.128/25")])
    request = NetworkCreate("wire", driver=driver, options={"parent": "uplink"}, ipam=config)
    refused = None
    try:
        world.networks.create(request)
    except Unsupported as error:
        refused = error
    if refused:
        assert refused.message == f"create network wire: this kernel has no {driver}"
        assert f"modprobe {driver}" in refused.hint
        return
    a, place = world.start(container("a", network="wire"))
    assert place.ip == "198.51.100.128"
    with tcp_server(80, space=world.other) as server:
        assert greet(server, (OTHER_MACHINE, 80), a) == place.ip
    world.networks.release("a" * 64)
    world.networks.remove("wire")


def test_containers_that_are_not_to_see_each_other(either_way: World) -> None:
    """Not by the bridge and not by way of the host; by a published port as everybody, unless br_netfilter turns that
    round inside the bridge."""
    world = either_way
    bridged = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
    turned_round = bridged.exists() and bridged.read_text() == "1\n"
    world.networks.start()
    world.networks.create(_with(bridge__enable_icc="false"))
    a, _ = world.start(container("a", network="mine"))
    b, there = world.start(container("b", network="mine", publish="8080:80/tcp"))
    assert "isolated on" in ip("-d", "link", "show", there.host_interface)
    with tcp_server(80, space=b) as server:
        assert refusal((there.ip, 80), a) in (TimeoutError, OSError)
        with a.inside():
            ip("route", "add", f"{there.ip}/32", "via", there.gateway)
        assert refusal((there.ip, 80), a) in (TimeoutError, OSError)
        assert greet(server, (there.ip, 80)) == there.gateway
        if turned_round:
            assert refusal((HOST, 8080), a) is TimeoutError
        else:
            assert greet(server, (HOST, 8080), a) == there.gateway
        assert greet(server, (HOST, 8080), world.other) == OTHER_MACHINE
    with tcp_server(81, space=world.other) as server:
        assert greet(server, (OTHER_MACHINE, 81), a) == HOST


def test_a_network_that_keeps_its_addresses(world: World) -> None:
    world.networks.start()
    options: Strings = {"com.docker.network.bridge.enable_ip_masquerade": "false"}
    ipam = Ipam(config=[IpamConfig("10.70.0.0/16")])
    world.networks.create(NetworkCreate("mine", options=options, ipam=ipam))
    a, place = world.start(container("a", network="mine"))
    with world.other.inside():
        ip("route", "add", "10.70.0.0/16", "via", HOST)
    with tcp_server(80, space=world.other) as server:
        assert greet(server, (OTHER_MACHINE, 80), a) == place.ip


def test_ports_of_a_network_that_are_the_hosts_own(world: World) -> None:
    world.networks.start()
    world.networks.create(_with(bridge__host_binding_ipv4="127.0.0.1"))
    a, place = world.start(container("a", network="mine", publish="8080:80/tcp"))
    assert place.ports[0].host_ip == "127.0.0.1"
    with tcp_server(80, space=a) as server:
        assert greet(server, ("127.0.0.1", 8080)) == place.gateway
        assert refusal((HOST, 8080), world.other) is ConnectionRefusedError


def test_names_and_sizes(world: World) -> None:
    world.networks.start()
    made = world.networks.create(
        _with(bridge__name="br-own", driver__mtu="1300", container_iface_prefix="lan")
    )
    a, place = world.start(container("a", network="mine"))
    assert (place.bridge, place.interface, place.mtu) == ("br-own", "lan0", 1300)
    with a.inside():
        assert "mtu 1300" in ip("link", "show", "lan0")
    world.networks.release("a" * 64)
    world.networks.remove(made.id)
    assert "br-own" not in ip("link")


def test_a_hundred_networks(world: World) -> None:
    """More than Docker's pools have: the rest are named, and none is left."""
    world.networks.start()
    before = {name for _, name in socket.if_nameindex()}
    for number in range(100):
        config = [IpamConfig(f"10.100.{number}.0/24")] if number >= 30 else []
        world.networks.create(NetworkCreate(f"n{number}", ipam=Ipam(config=config)))
    a, place = world.start(container("a", network="n99", publish="8080:80/tcp"))
    with tcp_server(80, space=a) as server:
        assert greet(server, (HOST, 8080), world.other) == OTHER_MACHINE
    assert place.ip == "10.100.99.2"
    a.end()
    world.networks.release("a" * 64)
    for number in range(100):
        world.networks.remove(f"n{number}")
    assert {name for _, name in socket.if_nameindex()} == before


def test_pools_that_are_used_up(world: World) -> None:
    world.networks.start()
    for number in range(30):
        world.networks.create(NetworkCreate(f"n{number}"))
    with pytest.raises(Conflict, match="every subnet of the address pools"):
        world.networks.create(NetworkCreate("last"))
    world.networks.remove("n7")
    assert world.networks.create(NetworkCreate("again")).ipam.config[0].subnet == "172.25.0.0/16"
