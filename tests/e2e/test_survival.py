"""kill -9 of the engine, the spawner and a monitor: what goes on, what is adopted, what is told."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.support.command import Cli
from tests.support.engine import Engine
from tests.support.process import wait_until
from tests.support.standby import await_standby, inits

pytestmark = [pytest.mark.root, pytest.mark.network]

COUNT = "i=0; while true; do i=$((i+1)); echo line $i; sleep 0.05; done"
"""Writes on and on: a broken pipe would end it."""


def counted(cli: Cli, name: str) -> list[int]:
    return [int(line.split()[1]) for line in cli("logs", name).check().lines]


def grows(cli: Cli, name: str) -> bool:
    before = len(counted(cli, name))
    wait_until(lambda: len(counted(cli, name)) > before + 2, "more output")
    return True


def assert_whole(cli: Cli, name: str) -> None:
    """No line is lost or told twice."""
    lines = counted(cli, name)
    assert lines == list(range(1, len(lines) + 1))


def ended(pid: int) -> bool:
    """Whether a process has ended, reaped or not: orphans may fall to the test process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


@pytest.fixture
def counter(cli: Cli, busybox: str) -> str:
    """A container that writes on and on."""
    cli("run", "-d", "--name", "counter", busybox, "sh", "-c", COUNT).check()
    return "counter"


def test_a_new_engine_adopts_what_runs(engine: Engine, cli: Cli, counter: str) -> None:
    init, monitor = engine.init(counter), engine.monitor(counter)
    engine.kill()
    engine.start()
    assert (engine.init(counter), engine.monitor(counter)) == (init, monitor)
    assert grows(cli, counter)
    assert_whole(cli, counter)
    cli("exec", counter, "true").check()
    assert cli("stop", "-t", "1", counter).code == 0
    assert cli("inspect", "-f", "{{.State.ExitCode}}", counter).out.strip() == "137"


def test_an_end_without_an_engine_is_known_to_the_next(engine: Engine, cli: Cli, busybox: str) -> None:
    cli("run", "-d", "--name", "brief", busybox, "sleep", "1000").check()
    init = engine.init("brief")
    engine.kill()
    os.kill(init, signal.SIGKILL)
    wait_until(lambda: ended(init), "the end of the container")
    engine.start()
    assert cli("wait", "brief").out.strip() == "137"
    assert cli("start", "brief").code == 0


def test_a_dead_monitor_is_replaced(engine: Engine, cli: Cli, counter: str) -> None:
    init, monitor = engine.init(counter), engine.monitor(counter)
    os.kill(monitor, signal.SIGKILL)
    wait_until(lambda: _has_monitor(engine, monitor), "another monitor")
    assert engine.init(counter) == init
    assert grows(cli, counter)
    assert_whole(cli, counter)
    assert cli("kill", "-s", "KILL", counter).code == 0
    assert cli("wait", counter).out.strip() == "137"


def _has_monitor(engine: Engine, dead: int) -> bool:
    return any(pid != dead and b"corten-monitor" in _name(pid) for pid in engine.children(engine.spawner))


def _name(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/comm").read_bytes()
    except OSError:
        return b""


def test_the_true_status_survives_its_monitor(engine: Engine, cli: Cli, busybox: str, tmp_path: Path) -> None:
    (tmp_path / "go").mkdir()
    script = "while [ ! -e /go/now ]; do sleep 0.02; done; exit 42"
    cli("run", "-d", "--name", "truth", "-v", f"{tmp_path}/go:/go", busybox, "sh", "-c", script).check()
    dead = engine.monitor("truth")
    os.kill(dead, signal.SIGKILL)
    wait_until(lambda: _has_monitor(engine, dead), "another monitor")
    (tmp_path / "go/now").touch()
    assert cli("wait", "truth").out.strip() == "42"


def test_a_dead_spawner_is_replaced(engine: Engine, cli: Cli, counter: str, busybox: str) -> None:
    monitor, spawner = engine.monitor(counter), engine.spawner
    os.kill(spawner, signal.SIGKILL)
    wait_until(lambda: engine.has_another_spawner(spawner), "another spawner")
    assert engine.monitor(counter) == monitor
    assert grows(cli, counter)
    assert cli("run", "--rm", busybox, "echo", "again").out == "again\n"
    assert cli("rm", "-f", counter).code == 0


def test_without_monitor_and_spawner_a_container_is_lost(engine: Engine, cli: Cli, counter: str) -> None:
    init, monitor, spawner = engine.init(counter), engine.monitor(counter), engine.spawner
    os.kill(spawner, signal.SIGSTOP)  # so that it reaps nothing in between
    os.kill(monitor, signal.SIGKILL)
    os.kill(spawner, signal.SIGKILL)
    assert cli("wait", counter).out.strip() == "137"
    wait_until(lambda: ended(init), "the end of the container")
    assert cli("start", counter).code == 0


def test_killed_engine_and_monitor_leave_a_lost_container(engine: Engine, cli: Cli, counter: str) -> None:
    init, monitor = engine.init(counter), engine.monitor(counter)
    engine.kill()
    os.kill(monitor, signal.SIGKILL)
    engine.start()
    wait_until(lambda: ended(init), "the end of the container")
    assert cli("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", counter).out.strip() == "exited 137"
    assert cli("start", counter).code == 0


def test_a_restart_policy_outlives_the_engine(engine: Engine, cli: Cli, busybox: str) -> None:
    cli("run", "-d", "--name", "again", "--restart", "always", busybox, "sleep", "1000").check()
    first = engine.init("again")
    engine.kill()
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: ended(first), "the end of the container")
    engine.start()
    wait_until(lambda: engine.inspect("again")["State"]["Running"], "the restart")
    assert engine.init("again") != first


def test_a_thousand_bytes_of_every_kind_come_back_exactly(engine: Engine, cli: Cli, busybox: str) -> None:
    script = "for i in $(seq 0 255); do printf \"\\\\$(printf %03o $i)\"; done"
    assert cli("run", "--rm", busybox, "sh", "-c", script).raw == bytes(range(256))


def test_hundred_starts_leave_nothing(engine: Engine, cli: Cli, busybox: str, no_leaks: None) -> None:
    for number in range(100):
        result = cli("run", "--rm", busybox, "sh", "-c", f"exit {number % 3}")
        assert result.code == number % 3, result
    assert cli("ps", "-aq").out == ""


def test_who_stands_by_leaves_with_the_spawner(engine: Engine, cli: Cli, busybox: str) -> None:
    cli("run", "--rm", busybox, "true").check()
    await_standby(engine)
    waiting = inits(engine)
    os.kill(engine.spawner, signal.SIGKILL)
    wait_until(lambda: all(ended(pid) for pid in waiting), "the end of those who stood by")
    assert cli("run", "--rm", busybox, "echo", "on").check().out == "on\n"
