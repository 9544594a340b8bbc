"""Ports that the helper carries, TCP and UDP: from the host's own loopback to a container."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from corten.sys import messages
from tests.support.helper import Helper
from tests.support.process import wait_until
from tests.support.spaces import Space, World, container, tcp_server

pytestmark = [pytest.mark.root, pytest.mark.network]
PORT = 8080
BIG = bytes(range(256)) * 8192


@pytest.fixture
def helper(world: World, tmp_path: Path) -> Iterator[Helper]:
    """On the world's host."""
    made = Helper(tmp_path)
    try:
        yield made
    finally:
        made.end()


@pytest.fixture
def web(world: World) -> tuple[Space, str]:
    """A container and its address."""
    space, endpoint = world.start(container("a"))
    return space, endpoint.ip


def carry(helper: Helper, kind: socket.SocketKind, web: tuple[Space, str], key: str = "web") -> None:
    """Carry ``[::1]:8080`` to the container's port 80."""
    space, ip = web
    with socket.socket(socket.AF_INET6, kind) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(("::1", PORT))
        helper.carry(key, listener, (ip, 80), space.pid)


def client() -> socket.socket:
    """A connection, when the helper has begun to listen."""

    def connected() -> socket.socket | None:
        try:
            return socket.create_connection(("::1", PORT), timeout=10)
        except ConnectionRefusedError:
            return None

    found: list[socket.socket] = []

    def look() -> bool:
        if (one := connected()) is not None:
            found.append(one)
        return bool(found)

    wait_until(look, "the proxy")
    return found[0]


def whole(connection: socket.socket) -> bytes:
    """All that comes until the end."""
    with connection.makefile("rb") as reader:
        return reader.read()


def test_a_stream_goes_both_ways_whole(helper: Helper, web: tuple[Space, str]) -> None:
    carry(helper, socket.SOCK_STREAM, web)
    with tcp_server(80, space=web[0]) as server, client() as near:
        far, peer = server.accept()
        with far:
            assert peer[0] == web[1].rpartition(".")[0] + ".1"  # the host's own address
            sending = threading.Thread(target=near.sendall, args=(BIG,))
            sending.start()
            got = b""
            while len(got) < len(BIG):
                got += far.recv(1 << 16)
            sending.join()
            assert got == BIG
            near.shutdown(socket.SHUT_WR)  # half an end: the other direction goes on
            assert far.recv(1) == b""
            answering = threading.Thread(target=lambda: (far.sendall(BIG), far.shutdown(socket.SHUT_WR)))
            answering.start()
            assert whole(near) == BIG
            answering.join()


def test_where_nobody_listens_a_client_is_hung_up_on(helper: Helper, web: tuple[Space, str]) -> None:
    carry(helper, socket.SOCK_STREAM, web)
    with client() as near, contextlib.suppress(ConnectionResetError):
        assert near.recv(1) == b""


def test_what_is_too_much_is_reset(
    world: World, tmp_path: Path, web: tuple[Space, str], capfd: pytest.CaptureFixture[str]
) -> None:
    """With few descriptors 256 are carried; one that ends makes room for another, and the others go on."""
    helper = Helper(tmp_path, descriptors=1024)
    with contextlib.ExitStack() as closing:
        closing.callback(helper.end)
        carry(helper, socket.SOCK_STREAM, web)
        server = closing.enter_context(tcp_server(80, space=web[0]))
        pairs = []
        for _ in range(256):
            near = closing.enter_context(client())
            pairs.append((near, closing.enter_context(server.accept()[0])))
        for _ in range(2):
            with pytest.raises(ConnectionResetError), client() as refused:  # which connect(2) may see already
                refused.recv(1)
        near, far = pairs.pop()
        held = len(os.listdir(f"/proc/{helper.pid}/fd"))
        near.close()
        assert far.recv(1) == b""
        far.close()
        wait_until(lambda: len(os.listdir(f"/proc/{helper.pid}/fd")) == held - 2, "the helper lets go of both ends")
        with carried(server) as (again, there):
            _greeted(again, there)
        for near, far in pairs:
            _greeted(near, far)
    assert capfd.readouterr().err.count("256 connections and clients are carried, others are refused") == 1


def _greeted(near: socket.socket, far: socket.socket) -> None:
    near.sendall(b"ping")
    assert far.recv(4) == b"ping"
    far.sendall(b"pong")
    assert near.recv(4) == b"pong"


@contextlib.contextmanager
def carried(server: socket.socket) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A connection and its other end, once there is room: the helper hears of an end after the client."""
    found: list[socket.socket] = []

    def look() -> bool:
        near = client()
        if select.select([server, near], [], [], 10)[0] == [server]:
            found.append(near)
        else:
            near.close()
        return bool(found)

    wait_until(look, "room for one more")
    with found[0], server.accept()[0] as far:
        yield found[0], far


def test_datagrams_are_answered_to_whom_they_came_from(helper: Helper, web: tuple[Space, str]) -> None:
    carry(helper, socket.SOCK_DGRAM, web)
    with contextlib.ExitStack() as closing:
        with web[0].inside():
            server = closing.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            server.bind(("0.0.0.0", 80))
            server.settimeout(10)
        clients = [closing.enter_context(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)) for _ in range(3)]
        for number, one in enumerate(clients):
            one.settimeout(10)
            one.sendto(b"%d" % number, ("::1", PORT))
        for _ in clients:
            data, peer = server.recvfrom(64)
            server.sendto(b"answer to " + data, peer)
        assert [one.recv(64) for one in clients] == [b"answer to %d" % number for number in range(3)]


def test_a_proxy_ends_with_its_container(helper: Helper, web: tuple[Space, str]) -> None:
    carry(helper, socket.SOCK_STREAM, web)
    with tcp_server(80, space=web[0]) as server, client() as near, server.accept()[0]:
        web[0].end()
        assert near.recv(1) == b""
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("::1", PORT), timeout=10)
    wait_until(helper.has_left, "the end of the helper", seconds=20)


def test_a_proxy_moves(helper: Helper, world: World, web: tuple[Space, str]) -> None:
    """Nobody who comes meanwhile is turned away; who is connected was connected to what is no more."""
    carry(helper, socket.SOCK_STREAM, web)
    other, endpoint = world.start(container("b"))
    with tcp_server(80, space=web[0]) as old, tcp_server(80, space=other) as new, client() as near:
        old.accept()[0].close()
        message = {"do": "move", "from": "web", "key": "other", "ip": endpoint.ip, "port": 80}
        messages.send(helper.engine, message)
        messages.send(helper.engine, {"do": "sync"})
        assert messages.receive(helper.engine) == ({"event": "synced"}, [])
        assert near.recv(1) == b""
        with client() as later:
            new.accept()[0].close()
            assert later.recv(1) == b""
        messages.send(helper.engine, {"do": "unproxy", "key": "other"})
        messages.send(helper.engine, {"do": "sync"})
        messages.receive(helper.engine)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("::1", PORT), timeout=10)


def test_a_proxy_ends_when_the_engine_says_so(helper: Helper, web: tuple[Space, str]) -> None:
    carry(helper, socket.SOCK_STREAM, web)
    with tcp_server(80, space=web[0]) as server, client() as near, server.accept()[0]:
        messages.send(helper.engine, {"do": "unproxy", "key": "web"})
        assert near.recv(1) == b""
        carry(helper, socket.SOCK_STREAM, web, key="another")  # the port is free
        client().close()
