"""What the engine makes on the host, keeps over its own death, and takes away."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import socket
import stat
import subprocess
import threading
from pathlib import Path

import pytest

from corten.engine.network_model import Ipam, IpamConfig, NetworkCreate
from corten.errors import AccessDenied, Conflict, InvalidInput, Unsupported
from corten.network import host
from corten.network.endpoint import Endpoint
from corten.network.link import VethPair
from corten.network.ports import port_requests
from corten.spec.operation import PARENT
from corten.sys.netlink import NetlinkError
from tests.support.spaces import (
    BRIDGE,
    HOST,
    OTHER_MACHINE,
    TABLE,
    Space,
    World,
    container,
    greet,
    ip,
    nft,
    ruleset,
    seen_by_monitor,
    tcp_server,
)

pytestmark = [pytest.mark.network, pytest.mark.root]


def link_names() -> set[str]:
    """The host's interfaces. (/sys/class/net shows those of the namespace in which /sys was mounted.)"""
    return {name for _, name in socket.if_nameindex()}


def test_a_container_has_an_address_a_way_out_and_no_ipv6(world: World) -> None:
    world.networks.start()
    a, place = world.start(container("a"))
    with a.inside():
        shown = ip("-o", "address", "show", "eth0")
        assert f"inet {place.ip}/16 brd 172.17.255.255" in shown
        assert "inet6" not in shown
        assert place.mac == "02:42:ac:11:00:02"
        assert f"link/ether {place.mac}" in ip("link", "show", "eth0")
        assert f"default via {place.gateway} dev eth0" in ip("route")
        assert "127.0.0.1/8" in ip("address", "show", "lo")
    port = ip("-d", "link", "show", place.host_interface)
    assert f"master {BRIDGE}" in port
    assert "hairpin on" in port
    assert "inet6" not in ip("address", "show", place.host_interface)


def test_the_shell_equivalents_do_the_same(world: World) -> None:
    world.networks.start()
    a, place = world.start(container("a"))
    by_hand, other_place = world.place(container("b"))
    for step in other_place.operations:
        with contextlib.nullcontext() if step.stage == PARENT else by_hand.inside():
            subprocess.run(["sh", "-ec", step.shell()], check=True, env={**os.environ, "PID": str(by_hand.pid)})
    assert _shown(by_hand, other_place) == _shown(a, place)


def _shown(space: Space, place: Endpoint) -> list[str]:
    """What ip(8) shows of a container's link, but for what is one container's own."""
    shown = [ip("-d", "link", "show", place.host_interface)]
    with space.inside():
        shown += [ip("-d", "address", "show", "eth0"), ip("route"), ip("address", "show", "lo")]
    own = rf"{place.host_interface}|{place.ip}|{place.mac}|^\d+:|@if\d+|link/ether [0-9a-f:]+|netnsid \d+|0x800\d"
    numbers = r"(port_no|designated_port|designated_bridge|designated_root|_timer +) *[0-9a-fx.:]+"
    return [re.sub(numbers, "", re.sub(own, "", text, flags=re.M)) for text in shown]


def test_the_bridge_keeps_its_ethernet_address(world: World) -> None:
    world.networks.start()
    assert "link/ether 02:42:ac:11:00:01" in ip("link", "show", BRIDGE)
    world.start(container("a"))
    assert "link/ether 02:42:ac:11:00:01" in ip("link", "show", BRIDGE)


def test_forwarding_is_switched_on_openly(world: World) -> None:
    Path("/proc/sys/net/ipv4/ip_forward").write_text("0")
    (notice,) = world.networks.start()
    assert "ip_forward" in notice
    assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == "1\n"
    assert world.engine().start() == []


def test_links_take_the_mtu_of_the_way_out(world: World) -> None:
    ip("link", "set", "uplink", "mtu", "1400")
    world.networks.start()
    a, _ = world.start(container("a"))
    with a.inside():
        assert "mtu 1400" in ip("link", "show", "eth0")


def test_a_subnet_that_the_host_has_a_route_to_is_not_chosen(world: World) -> None:
    ip("route", "add", "172.17.5.0/24", "via", OTHER_MACHINE)
    world.networks.start()
    _, place = world.start(container("a"))
    assert (place.ip, place.gateway) == ("172.18.0.2", "172.18.0.1")


def test_another_engine_adopts_what_runs(world: World) -> None:
    """The old one's sockets are gone with it; traffic never stops."""
    world.networks.start()
    a, place = world.start(container("a", publish="8080:80/tcp"))
    world.networks.close()
    with tcp_server(80, space=a) as server:
        assert greet(server, (HOST, 8080), world.other) == OTHER_MACHINE
        world.networks = world.engine()
        assert world.networks.start([place]) == []
        assert greet(server, (HOST, 8080), world.other) == OTHER_MACHINE
    _, next_place = world.start(container("b"))
    assert next_place.ip == "172.17.0.3"
    with pytest.raises(Conflict, match=r"Bind for 0\.0\.0\.0:8080 failed: port is already allocated"):
        world.start(container("c", publish="8080:80/tcp"))


def test_a_port_that_was_taken_while_no_engine_ran_is_told(world: World) -> None:
    world.networks.start()
    _, place = world.start(container("a", publish="8080:80/tcp"))
    world.networks.close()
    with tcp_server(8080):
        (notice,) = world.engine().start([place])
    assert "0.0.0.0:8080/tcp: address already in use" in notice


def test_an_idle_default_network_moves_off_a_route_that_came_later(world: World) -> None:
    world.networks.start()
    world.networks.remove_from_host()
    ip("route", "add", "172.17.0.0/16", "via", OTHER_MACHINE)
    world.networks = world.engine()
    world.networks.start()
    assert world.networks.inspect("bridge").ipam.config == [IpamConfig("172.18.0.0/16", "172.18.0.1")]
    assert "172.18.0.1/16" in ip("address", "show", BRIDGE)


def test_cables_that_no_container_has_are_removed_and_others_left_alone(world: World) -> None:
    world.networks.start()
    _, place = world.start(container("a"))
    ip("link", "add", "lost", "master", BRIDGE, "type", "veth", "peer", "name", "lost-end")
    ip("link", "add", "foreign", "type", "bridge")
    ip("link", "add", "theirs", "master", "foreign", "type", "veth", "peer", "name", "theirs-end")
    world.engine().start([place])
    left = link_names()
    assert {place.host_interface, "foreign", "theirs"} <= left
    assert "lost" not in left


def test_a_deleted_bridge_is_made_anew_by_the_next_container(world: World) -> None:
    world.networks.start()
    ip("link", "delete", BRIDGE)
    a, place = world.start(container("a"))
    with tcp_server(80, space=a) as server:
        assert greet(server, (place.ip, 80)) == place.gateway


def test_the_cable_goes_with_the_namespace(world: World) -> None:
    world.networks.start()
    a, place = world.start(container("a"))
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as news:
        news.bind((0, 1))  # RTMGRP_LINK
        news.settimeout(10)
        a.end()
        while place.host_interface in link_names():
            news.recv(65536)


def test_nothing_is_left(world: World) -> None:
    links, rules = link_names(), ruleset()
    world.networks.start()
    world.networks.create(NetworkCreate("mine"))
    assert f"table ip {TABLE}" in ruleset()
    world.networks.remove_from_host()
    assert (link_names(), ruleset()) == (links, rules)


def test_other_tables_are_left_alone(world: World) -> None:
    nft("add", "table", "ip", "theirs")
    world.networks.start()
    world.networks.remove_from_host()
    assert ruleset() == "table ip theirs {\n}\n"


def test_an_interface_of_the_bridges_name_that_is_no_bridge_is_told(world: World) -> None:
    ip("link", "add", BRIDGE, "type", "veth", "peer", "name", "its-end")
    (notice,) = world.networks.start()
    assert "exists and is no bridge" in notice
    with pytest.raises(Conflict, match="exists and is no bridge"):
        world.networks.attach(container("a"))


def test_the_kernels_own_words_are_in_the_error(world: World) -> None:
    world.networks.start()
    cable = VethPair("cable", BRIDGE, "no/such", "02:42:ac:11:00:02", 1500)
    with pytest.raises(NetlinkError, match="Invalid argument") as caught:
        cable.run(seen_by_monitor(os.getpid()))
    assert caught.value.index == 0


def test_engines_take_turns(world: World) -> None:
    """Two descriptors of the namespace stand for two engines."""
    entered = threading.Event()

    def enter() -> None:
        with host.exclusive():
            entered.set()

    with host.exclusive():
        second = threading.Thread(target=enter)
        second.start()
        with open("/proc/self/ns/net") as third, pytest.raises(BlockingIOError):
            fcntl.flock(third, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert not entered.is_set()
    second.join()
    assert entered.is_set()


def test_the_holders_of_a_port(world: World) -> None:
    """Nobody else can bind it, a connection to it is refused, and TIME_WAIT is no hindrance."""
    world.networks.start()
    with tcp_server(8080) as server:
        with pytest.raises(Conflict, match=r"failed to bind host port 0\.0\.0\.0:8080/tcp: address already"):
            world.start(container("a", publish="8080:80/tcp"))
        client = socket.create_connection(("127.0.0.1", 8080))
        server.accept()[0].close()  # who closes first is left with TIME_WAIT
        client.close()
    assert ":1F90" in Path("/proc/net/tcp").read_text()
    world.networks.release("a" * 64)
    world.start(container("a", publish="8080:80/tcp"))
    with pytest.raises(OSError, match="Address already in use"), tcp_server(8080):
        pass
    nft("flush", "ruleset")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", 8080))


def test_all_ports_of_a_container_or_none(world: World) -> None:
    world.networks.start()
    world.start(container("a", publish="8080:80/tcp"))
    with pytest.raises(Conflict, match="driver failed programming external connectivity on endpoint name-b"):
        world.start(container("b", publish="8081:80/tcp 8080:81/tcp"))
    assert "8081" not in ruleset()
    world.start(container("c", publish="8081:80/tcp"))


def test_a_range_and_a_port_of_the_engines_choice(world: World) -> None:
    world.networks.start()
    _, first = world.start(container("a", publish="8080-8081:80/tcp"))
    _, second = world.start(container("b", publish="8080-8081:80/tcp"))
    assert [first.ports[0].host_port, second.ports[0].host_port] == [8080, 8081]
    _, third = world.start(container("c", publish=":80/tcp :80/tcp"))
    low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    chosen = {binding.host_port for binding in third.ports}
    assert len(chosen) == 2
    assert all(low <= port <= high for port in chosen)


def test_ports_that_move_are_never_free(world: World) -> None:
    """Kept by the very socket while they are nobody's; what nobody took is free afterwards."""
    world.networks.start()
    ports = world.networks.ports
    _, place = world.start(container("a", publish="8080:80/tcp 8081:80/tcp"))
    before = {binding: ports.holder(binding) for binding in place.ports}
    with ports.kept(place.ports):
        world.networks.release("a" * 64)
        assert not any(ports.holder(binding) for binding in place.ports)
        with pytest.raises(OSError, match="Address already in use"), tcp_server(8080):
            pass
        _, next_one = world.start(container("b", publish="8080:80/tcp"))
    assert next_one.ports
    assert all(ports.holder(binding) is before[binding] for binding in next_one.ports)
    with pytest.raises(OSError, match="Address already in use"), tcp_server(8080):
        pass
    with tcp_server(8081):
        pass


def test_sockets_that_are_expected(world: World) -> None:
    """They keep no port from anybody, are the ones that are used, and go with the engine."""
    world.networks.start()
    ports = world.networks.ports
    requests = port_requests({"80/tcp": [("", "8080"), ("", "8081")], "53/udp": [("", "53")]})
    before = open_sockets()
    ports.expect(requests)
    made = open_sockets() - before
    assert len(made) == 6
    ports.expect(requests)
    assert open_sockets() - before == made
    with tcp_server(8080), pytest.raises(Conflict, match="address already in use"):
        world.start(container("a", publish="8080:80/tcp"))
    _, place = world.start(container("b", publish="8080:80/tcp 53:53/udp"))
    holders = [holder for holder in map(ports.holder, place.ports) if holder is not None]
    assert {os.fstat(holder.fileno()).st_ino for holder in holders} <= made
    with pytest.raises(OSError, match="Address already in use"), tcp_server(8080):
        pass
    ports.close()
    assert not open_sockets() & made


def open_sockets() -> set[int]:
    """The inodes of this process's own."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            about = os.stat(f"/proc/self/fd/{name}")
            found |= {about.st_ino} if stat.S_ISSOCK(about.st_mode) else set()
    return found


def test_an_address_that_is_not_the_hosts(world: World) -> None:
    world.networks.start()
    with pytest.raises(Exception, match=r"bind host port 203\.0\.113\.9:80/tcp: cannot assign requested address"):
        world.start(container("a", publish="203.0.113.9:80:80/tcp"))


def test_networks_of_users(world: World) -> None:
    networks = world.networks
    networks.start()
    asked = Ipam(config=[IpamConfig("10.99.0.0/24", "10.99.0.254")])
    made = networks.create(NetworkCreate("mine", ipam=asked, labels={"a": "b"}))
    assert made.ipam.config == [IpamConfig("10.99.0.0/24", "10.99.0.254")]
    assert f"br-{made.id[:12]}" in link_names()
    _, place = world.start(container("a", network="mine"))
    assert place.ip == "10.99.0.1"
    assert networks.inspect(made.id[:6]).containers["a" * 64].ipv4_address == "10.99.0.1/24"
    for refused, kind in [
        (NetworkCreate("mine"), Conflict),
        (NetworkCreate("other", ipam=asked), AccessDenied),
        (NetworkCreate("other", driver="overlay"), Unsupported),
        (NetworkCreate("other", ipam=Ipam(config=[IpamConfig("10.98.0.1/24")])), InvalidInput),
    ]:
        with pytest.raises(kind):
            networks.create(refused)
    with pytest.raises(AccessDenied, match="has active endpoints"):
        networks.remove("mine")
    networks.release("a" * 64)
    assert [network.name for network in networks.prune(["bridge"])] == ["mine"]
    assert [network.name for network in networks.list()] == ["bridge", "host", "none"]
    assert f"br-{made.id[:12]}" not in link_names()


def test_networks_of_users_outlive_their_engine(world: World) -> None:
    world.networks.start()
    made = world.networks.create(NetworkCreate("mine"))
    world.networks.close()
    world.networks = world.engine()
    world.networks.start()
    assert world.networks.get("mine") == made
    _, place = world.start(container("a", network="mine"))
    assert place.ip == "172.18.0.2"
