"""An endpoint, its operations, and both over JSON."""

from __future__ import annotations

import json
import subprocess
import sys

from corten.network.endpoint import LOOPBACK_ONLY, Binding, Endpoint
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


def test_links_are_light() -> None:
    """The spawner imports them: nothing of the engine's side comes along."""
    code = (
        "import sys, corten.network.link; "
        "print(*sorted({'ipaddress', 'msgspec', 'json', 'asyncio', 'ctypes'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert shown == "\n"
