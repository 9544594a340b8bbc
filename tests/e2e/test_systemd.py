"""The engine under systemd: its units, and a test that plays systemd's part (sd_listen_fds(3), sd_notify(3))."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.command import run
from tests.support.engine import PROJECT, Engine
from tests.support.process import end, wait_until

pytestmark = pytest.mark.root
UNITS = PROJECT / "src/corten/systemd"
# The number of the process that is to take the sockets is known only inside it.
_BECOME = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.execve(sys.argv[2], sys.argv[2:], {**os.environ, "LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"})
"""


class Systemd:
    """Listens where the engine would, and starts it with that socket."""

    def __init__(self, engine: Engine, workspace: Path) -> None:
        self.engine = engine
        self.listener = socket.socket(socket.AF_UNIX)
        engine.socket.parent.mkdir(mode=0o700, exist_ok=True)
        engine.socket.unlink(missing_ok=True)
        self.listener.bind(str(engine.socket))
        self.listener.listen(16)
        self.notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notices.settimeout(30)
        self.address = str(workspace / f"notify-{os.getpid()}")
        self.notices.bind(self.address)

    def start(self, idle: str) -> subprocess.Popen[bytes]:
        """An engine, as ``corten daemon`` of the unit."""
        command = [sys.executable, str(PROJECT / "scripts/corten"), "daemon", "--idle-exit", idle]
        with self.engine.log.open("ab") as log:
            self.engine.process = subprocess.Popen(
                [sys.executable, "-c", _BECOME, str(self.listener.fileno()), *command],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", pass_fds=[self.listener.fileno()],
                env={**self.engine.environment(), "NOTIFY_SOCKET": self.address, "CORTEN_HOST": ""},
            )  # fmt: skip
        return self.engine.process

    def heard(self) -> bytes:
        """The next notice."""
        return self.notices.recv(4096)

    def close(self) -> None:
        """Listen no more."""
        self.listener.close()
        self.notices.close()
        Path(self.address).unlink(missing_ok=True)


@pytest.fixture
def systemd(engine: Engine, workspace: Path, busybox: str) -> Iterator[Systemd]:
    """In the place of the engine's own socket; an image is loaded."""
    engine.stop()
    made = Systemd(engine, workspace)
    try:
        yield made
    finally:
        made.close()


@contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        end(process)


def test_the_units_are_sound() -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    with tempfile.TemporaryDirectory() as place:
        for name in ("corten.service", "corten.socket"):
            text = (UNITS / name).read_text().replace("/usr/local/bin/corten", "/bin/true")
            (Path(place) / name).write_text(text)
        result = run(["systemd-analyze", "verify", f"{place}/corten.service", f"{place}/corten.socket"])
    ours = [line for line in (result.out + result.err).splitlines() if "corten" in line]
    assert ours == []


def test_whoever_knocks_first_is_answered(systemd: Systemd) -> None:
    """The connection waits at systemd's socket, before there is an engine."""
    client = subprocess.Popen(
        systemd.engine.cli.command("ps", "-q"), env=systemd.engine.environment(), stdout=subprocess.DEVNULL
    )
    with ended(client):
        process = systemd.start("0")
        with ended(process):
            assert systemd.heard() == b"READY=1"
            assert client.wait(30) == 0
            process.terminate()
            assert systemd.heard() == b"STOPPING=1"
            assert process.wait(30) == 0
    assert systemd.engine.socket.exists(), "the socket is systemd's to remove"


def test_an_idle_engine_leaves_and_the_next_knock_brings_another(systemd: Systemd) -> None:
    process = systemd.start("0.2")
    with ended(process):
        assert process.wait(30) == 0
    assert "idle for 0.2 seconds" in systemd.engine.said()
    again = systemd.start("0.2")
    with ended(again):
        assert systemd.engine.cli("images", "-q").check().out != ""
        assert again.wait(30) == 0


def test_a_container_that_runs_keeps_it(systemd: Systemd) -> None:
    engine, process = systemd.engine, systemd.start("0.2")
    with ended(process):
        engine.cli("run", "-d", "--name", "kept", "busybox", "sleep", "1").check()
        # It leaves when the container has ended, not before: the end is recorded by this engine.
        assert process.wait(60) == 0
    again = systemd.start("0")
    with ended(again):
        told = engine.inspect("kept")["State"]
        assert (told["Status"], told["ExitCode"]) == ("exited", 0)


def test_nothing_leaves_without_systemd(engine: Engine) -> None:
    """An engine that the first command started must be there for the second."""
    engine.stop()
    engine.start("--idle-exit", "0.1")
    with socket.socket(socket.AF_UNIX) as held:
        held.connect(str(engine.socket))
    wait_until(lambda: _ticks(engine.pid) > 0, "the engine to have been at work")
    assert engine.process is not None
    assert engine.process.poll() is None
    assert engine.answers()


def _ticks(pid: int) -> int:
    return sum(int(word) for word in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13])
