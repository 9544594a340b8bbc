"""stdio over the wire: framed and raw, hijacked the new and the old way, by WebSocket, and from before."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.engine import Engine
from tests.support.websocket import WebSocket

pytestmark = [pytest.mark.root, pytest.mark.network]


@pytest.fixture(autouse=True)
def _clean(shared_engine: Engine) -> Iterator[None]:
    yield
    for one in shared_engine.api("GET", "/containers/json?all=1").json:
        shared_engine.api("DELETE", f"/containers/{one['Id']}?force=1").check()


def _create(engine: Engine, name: str, script: str, **body: Any) -> None:
    whole = {"Image": "busybox", "Cmd": ["sh", "-c", script], "StopSignal": "SIGKILL", **body}
    engine.api("POST", f"/containers/create?name={name}", whole).check()


def _start(engine: Engine, name: str) -> None:
    engine.api("POST", f"/containers/{name}/start").check()


def _ended(engine: Engine, name: str) -> None:
    engine.api("POST", f"/containers/{name}/wait").check()


def _frames(data: bytes) -> list[tuple[int, bytes]]:
    found, place = [], 0
    while place < len(data):
        stream, size = struct.unpack_from(">BxxxI", data, place)
        found.append((stream, data[place + 8 : place + 8 + size]))
        place += 8 + size
    return found


def _hijack(engine: Engine, target: str, *, upgrade: bool) -> tuple[str, dict[str, str], socket.socket]:
    """(status line, headers, the connection, which is a stream now)."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(20)
    connection.connect(str(engine.socket))
    extra = "Connection: Upgrade\r\nUpgrade: tcp\r\n" if upgrade else ""
    connection.sendall(f"POST {target} HTTP/1.1\r\nHost: d\r\n{extra}Content-Length: 0\r\n\r\n".encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += connection.recv(1)
    first, *lines = head.decode().split("\r\n")[:-2]
    return first, {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}, connection


def _rest(connection: socket.socket) -> bytes:
    parts = []
    while data := connection.recv(65536):
        parts.append(data)
    connection.close()
    return b"".join(parts)


@pytest.mark.parametrize(("upgrade", "status"), [(True, "101 UPGRADED"), (False, "200 OK")])
def test_attach_is_hijacked_the_new_way_and_the_old(shared_engine: Engine, upgrade: bool, status: str) -> None:
    _create(shared_engine, "both", "cat; echo out; echo err >&2", OpenStdin=True, StdinOnce=True, AttachStdin=True)
    target = "/v1.51/containers/both/attach?stream=1&stdin=1&stdout=1&stderr=1"
    first, headers, connection = _hijack(shared_engine, target, upgrade=upgrade)
    assert first == f"HTTP/1.1 {status}"
    assert headers["content-type"] == "application/vnd.docker.multiplexed-stream"
    _start(shared_engine, "both")
    connection.sendall(b"in\n")
    connection.shutdown(socket.SHUT_WR)  # the end of stdin, and no more than that
    assert sorted(_frames(_rest(connection))) == [(1, b"in\n"), (1, b"out\n"), (2, b"err\n")]


@pytest.mark.parametrize(
    ("version", "tty", "kind"),
    [
        ("1.51", False, "multiplexed"), ("1.42", False, "multiplexed"), ("1.41", False, "raw"),
        ("1.51", True, "raw"), ("1.24", True, "raw"),
    ],
)  # fmt: skip
def test_logs_have_frames_without_a_terminal_and_none_with_one(
    shared_engine: Engine, version: str, tty: bool, kind: str
) -> None:
    _create(shared_engine, "told", "echo one; echo two >&2", Tty=tty)
    _start(shared_engine, "told")
    _ended(shared_engine, "told")
    answer = shared_engine.api("GET", f"/v{version}/containers/told/logs?stdout=1&stderr=1").check()
    assert answer.headers["content-type"] == f"application/vnd.docker.{kind}-stream"
    if tty:
        assert answer.body == b"one\r\ntwo\r\n"
    else:
        assert sorted(_frames(answer.body)) == [(1, b"one\n"), (2, b"two\n")]


def test_attach_with_logs_tells_what_an_ended_container_said(shared_engine: Engine) -> None:
    _create(shared_engine, "past", "echo said; exit 4")
    _start(shared_engine, "past")
    _ended(shared_engine, "past")
    for stream in ("", "&stream=1"):
        first, _, connection = _hijack(
            shared_engine, f"/containers/past/attach?logs=1&stdout=1&stderr=1{stream}", upgrade=True
        )
        assert first.endswith("101 UPGRADED")
        if stream:  # the next run's output would follow: the client has had enough
            assert _frames(connection.recv(4096)) == [(1, b"said\n")]
            connection.close()
        else:
            assert _frames(_rest(connection)) == [(1, b"said\n")]


# --- WebSocket

_WS = "/containers/{}/attach/ws?stream=1&stdin=1&stdout=1&stderr=1&logs=1"


def test_a_websocket_carries_stdio_without_frames_of_dockers(shared_engine: Engine) -> None:
    _create(shared_engine, "web", "read line; echo got $line; echo err >&2", OpenStdin=True, StdinOnce=True)
    client = WebSocket(shared_engine.socket, _WS.format("web"))
    assert (client.status, client.headers["upgrade"]) == (101, "websocket")
    _start(shared_engine, "web")
    client.send(b"hel")
    client.send(b"lo\n")
    data, code = client.rest()
    assert sorted(data.split()) == sorted(b"got hello err".split())
    assert code == 1000
    client.close()


def test_a_terminal_by_websocket(shared_engine: Engine) -> None:
    _create(shared_engine, "term", "read line; echo $line", OpenStdin=True, Tty=True)
    client = WebSocket(shared_engine.socket, _WS.format("term"))
    _start(shared_engine, "term")
    client.send(b"hi\n")
    assert client.rest()[0].split() == [b"hi", b"hi"]  # the terminal's echo, and the program's
    client.close()


def test_a_ping_is_answered_and_a_close_ends_it(shared_engine: Engine) -> None:
    _create(shared_engine, "quiet", "sleep 600", OpenStdin=True)
    _start(shared_engine, "quiet")
    client = WebSocket(shared_engine.socket, _WS.format("quiet"))
    client.send(b"are you there", 9)
    assert client.receive() == (10, b"are you there")
    client.send(struct.pack("!H", 1000), 8)
    assert client.rest() == (b"", 1000)
    assert client.receive() == (-1, b"")
    client.close()
    assert shared_engine.inspect("quiet")["State"]["Running"]


def test_before_1_28_messages_are_text(shared_engine: Engine) -> None:
    _create(shared_engine, "old", "echo hello")
    client = WebSocket(shared_engine.socket, f"/v1.27{_WS.format('old')}")
    _start(shared_engine, "old")
    assert client.receive() == (1, b"hello\n")
    client.close()


def test_who_does_not_mask_is_told_of_the_rule(shared_engine: Engine) -> None:
    _create(shared_engine, "rude", "sleep 600", OpenStdin=True)
    _start(shared_engine, "rude")
    client = WebSocket(shared_engine.socket, _WS.format("rude"))
    client._socket.sendall(b"\x82\x02hi")
    assert client.rest() == (b"", 1002)
    client.close()


def test_what_is_no_handshake_is_refused_and_a_strange_page_too(shared_engine: Engine) -> None:
    _create(shared_engine, "shut", "true")
    target = _WS.format("shut")
    assert shared_engine.api("GET", target).status == 400
    for status, headers in (
        (400, {"Sec-WebSocket-Version": "8"}), (400, {"Sec-WebSocket-Key": "short"}),
        (403, {"Origin": "https://evil.example"}), (101, {"Origin": "http://localhost"}),
    ):  # fmt: skip
        client = WebSocket(shared_engine.socket, target, **headers)
        assert client.status == status, headers
        client.close()
    missing = WebSocket(shared_engine.socket, _WS.format("nobody"))
    assert missing.status == 404
    missing.close()
