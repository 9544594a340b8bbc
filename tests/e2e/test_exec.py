"""``corten exec`` in one trip, where the API takes three."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.support.command import Cli
from tests.support.engine import Engine
from tests.support.http import UnixConnection
from tests.support.process import wait_until

pytestmark = [pytest.mark.root, pytest.mark.network]

ENDS = [
    (("sh", "-c", "echo out; echo err >&2; exit 3"), 3, "out\n", "err\n"),
    (("sh", "-c", "kill -9 $$"), 137, "", ""),
    (("true",), 0, "", ""),
]
FAILURES = [("nothing-like-it", 127), ("/etc", 126)]


@pytest.fixture
def there(shared_engine: Engine) -> Iterator[str]:
    """A container that runs."""
    shared_engine.cli("run", "-d", "--name", "there", "busybox", "sleep", "1000").check()
    try:
        yield "there"
    finally:
        shared_engine.cli("rm", "-f", "there").check()


def test_the_command_ends_as_it_ended(shared_engine: Engine, there: str) -> None:
    for command, code, out, err in ENDS:
        result = shared_engine.cli("exec", there, *command)
        assert (result.code, result.out, result.err) == (code, out, err)
    for name, code in FAILURES:
        result = shared_engine.cli("exec", there, name)
        assert result.code == code
        assert "OCI runtime exec failed" in result.out
    assert shared_engine.cli("exec", "-i", there, "cat", stdin=b"read\n").check().out == "read\n"
    assert shared_engine.cli("exec", "nobody", "true").code == 1


def test_it_is_one_trip(shared_engine: Engine, there: str) -> None:
    connection = UnixConnection(shared_engine.socket)
    body = json.dumps({"AttachStdout": True, "Cmd": ["sh", "-c", "echo hello; exit 7"]})
    headers = {"Content-Type": "application/json", "Connection": "Upgrade", "Upgrade": "corten-exec"}
    connection.request("POST", f"/containers/{there}/exec", body, headers)
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Upgrade"]) == (101, "corten-exec")
    assert _rest(connection, answer) == b"\x01\0\0\0\0\0\0\x06hello\n" b"\x04\0\0\0\0\0\0\x017"


def _rest(connection: UnixConnection, answer: http.client.HTTPResponse) -> bytes:
    data = answer.fp.peek()
    answer.fp.read(len(data))
    while more := connection.sock.recv(65536):
        data += more
    return data


def test_an_engine_that_dies_leaves_no_exit_code(engine: Engine, cli: Cli, busybox: str) -> None:
    cli("run", "-d", "--name", "there", busybox, "sleep", "1000").check()
    running = subprocess.Popen(
        cli.command("exec", "there", "sh", "-c", "echo up; sleep 1000"), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**cli.environment}, text=True,
    )  # fmt: skip
    try:
        assert running.stdout is not None
        assert running.stdout.readline() == "up\n"
        engine.kill()
        _, err = running.communicate(timeout=60)
        assert running.returncode not in (0, -signal.SIGTERM)
        assert "closed the connection" in err
    finally:
        running.kill()
        running.wait()
        engine.start()
    wait_until(lambda: cli("rm", "-f", "there").code == 0, "the container's end")
