"""An engine without a firewall: what serves instead, what is said of it, and what is refused."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import without_netfilter
from tests.support.command import Cli
from tests.support.dns import look_up
from tests.support.engine import Engine
from tests.support.helper import helpers_of
from tests.support.process import wait_until
from tests.support.spaces import HOST, OTHER_MACHINE, Space, ip, network_of, private_host

pytestmark = [pytest.mark.root, pytest.mark.network]
NO_NETFILTER = (sys.executable, without_netfilter.__file__)
PORT = 18400
SLEEP = ("busybox", "sleep", "1h")


@pytest.fixture
def other(engine: Engine, busybox_archive: Path) -> Iterator[Space]:
    """Another machine, which is connected to a host where the test and ``engine`` stand from now on; no engine runs."""
    engine.load(busybox_archive)
    engine.stop()
    with private_host():
        space = Space()
        try:
            ip("link", "set", "lo", "up")
            ip("link", "add", "uplink", "type", "veth", "peer", "name", "uplink", "netns", str(space.pid))
            ip("address", "add", f"{HOST}/24", "dev", "uplink")
            ip("link", "set", "uplink", "up")
            with space.inside():
                ip("link", "set", "lo", "up")
                ip("address", "add", f"{OTHER_MACHINE}/24", "dev", "uplink")
                ip("link", "set", "uplink", "up")
            yield space
            engine.remove()
        finally:
            space.end()


def streams(init: int) -> socket.socket:
    """What listens in a container, by both families."""
    with network_of(init):
        made = socket.create_server(("::", 80), family=socket.AF_INET6, dualstack_ipv6=True)
    made.settimeout(5)
    return made


def datagrams(init: int) -> socket.socket:
    """The same for datagrams."""
    with network_of(init):
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind(("", 53))
    made.settimeout(5)
    return made


def greets(server: socket.socket, address: str, pid: int | None = None) -> bool:
    """Whether a connection, from where a process stands, comes to the server."""
    with network_of(pid or os.getpid()):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        near = socket.socket(family)
    with near:
        near.settimeout(5)
        try:
            near.connect((address, PORT))
        except ConnectionRefusedError:
            return False
        far, _ = server.accept()
        with far:
            near.sendall(b"ping")
            assert far.recv(4) == b"ping"
            far.sendall(b"pong")
            return near.recv(4) == b"pong"


def asks(server: socket.socket, address: str, pid: int | None = None) -> bool:
    """The same of a datagram and its answer, which is to come from the address that was asked."""
    with network_of(pid or os.getpid()):
        near = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    with near:
        near.settimeout(5)
        near.connect((address, PORT))
        near.send(b"ping")
        try:
            word, client = server.recvfrom(10)
        except TimeoutError:
            return False
        server.sendto(word[::-1], client)
        return near.recv(10) == b"gnip"


def test_ports_are_carried(engine: Engine, other: Space) -> None:
    """From wherever they are reached, by both families and protocols; while the engine is dead, and after the helper
    was."""
    engine.start("--firewall", "none")
    cli = engine.docker
    ports = ("-p", f"{PORT}:80", "-p", f"{PORT}:53/udp")
    started = cli("run", "-d", "--init", "--name", "web", *ports, *SLEEP).check()
    assert "No firewall (the engine was started with --firewall none): containers reach this host" in started.err
    cli("run", "-d", "--init", "--name", "neighbour", *SLEEP).check()
    init, neighbour = engine.init("web"), engine.init("neighbour")
    gateway = engine.inspect("web")["NetworkSettings"]["Gateway"]
    everywhere = [("127.0.0.1", None), ("::1", None), (HOST, None), (gateway, None),
                  (HOST, other.pid), (HOST, neighbour), (gateway, neighbour), (gateway, init)]  # fmt: skip
    with streams(init) as server, datagrams(init) as names:
        assert greets(server, "127.0.0.1")  # it need not have begun to carry
        wait_until(lambda: asks(names, "127.0.0.1"), "the proxy of datagrams")
        for address, pid in everywhere:
            assert greets(server, address, pid), (address, pid)
            assert asks(names, address, pid), (address, pid)
        engine.kill()
        assert greets(server, HOST, other.pid)
        assert asks(names, HOST, other.pid)
        engine.start("--firewall", "none")
        (helper,) = helpers_of(engine.root)
        assert greets(server, HOST, other.pid)
        os.kill(helper, signal.SIGKILL)
        wait_until(lambda: bool(set(helpers_of(engine.root)) - {helper}), "another helper")
        wait_until(lambda: greets(server, "127.0.0.1"), "its proxy")
        assert greets(server, HOST, other.pid)
        wait_until(lambda: asks(names, HOST, other.pid), "its proxy of datagrams")
        _refusals(cli)
    cli("rm", "-f", "web").check()
    with socket.create_server((HOST, PORT)):
        pass
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", PORT)) != 0


def _refusals(cli: Cli) -> None:
    """Ports that another container or process has, and what takes a firewall."""
    taken = cli("run", "-d", "-p", f"{PORT}:80", *SLEEP)
    assert (taken.code, "port is already allocated" in taken.err) == (125, True)
    with socket.create_server(("127.0.0.1", PORT + 1)):
        taken = cli("run", "-d", "-p", f"{PORT + 1}:80", *SLEEP)
    assert (taken.code, f"({os.getpid()}) has it" in taken.err) == (125, True)
    sctp = cli("run", "-d", "-p", f"{PORT + 1}:80/sctp", *SLEEP)
    assert (sctp.code, "SCTP port 80: it takes nf_tables" in sctp.err) == (125, True)
    routed = cli("network", "create", "-o", "com.docker.network.bridge.enable_ip_masquerade=false", "routed")
    assert (routed.code, "a network with a way out takes a firewall" in routed.err) == (1, True)


def test_it_is_said(engine: Engine, other: Space) -> None:
    engine.start("--firewall", "none")
    told = engine.api("GET", "/info").check().json
    assert told["FirewallBackend"]["Driver"] == "none"
    (warning,) = [one for one in told["Warnings"] if "firewall" in one]
    assert "the network helper carries published ports" in warning
    assert "WARNING: No firewall (the engine was started with --firewall none)" in engine.docker("info").check().err
    assert "No firewall (the engine was started with --firewall none)" in engine.said()
    made = engine.cli("network", "create", "mine").check()
    assert "WARNING: No firewall" in made.err
    said = engine.cli("network", "explain", "mine").check().out
    assert "They reach no other machine" in said
    assert engine.cli("network", "create", "--internal", "inner").check().err == ""
    assert engine.cli("run", "--rm", "--network", "host", "busybox", "true").check().err == ""


def test_an_engine_for_which_there_is_no_netfilter(engine: Engine, other: Space) -> None:
    """It finds out by itself, and serves names and ports all the same; who insists on nf_tables has no networks."""
    engine.within = NO_NETFILTER
    engine.start()
    cli = engine.docker
    assert "No firewall (this kernel lacks nf_tables; modprobe nf_tables may help)" in cli("info").check().err
    cli("network", "create", "mine").check()
    for name, options in (("web", ("-p", f"{PORT}:80")), ("client", ())):
        cli("run", "-d", "--init", "--name", name, "--network", "mine", *options, *SLEEP).check()
    address = engine.inspect("web")["NetworkSettings"]["Networks"]["mine"]["IPAddress"]
    client = engine.init("client")
    assert address in cli("exec", "client", "nslookup", "web").check().out
    assert look_up(client, "web") == look_up(client, "web", stream=True) == [address]
    with streams(engine.init("web")) as server:
        wait_until(lambda: greets(server, HOST, other.pid), "the proxy")
        (helper,) = helpers_of(engine.root)
        os.kill(helper, signal.SIGKILL)
        wait_until(lambda: bool(set(helpers_of(engine.root)) - {helper}), "another helper")
        wait_until(lambda: greets(server, HOST, other.pid), "its proxy")
    assert address in cli("exec", "client", "nslookup", "web").check().out
    cli("rm", "-f", "web", "client").check()
    engine.stop()
    engine.start("--firewall", "nftables")
    refused = cli("run", "-d", *SLEEP)
    assert (refused.code, "this kernel lacks nf_tables" in refused.err) == (125, True)


def test_a_firewall_that_is_lost(engine: Engine, other: Space) -> None:
    """A port that rules translated is carried by the next engine, if that has none, and goes on being so with the
    one after it, which has one for all others."""
    engine.start()
    cli = engine.docker
    cli("run", "-d", "--init", "--name", "web", "-p", f"{PORT}:80", *SLEEP).check()
    with streams(engine.init("web")) as server:
        assert greets(server, HOST, other.pid)
        engine.kill()
        assert greets(server, HOST, other.pid)
        engine.start("--firewall", "none")
        wait_until(lambda: greets(server, HOST, other.pid), "the proxy")
        engine.kill()
        engine.start()
        assert greets(server, HOST, other.pid)
    cli("rm", "-f", "web").check()
    cli("run", "-d", "--init", "--name", "web", "-p", f"{PORT}:80", *SLEEP).check()
    with streams(engine.init("web")) as server:
        assert greets(server, HOST, other.pid)
    assert engine.api("GET", "/info").check().json["FirewallBackend"]["Driver"] == "nftables"
