"""The client's connections: opened ahead, used again, and requests whose answers are read later.

The engine's side is the test itself, on the other end of a real socket: a connect does not wait for its accept.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from corten.client import Client
from corten.client.address import Address
from corten.errors import NotFound, Unavailable

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n42"


class Listener:
    """A unix socket that listens; what is connected to it is accepted by name."""

    def __init__(self, path: Path) -> None:
        self.address = Address(path=str(path))
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen()
        self._socket.setblocking(False)
        self._peers: list[socket.socket] = []

    def accept(self) -> socket.socket:
        """The next connection. Raises BlockingIOError when there is none."""
        peer, _ = self._socket.accept()
        self._peers.append(peer)
        return peer

    def close(self) -> None:
        for each in (self._socket, *self._peers):
            each.close()


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    made = Listener(tmp_path / "s")
    yield made
    made.close()


@pytest.fixture
def client(listener: Listener) -> Iterator[Client]:
    with Client(listener.address) as made:
        yield made


def test_a_request_is_sent_before_its_answer_is_there(listener: Listener, client: Client) -> None:
    response = client.send("GET", "/a")
    peer = listener.accept()
    assert peer.recv(1000).startswith(b"GET /v1.50/a HTTP/1.1\r\n")
    peer.sendall(ANSWER)
    assert response.checked().json() == 42


def test_requests_can_be_under_way_together(listener: Listener, client: Client) -> None:
    first, second = client.send("GET", "/first"), client.send("GET", "/second")
    for body in (b"1", b"2"):
        listener.accept().sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n" + body)
    assert (second.checked().json(), first.checked().json()) == (2, 1)


def test_an_error_is_told_when_the_answer_is_asked_for(listener: Listener, client: Client) -> None:
    response = client.send("GET", "/a")
    listener.accept().sendall(b'HTTP/1.1 404 Not Found\r\nContent-Length: 17\r\n\r\n{"message": "no"}')
    with pytest.raises(NotFound, match="no"):
        response.checked()


def test_an_answer_that_never_comes_is_told_when_it_is_asked_for(listener: Listener, client: Client) -> None:
    response = client.send("GET", "/a")
    listener.accept().close()
    with pytest.raises(Unavailable):
        response.checked()


def test_connections_made_ahead_are_the_ones_used(listener: Listener, client: Client) -> None:
    client.connect_ahead(2)
    peers = [listener.accept(), listener.accept()]
    responses = [client.send("GET", "/a"), client.send("GET", "/b")]
    for peer in peers:
        peer.sendall(ANSWER)
    assert [response.checked().json() for response in responses] == [42, 42]
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_a_connection_that_is_idle_counts_among_those_made_ahead(listener: Listener, client: Client) -> None:
    client.connect_ahead()
    client.connect_ahead(2)
    listener.accept()
    listener.accept()
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_a_connection_that_the_engine_closed_meanwhile_is_replaced(listener: Listener, client: Client) -> None:
    client.connect_ahead()
    listener.accept().close()
    response = client.send("GET", "/a")
    listener.accept().sendall(ANSWER)
    assert response.checked().json() == 42


def test_a_connection_whose_answer_nobody_read_is_not_used_again(listener: Listener, client: Client) -> None:
    with client.send("GET", "/a"):
        pass
    abandoned = listener.accept()
    assert abandoned.recv(1000)
    assert abandoned.recv(1000) == b""
    with client.send("GET", "/b"):
        assert listener.accept().recv(1000).startswith(b"GET /v1.50/b ")


def test_where_nothing_listens_the_first_request_says_so(tmp_path: Path) -> None:
    with Client(Address(path=str(tmp_path / "none"))) as client:
        client.connect_ahead()
        with pytest.raises(Unavailable, match="no such file"):
            client.send("GET", "/a")
