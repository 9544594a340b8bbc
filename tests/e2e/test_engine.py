"""The engine as a process: one a root, started by the first command, stopped and started again."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.command import Cli, Result, run
from tests.support.engine import Engine
from tests.support.process import wait_until

pytestmark = [pytest.mark.root, pytest.mark.network]


@pytest.fixture
def unstarted(engine: Engine) -> Cli:
    """The command line of an engine that does not run, and is found by its root alone."""
    engine.stop()
    environment = {name: value for name, value in engine.cli.environment.items() if not name.endswith("_HOST")}
    return Cli(engine.cli.argv, environment)


def test_ten_commands_at_once_start_one_engine(unstarted: Cli, engine: Engine) -> None:
    with ThreadPoolExecutor(10) as pool:
        results: list[Result] = list(pool.map(lambda _: unstarted("ps", "-q"), range(10)))
    assert [result.code for result in results] == [0] * 10
    assert engine.said().count("version") == 2  # the one that was stopped, and one more
    assert unstarted("system", "stop").code == 0


def test_stop_and_start_do_not_meet(unstarted: Cli) -> None:
    for _ in range(5):
        unstarted("ps", "-q").check()
        unstarted("system", "stop").check()


@pytest.mark.parametrize(("name", "containers"), [("engine", 10), ("spawner", 5)])
def test_containers_that_work_leave_corten_processors(engine: Engine, name: str, containers: int) -> None:
    leaf = f"{engine.names.cgroup}/{name}"
    groups = [*Path("/sys/fs/cgroup").glob(f"*/{leaf}/cpu.shares"), Path(f"/sys/fs/cgroup/{leaf}/cpu.weight")]
    assert {int(path.read_text()) for path in groups if path.exists()} <= {containers * 1024, containers * 100}
    assert any(path.exists() for path in groups)


def test_the_engine_has_a_group_for_itself(engine: Engine) -> None:
    assert _group(engine.pid) == f"/{engine.names.cgroup}/engine"
    place = f"/{engine.names.cgroup}/spawner"
    wait_until(lambda: _group(engine.spawner) == place, f"the spawner enters {place}", pid=engine.spawner)


def _group(pid: int) -> str:
    """In the hierarchy that divides the processors, or in version 2's only one."""
    lines = [line.split(":", 2) for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()]
    found = {name: path for _, names, path in lines for name in names.split(",")}
    return found.get("cpu", found.get("", ""))


def test_a_second_engine_on_a_root_is_refused(engine: Engine) -> None:
    second = run([sys.executable, "-m", "corten.daemon", "--root", str(engine.root)], env=engine.environment())
    assert second.code == 1
    assert f"engine {engine.pid} runs on it" in second.err


def test_a_stale_socket_is_no_obstacle(engine: Engine, cli: Cli) -> None:
    engine.kill()
    assert engine.socket.exists()
    engine.start()
    assert cli("ps", "-q").code == 0


def test_what_starts_an_engine_can_be_captured(unstarted: Cli) -> None:
    """``x=$(corten ps)`` returns: the engine holds none of the command's streams."""
    done = subprocess.run(
        unstarted.command("ps", "-q"), env=dict(unstarted.environment), capture_output=True, timeout=30
    )
    assert done.returncode == 0
    unstarted("system", "stop").check()


def test_stop_leaves_containers_unless_all(engine: Engine, cli: Cli, busybox: str) -> None:
    cli("run", "-d", "--name", "stays", busybox, "sleep", "1000").check()
    init = engine.init("stays")
    cli("system", "stop").check()
    engine.process.wait()  # type: ignore[union-attr]
    assert Path(f"/proc/{init}").exists()
    engine.start()
    assert engine.init("stays") == init
    cli("system", "stop", "--all").check()
    engine.process.wait()  # type: ignore[union-attr]
    engine.start()
    assert cli("ps", "-q").out == ""
