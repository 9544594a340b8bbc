"""An endpoint, its operations, and both over JSON."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from typing import Any

from corten.network.endpoint import LOOPBACK_ONLY, Binding, Endpoint, operations, with_way_out
from corten.network.link import Reroute
from corten.spec.operation import INIT, PARENT, decode, encode

ENDPOINT = Endpoint(
    network="bridge",
    network_id="1" * 64,
    endpoint_id="2" * 64,
    container_id="3" * 64,
    bridge="corten0",
    host_interface="vethabcdef0",
    interface="eth0",
    ip="172.17.0.2",
    prefix=16,
    gateway="172.17.0.1",
    mac="02:42:ac:11:00:02",
    mtu=1500,
    ports=(Binding("tcp", "0.0.0.0", 8080, 80),),
)


def test_an_endpoint_is_json() -> None:
    assert Endpoint.decode(json.loads(json.dumps(ENDPOINT.encode()))) == ENDPOINT


def test_operations_are_json() -> None:
    for step in ENDPOINT.operations:
        assert decode(json.loads(json.dumps(encode(step)))) == step


def test_operations_explain_themselves() -> None:
    described = [(step.stage, step.what(), step.shell()) for step in ENDPOINT.operations]
    assert described == [
        (INIT, "lo", "ip link set lo up"),
        (
            PARENT,
            "vethabcdef0 to eth0",
            "ip link add vethabcdef0 mtu 1500 numtxqueues 1 numrxqueues 1 master corten0 type veth "
            'peer name eth0 address 02:42:ac:11:00:02 mtu 1500 numtxqueues 1 numrxqueues 1 netns "$PID" && '
            "ip link set vethabcdef0 type bridge_slave hairpin on && "
            "ip link set vethabcdef0 addrgenmode none && ip link set vethabcdef0 up",
        ),
        (
            INIT,
            "/proc/sys/net/ipv6/conf/eth0/disable_ipv6",
            "echo 1 > /proc/sys/net/ipv6/conf/eth0/disable_ipv6",
        ),
        (
            INIT,
            "eth0 172.17.0.2/16",
            "ip address add 172.17.0.2/16 broadcast + dev eth0 && ip link set eth0 up",
        ),
        (INIT, "default via 172.17.0.1", "ip route add default via 172.17.0.1"),
    ]
    assert all(step.why().endswith(".") and step.group == "network" for step in ENDPOINT.operations)
    assert [step.what() for step in LOOPBACK_ONLY] == ["lo"]


def test_an_endpoint_with_everything_is_json_and_explains_itself() -> None:
    place = dataclasses.replace(
        ENDPOINT, ip6="fd00::2", prefix6=64, gateway6="fd00::1", isolated=True,
        switches=(("ipv4/conf/eth0/log_martians", "1"),), link_local=("169.254.8.8", "fe80::8"),
    )  # fmt: skip
    assert Endpoint.decode(json.loads(json.dumps(place.encode()))) == place
    steps = [*place.operations, place.unplugged, Reroute("fd00::1")]
    assert [decode(json.loads(json.dumps(encode(step)))) for step in steps] == steps
    assert [(step.stage, step.shell()) for step in steps[2:]] == [
        (INIT, " && ".join(
            f"echo 0 > /proc/sys/net/ipv6/conf/eth0/{name}" for name in ("accept_ra", "accept_dad", "disable_ipv6")
        )),
        (INIT, "echo 1 > /proc/sys/net/ipv4/conf/eth0/log_martians"),
        (INIT, "ip address add 172.17.0.2/16 broadcast + dev eth0 && ip link set eth0 up"),
        (INIT, "ip -6 address add fd00::2/64 dev eth0 nodad"),
        (INIT, "ip address add 169.254.8.8/16 broadcast + dev eth0 && ip link set eth0 up"),
        (INIT, "ip -6 address add fe80::8/64 dev eth0 nodad"),
        (INIT, "ip route add default via 172.17.0.1"),
        (INIT, "ip -6 route add default via fd00::1"),
        (PARENT, "ip link delete vethabcdef0"),
        (INIT, "ip -6 route replace default via fd00::1"),
    ]
    assert "hairpin on isolated on" in steps[1].shell()
    assert all(step.why().endswith((".", ")")) and step.group == "network" for step in steps)


def test_a_link_local_address_of_ipv6_takes_ipv6() -> None:
    """Also on a network that has none: the interface could not hold it otherwise."""
    kinds = [[step.kind for step in _place("a", link_local=(ip,)).plugged] for ip in ("169.254.8.8", "fe80::8")]
    assert ["network.ipv6" in one for one in kinds] == [False, True]
    assert [one[-1] for one in kinds] == ["network.address", "network.address6"]


def test_a_link_without_a_bridge() -> None:
    place = dataclasses.replace(ENDPOINT, driver="macvlan", mode="bridge", bridge="eth9", host_interface="")
    assert place.operations[1].shell() == (
        "ip link add link eth9 name eth0 address 02:42:ac:11:00:02 mtu 1500 "
        'netns "$PID" type macvlan mode bridge'
    )
    assert (place.unplugged.stage, place.unplugged.shell()) == (INIT, "ip link delete eth0")


def test_a_link_without_a_bridge_announces_itself() -> None:
    """An ipvlan link has its parent's Ethernet address, whoever it is."""
    place = dataclasses.replace(ENDPOINT, driver="macvlan", mode="bridge", ip6="fd00::2", prefix6=64)
    shells = [step.shell() for step in place.operations]
    notify, up = "echo 1 > /proc/sys/net/ipv4/conf/eth0/arp_notify", "ip address add 172.17.0.2/16"
    assert shells.index(notify) < next(number for number, text in enumerate(shells) if text.startswith(up))
    assert "ndsend fd00::2 eth0" in shells
    other = dataclasses.replace(place, driver="ipvlan", mode="l2")
    assert "ndsend fd00::2 eth0" not in [step.shell() for step in other.operations]
    steps = place.operations
    assert [decode(json.loads(json.dumps(encode(step)))) for step in steps] == list(steps)
    assert all(step.why().endswith(".") and step.what() for step in steps)


def _place(network: str, **fields: Any) -> Endpoint:
    return dataclasses.replace(ENDPOINT, network=network, endpoint_id=network, **fields)


def test_the_way_out_of_several() -> None:
    """The highest priority; then the first name; a family without a gateway there has it elsewhere."""

    def chosen(*places: Endpoint) -> tuple[str, str]:
        settled = with_way_out(places)
        out = [one.network for one in settled if one.way_out and one.gateway]
        out6 = [one.network for one in settled if one.way_out6 and one.gateway6]
        return "".join(out), "".join(out6)

    a, b = _place("a"), _place("b", gateway6="fd00::1")
    assert chosen(b, a) == ("a", "b")
    assert chosen(a, dataclasses.replace(b, priority=1)) == ("b", "b")
    assert chosen(dataclasses.replace(a, priority=-1), b) == ("b", "b")
    assert chosen(dataclasses.replace(a, gateway=""), b) == ("b", "b")
    assert chosen(dataclasses.replace(a, gateway="")) == ("", "")
    steps = [step.what() for step in operations(with_way_out((b, dataclasses.replace(a, interface="eth1"))))]
    assert steps.count("default via 172.17.0.1") == 1
    assert [step for step in steps if step.startswith("eth")] == ["eth0 172.17.0.2/16", "eth1 172.17.0.2/16"]


def test_links_are_light() -> None:
    """The spawner imports them: nothing of the engine's side comes along."""
    code = (
        "import sys, corten.network.link; "
        "print(*sorted({'ipaddress', 'msgspec', 'json', 'asyncio', 'ctypes'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert shown == "\n"
