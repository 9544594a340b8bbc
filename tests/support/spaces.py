"""A little world of network namespaces, for tests in one process.

A socket belongs to the namespace in which it was made, for life. So a test steps into a namespace, makes a
socket there, steps out, and holds both ends of a conversation between machines without a second process.

::

    other machine 198.51.100.2 ──veth── 198.51.100.1 host ──bridge── containers
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from corten.engine.database import Database
from corten.engine.model import (
    Container,
    ContainerConfig,
    EndpointIpam,
    EndpointRequest,
    HostConfig,
    NetworkingConfig,
    PortBinding,
)
from corten.engine.networks import Networks
from corten.network.endpoint import Endpoint, operations
from corten.runtime.stages.context import LaunchContext
from corten.spec.operation import INIT, Operation
from corten.sys import process

HOST, OTHER_MACHINE = "198.51.100.1", "198.51.100.2"
HOST6, OTHER_MACHINE6 = "2001:db8::1", "2001:db8::2"
BRIDGE, TABLE = "ct-test", "corten_test"
_CLONE_NEWNET = 0x40000000


@contextlib.contextmanager
def network_of(pid: int) -> Iterator[None]:
    """Stand in a process's network namespace; sockets made here stay there."""
    home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    there = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        process.setns(there, _CLONE_NEWNET)
        yield
    finally:
        process.setns(home, _CLONE_NEWNET)
        os.close(home)
        os.close(there)


class Space:
    """A network namespace, alive while a process of its own waits in it."""

    def __init__(self) -> None:
        mine, theirs = socket.socketpair()
        self.pid = os.fork()
        if not self.pid:
            _hold_namespace(theirs.fileno())
        theirs.close()
        self._life = mine
        assert mine.recv(5) == b"ready"

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Be in it."""
        with network_of(self.pid):
            yield

    def end(self) -> None:
        """End the process, and with it the namespace."""
        self._life.close()
        if self.pid:
            os.waitpid(self.pid, 0)
            self.pid = 0


def _hold_namespace(life: int) -> None:
    """In the child, which keeps no other descriptor of the test's, and ends with the test: never returns."""
    try:
        os.closerange(0, life)
        os.closerange(life + 1, 65536)
        process.unshare(_CLONE_NEWNET)
        os.write(life, b"ready")
        os.read(life, 1)
    finally:
        os._exit(0)


def seen_by_monitor(init_pid: int) -> LaunchContext:
    """The context of operations of stage ``parent``."""
    context = LaunchContext()
    context.init_pid = init_pid
    return context


def execute(operations: tuple[Operation, ...], space: Space) -> None:
    """The host's operations, then the init's, as a launch does them."""
    for step in operations:
        if step.stage != INIT:
            step.run(seen_by_monitor(space.pid))
    with space.inside():
        for step in operations:
            if step.stage == INIT:
                step.run(LaunchContext())


def ip(*arguments: str) -> str:
    """Run ip(8)."""
    return subprocess.run(["ip", *arguments], check=True, text=True, capture_output=True).stdout


def nft(*arguments: str) -> str:
    """Run nft(8)."""
    return subprocess.run(["nft", *arguments], check=True, text=True, capture_output=True).stdout


def ruleset() -> str:
    """What nft(8) shows."""
    return nft("list", "ruleset")


class World:
    """The host, in which the test itself stands, the other machine, and containers."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._closing = contextlib.ExitStack()
        self.other = self._space()
        ip("link", "set", "lo", "up")
        ip("link", "add", "uplink", "type", "veth", "peer", "name", "uplink", "netns", str(self.other.pid))
        ip("address", "add", f"{HOST}/24", "dev", "uplink")
        ip("link", "set", "uplink", "up")
        with self.other.inside():
            ip("link", "set", "lo", "up")
            ip("address", "add", f"{OTHER_MACHINE}/24", "dev", "uplink")
            ip("link", "set", "uplink", "up")
        ip("route", "add", "default", "via", OTHER_MACHINE)
        self.networks = self.engine()

    def with_ipv6(self) -> None:
        """Give host and other machine IPv6, and the host a way out."""
        ip("-6", "address", "add", f"{HOST6}/64", "dev", "uplink", "nodad")
        with self.other.inside():
            ip("-6", "address", "add", f"{OTHER_MACHINE6}/64", "dev", "uplink", "nodad")
        ip("-6", "route", "add", "default", "via", OTHER_MACHINE6)

    def engine(self, *, ipv6: bool = False, firewall: str = "nftables") -> Networks:
        """The networks of an engine; another call is another engine on the same data root."""
        database = Database(self._root / "test.db")
        networks = Networks(
            database, bridge=BRIDGE, table=TABLE, name_of=lambda id: f"name-{id[0]}", ipv6=ipv6, firewall=firewall
        )
        self._closing.callback(database.close)
        self._closing.callback(networks.close)
        return networks

    def _space(self) -> Space:
        space = Space()
        self._closing.callback(space.end)
        return space

    def place(self, container: Container) -> tuple[Space, Endpoint]:
        """A container before its operations."""
        endpoints = self.networks.attach(container)
        assert endpoints
        return self._space(), self.networks.publish(container, endpoints)[0]

    def start(self, container: Container) -> tuple[Space, Endpoint]:
        """A running container."""
        space, endpoint = self.place(container)
        execute(operations(self.networks.endpoints_of(container.id)), space)
        return space, endpoint

    def close(self) -> None:
        """End it all; the namespaces take links and tables with them."""
        self._closing.close()


@contextlib.contextmanager
def private_host() -> Iterator[None]:
    """Stand in a network namespace of one's own."""
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    process.unshare(_CLONE_NEWNET)
    try:
        yield
    finally:
        process.setns(home)
        os.close(home)


def container(
    letter: str = "a",
    *,
    network: str = "bridge",
    publish: str = "",
    bindings: dict[str, list[PortBinding] | None] | None = None,
    **asked: str,
) -> Container:
    """A container's record, its ID one letter repeated; ``publish`` is ``[ip:]port:port/protocol`` words, ``asked``
    the addresses that it wants (``ip``, ``ip6``)."""
    ports = dict(bindings or {})
    for word in publish.split():
        place, _, target = word.rpartition(":")
        host_ip, _, host_port = place.rpartition(":")
        ports[target] = [*(ports.get(target) or []), PortBinding(host_ip, host_port)]
    ipam = EndpointIpam(ipv4_address=asked.get("ip", ""), ipv6_address=asked.get("ip6", ""))
    return Container(
        id=letter * 64,
        name=f"name-{letter}",
        created="",
        image="",
        config=ContainerConfig(hostname=f"host-{letter}"),
        host=HostConfig(network_mode=network, port_bindings=ports),
        networking=NetworkingConfig({network: EndpointRequest(ipam_config=ipam)} if asked else None),
        path="",
        args=[],
        layers=[],
    )


@contextlib.contextmanager
def tcp_server(port: int, *, address: str = "0.0.0.0", space: Space | None = None) -> Iterator[socket.socket]:
    """A listening socket in a namespace (the host's own when None)."""
    with space.inside() if space else contextlib.nullcontext():
        is_ipv6 = ":" in address
        family = socket.AF_INET6 if is_ipv6 else socket.AF_INET
        server = socket.create_server((address, port), family=family, dualstack_ipv6=is_ipv6)
    with server:
        server.settimeout(5)
        yield server


def greet(server: socket.socket, address: tuple[str, int], space: Space | None = None) -> str:
    """Connect from a namespace (the host's own when None), exchange a word each way; the client's address as
    the server sees it."""
    with contextlib.ExitStack() as closing:
        with space.inside() if space else contextlib.nullcontext():
            client = closing.enter_context(socket.create_connection(address, timeout=5))
        accepted, peer = server.accept()
        closing.enter_context(accepted)
        client.sendall(b"ping")
        assert accepted.recv(4) == b"ping"
        accepted.sendall(b"pong")
        assert client.recv(4) == b"pong"
        return str(peer[0])


def refusal(address: tuple[str, int], space: Space | None = None) -> type[OSError]:
    """How a connection fails: refused, or unanswered for half a second."""
    with space.inside() if space else contextlib.nullcontext():
        try:
            socket.create_connection(address, timeout=0.5).close()
        except OSError as error:
            return type(error)
    raise AssertionError(f"{address} answers")
