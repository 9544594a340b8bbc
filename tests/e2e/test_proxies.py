"""Published ports by IPv6, which the helper carries: from the host's own loopback, with the engine alive and dead."""

from __future__ import annotations

import contextlib
import os
import signal
import socket

import pytest

from tests.support.command import Cli
from tests.support.engine import Engine
from tests.support.helper import helpers_of
from tests.support.process import wait_until
from tests.support.spaces import network_of

pytestmark = [pytest.mark.root, pytest.mark.network]


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


pytestmark.append(pytest.mark.skipif(not _has_ipv6(), reason="the host has no IPv6"))


def greets(server: socket.socket, port: int) -> bool:
    """Whether a connection to ``[::1]`` comes to the server in the container. The port is the whole machine's: who else
    knocks is told apart."""
    word = os.urandom(8)
    try:
        near = socket.create_connection(("::1", port), timeout=5)
    except ConnectionRefusedError:
        return False
    with near:
        near.sendall(word)
        while True:
            try:
                far, _ = server.accept()
            except TimeoutError:
                return False
            with far, contextlib.suppress(TimeoutError):
                far.settimeout(5)
                if far.recv(8) == word:
                    far.sendall(b"hello")
                    return near.recv(5) == b"hello"


@pytest.fixture
def published(engine: Engine, cli: Cli, busybox: str) -> tuple[int, int]:
    """A container's init and the host's port of its port 80."""
    cli("run", "-d", "--name", "web", "-p", "80", busybox, "sleep", "1000").check()
    port = cli("port", "web", "80").check().lines[0].rpartition(":")[2]
    return engine.init("web"), int(port)


def test_a_published_port_is_reached_by_ipv6(
    engine: Engine, cli: Cli, busybox: str, published: tuple[int, int]
) -> None:
    init, port = published
    with network_of(init):
        server = socket.create_server(("0.0.0.0", 80))
    with server:
        server.settimeout(5)
        wait_until(lambda: greets(server, port), "the proxy")
        engine.kill()
        assert greets(server, port)
        engine.start()
        assert greets(server, port)
        (helper,) = helpers_of(engine.root)
        os.kill(helper, signal.SIGKILL)
        wait_until(lambda: bool(set(helpers_of(engine.root)) - {helper}), "another helper")
        wait_until(lambda: greets(server, port), "its proxy")
    cli("rm", "-f", "web").check()
    again = cli("run", "-d", "--name", "web", "-p", f"{port}:80", busybox, "sleep", "1000").check()
    assert again.out
    cli("rm", "-f", "web").check()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("::1", port), timeout=5)
    wait_until(lambda: not helpers_of(engine.root), "the end of the helper")


def test_carried_ports_follow_the_networks(
    engine: Engine, cli: Cli, busybox: str, published: tuple[int, int]
) -> None:
    """The way out is another network's, one with IPv6 of its own, none, and the first again; nobody else gets the
    port meanwhile."""
    init, port = published
    cli("network", "create", "aaa").check()
    cli("network", "create", "--ipv6", "--subnet", "fd00:92::/64", "six").check()
    with network_of(init):
        server = socket.create_server(("::", 80), family=socket.AF_INET6, dualstack_ipv6=True)
    with server:
        server.settimeout(5)
        wait_until(lambda: greets(server, port), "the proxy")
        for options in (("aaa",), ("--gw-priority", "7", "six")):
            cli("network", "connect", *options, "web").check()
            assert greets(server, port)
        engine.kill()
        engine.start()
        assert greets(server, port)  # by a socket that only the helper has
        cli("network", "disconnect", "six", "web").check()
        assert not engine.inspect("web")["NetworkSettings"]["Networks"].get("six")
        assert _ports(cli) == [("0.0.0.0", _port(cli)), ("::", _port(cli))]
        assert greets(server, _port(cli))
        for network in ("aaa", "bridge"):
            cli("network", "disconnect", network, "web").check()
        assert _ports(cli) == []
        cli("network", "connect", "bridge", "web").check()
        assert greets(server, _port(cli))
    fixed = cli("run", "-d", "--name", "one", "-p", f"[::1]:{port}:80", busybox, "sleep", "1000")
    assert fixed.check().out
    taken = cli("run", "-d", "--name", "two", "-p", f"[::]:{port}:80", busybox, "sleep", "1000")
    assert "port is already allocated" in taken.err
    for _ in range(5):  # the helper lets go before the next one binds
        cli("rm", "-f", "one").check()
        cli("run", "-d", "--name", "one", "-p", f"[::]:{port}:80", busybox, "sleep", "1000").check()


def _ports(cli: Cli) -> list[tuple[str, int]]:
    places = [line.rpartition(":") for line in cli("port", "web", "80").lines]
    return [(address.strip("[]"), int(number)) for address, _, number in places]


def _port(cli: Cli) -> int:
    return _ports(cli)[0][1]


def test_a_port_that_somebody_has_is_told(engine: Engine, cli: Cli, busybox: str) -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as other:
        port = other.getsockname()[1]
        result = cli("run", "-p", f"{port}:80", busybox, "true")
    assert result.code == 125
    assert f"[::]:{port}" in result.err
    assert "in use" in result.err
    assert cli("run", "--rm", "-p", f"{port}:80", busybox, "true").code == 0
