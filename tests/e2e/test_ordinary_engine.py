"""An ordinary user's engine: its end and the next one, its part of the control groups, and where it cannot start."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import run
from tests.support.engine import PROJECT
from tests.support.process import command_line, state, wait_until
from tests.support.user import Installation, User, without_user_namespaces

pytestmark = pytest.mark.root


# --- the engine's end, and the next one


def test_a_new_engine_joins_the_namespaces_of_what_runs(ordinary_user: User, sleeper: str) -> None:
    cli, init, monitor = ordinary_user.cli, ordinary_user.init(sleeper), ordinary_user.monitor(sleeper)
    os.kill(ordinary_user.engine, signal.SIGKILL)
    assert cli("ps", "--format", "{{.Names}}").out == "sleeper\n"
    assert (ordinary_user.init(sleeper), ordinary_user.monitor(sleeper)) == (init, monitor)
    for kind in ("user", "mnt"):
        assert os.readlink(f"/proc/{ordinary_user.engine}/ns/{kind}") == os.readlink(f"/proc/{monitor}/ns/{kind}")
    assert cli("exec", "-u", "1000", sleeper, "id", "-u").out == "1000\n"
    cli("cp", "/etc/hostname", f"{sleeper}:/tmp/new").check()
    assert ordinary_user.box("busybox", "echo", "more").out == "more\n"
    assert "launcher.namespaces" in ordinary_user.cli("run", "--rm", "--explain", "busybox", "true").out
    cli("stop", "-t", "0", sleeper).check()


def test_the_namespaces_are_found_by_a_monitor_that_took_anothers_place(ordinary_user: User, sleeper: str) -> None:
    init, dead = ordinary_user.init(sleeper), ordinary_user.monitor(sleeper)
    os.kill(dead, signal.SIGKILL)
    log = ordinary_user.root / "engine.log"
    wait_until(lambda: f"monitor {dead} was lost" in log.read_text(), "another monitor")
    os.kill(ordinary_user.engine, signal.SIGKILL)
    assert ordinary_user.cli("exec", sleeper, "echo", "here").out == "here\n"
    assert ordinary_user.init(sleeper) == init
    ordinary_user.cli("kill", sleeper).check()
    _reap(init)
    assert ordinary_user.cli("wait", sleeper).out == "137\n"


def _reap(pid: int) -> None:
    """Orphans whose monitor and spawner are dead fall to the test's process, where it is a subreaper; else to init."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)


def test_containers_go_on_without_an_engine(ordinary_user: User, sleeper: str) -> None:
    init, before = ordinary_user.init(sleeper), ordinary_user.engine
    ordinary_user.cli("system", "stop").check()
    assert state(init) == "S"
    assert ordinary_user.cli("exec", sleeper, "echo", "here").out == "here\n"
    assert ordinary_user.engine != before
    assert ordinary_user.init(sleeper) == init


def test_what_lost_its_monitor_is_ended_whoever_it_ran_as(ordinary_user: User) -> None:
    cli = ordinary_user.cli
    cli("run", "-d", "--name", "lost", "-u", "1000", "--network", "none", "busybox", "sleep", "1000").check()
    init = ordinary_user.init("lost")
    for pid in (ordinary_user.engine, ordinary_user.monitor("lost")):
        os.kill(pid, signal.SIGKILL)
    assert cli("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "lost").check().out == "exited 137\n"
    wait_until(lambda: state(init) in "ZX", "the end of the container")
    cli("rm", "lost").check()


def test_ten_commands_at_once_start_one_engine(ordinary_user: User) -> None:
    ordinary_user.cli("system", "stop").check()
    argv = ordinary_user.cli.command("run", "--rm", "--network", "none", "busybox", "true")
    started = [subprocess.Popen(argv, env=ordinary_user.environment()) for _ in range(10)]
    assert [one.wait(60) for one in started] == [0] * 10
    engines = [pid for pid in ordinary_user.processes() if "corten.daemon" in command_line(pid)]
    assert engines == [ordinary_user.engine]


def test_another_root_has_an_engine_of_its_own(ordinary_user: User) -> None:
    root = str(ordinary_user.home / "other")
    result = ordinary_user.cli("--root", root, "run", "--rm", "--network", "none", "hello-world").check()
    assert "Hello from Corten!" in result.out
    assert ordinary_user.cli("--root", root, "ps").code == 0
    assert len(list(ordinary_user.runtime.glob("corten-*/corten.sock"))) == 1
    ordinary_user.cli("--root", root, "system", "stop").check()
    wait_until(lambda: not list(ordinary_user.runtime.glob("corten-*/corten.sock")), "the end of its socket")


def listens(place: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(place)) == 0


def test_an_engine_in_the_foreground(ordinary_user: User) -> None:
    ordinary_user.cli("system", "stop").check()
    place = ordinary_user.home / "d.sock"
    engine = subprocess.Popen(
        ordinary_user.cli.command("-H", f"unix://{place}", "daemon"), env=ordinary_user.environment()
    )
    try:
        wait_until(lambda: listens(place), "its socket", pid=engine.pid)
        address = f"unix://{place}"
        assert ordinary_user.cli("-H", address, "run", "--rm", "--network", "none", "busybox", "true").code == 0
    finally:
        engine.send_signal(signal.SIGINT)
        assert engine.wait(20) == 0
    assert not place.exists()


def test_the_docker_command_line(ordinary_user: User) -> None:
    if not shutil.which("docker"):
        pytest.skip("the docker command line is not installed")
    ordinary_user.cli("ps").check()
    address = f"DOCKER_HOST=unix://{ordinary_user.socket}"
    result = ordinary_user.run("env", address, "docker", "run", "--rm", "busybox", "id")
    assert result.out.startswith("uid=0(root) gid=0(root)")
    assert "no network" in result.err


# --- a part of the control groups


@pytest.fixture
def delegated(ordinary_user: User) -> Iterator[Path]:
    """A group of the unified hierarchy that was handed to the user, and in it the one that its shell is in."""
    tops = [path for path in (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))
            if (path / "cgroup.subtree_control").exists()]  # fmt: skip
    if not tops:
        pytest.skip("no unified hierarchy is mounted")
    ordinary_user.cli("system", "stop")
    group = tops[0] / ordinary_user.name
    shell = group / "shell"
    shell.mkdir(parents=True)
    for directory in (group, shell):
        for path in (directory, *(directory / f"cgroup.{name}" for name in ("procs", "subtree_control", "threads"))):
            os.chown(path, ordinary_user.uid, ordinary_user.gid)
    yield shell
    ordinary_user.cli("system", "stop", "--all")
    wait_until(lambda: not ordinary_user.processes(), "the end of the engine")  # it goes back to its shell's group
    for directory in (shell, group):
        wait_until(lambda directory=directory: _rmdir(directory), f"the end of {directory}")


def _rmdir(directory: Path) -> bool:
    try:
        directory.rmdir()
    except OSError:
        return False
    return True


def test_a_delegated_group_is_used(ordinary_user: User, delegated: Path) -> None:
    """Pause needs no controller, so that it works where version 1 has them all."""
    cli = ordinary_user.cli
    command = cli.command("run", "-d", "--name", "grouped", "--network", "none", "busybox", "sleep", "1000")
    inside = ["sh", "-c", f'echo 0 > {delegated}/cgroup.procs && exec "$@"', "sh", *command]
    run(inside, env=ordinary_user.environment()).check()
    try:
        group = delegated.parent / "corten" / ordinary_user.inspect("grouped")["Id"]
        assert (group / "cgroup.procs").read_text().split() == [str(ordinary_user.init("grouped"))]
        cli("pause", "grouped").check()
        assert "frozen 1" in (group / "cgroup.events").read_text()
        cli("unpause", "grouped").check()
        assert "Cgroup Driver: cgroupfs" in cli("info").out
    finally:
        cli("rm", "-f", "grouped").check()
    assert not group.exists()


# --- where it cannot start at all


def test_a_machine_that_forbids_it_is_told_apart(installation: Installation, ordinary_user: User) -> None:
    ordinary_user.cli("system", "stop")
    argv = ordinary_user.cli.command("run", "--rm", "hello-world")
    result = without_user_namespaces(argv, ordinary_user.environment())
    assert result.code == 125
    assert "the limit of user namespaces is 0" in result.err
    assert "sudo sysctl -w user.max_user_namespaces=15000" in result.err
    assert not ordinary_user.socket.exists()
    demo = [*ordinary_user.command(), str(PROJECT / "scripts/demo"), str(installation.corten.parent)]
    shown = without_user_namespaces(demo, ordinary_user.environment())
    assert shown.code == 125
    assert "sudo sysctl -w user.max_user_namespaces=15000" in shown.err
    allowed = run(demo, env=ordinary_user.environment()).check()
    assert "Hello from Corten!" in allowed.out


def test_somebody_elses_directory_is_not_trusted(ordinary_user: User) -> None:
    environment = {**ordinary_user.environment(), "XDG_RUNTIME_DIR": ""}
    fallback = Path(f"/tmp/corten-{ordinary_user.uid}")
    if Path(f"/run/user/{ordinary_user.uid}").exists() or fallback.exists():
        pytest.skip("this user has a runtime directory already")
    fallback.mkdir(mode=0o755)
    try:
        result = ordinary_user.cli("ps", env=environment)
        assert result.code == 1
        assert "it belongs to user 0" in result.err
    finally:
        fallback.rmdir()


def test_somebody_elses_engine_is_not_talked_to(ordinary_user: User) -> None:
    """A directory that all may write to, and who was faster: root, here."""
    ordinary_user.cli("system", "stop")
    wait_until(lambda: not ordinary_user.socket.exists(), "the end of its socket")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(ordinary_user.socket))
        ordinary_user.socket.chmod(0o666)
        listener.listen()
        result = ordinary_user.cli("ps")
    ordinary_user.socket.unlink()
    assert result.code == 1
    assert "user 0 listens there" in result.err


def test_nothing_is_left(installation: Installation, busybox_archive: Path) -> None:
    user = User(installation, granted=True)
    try:
        user.cli("load", stdin=busybox_archive.read_bytes()).check()
        mounts = Path("/proc/self/mountinfo").read_text()
        for code in range(5):
            assert user.box("-v", "/data", "busybox", "sh", "-c", f"touch /data/x; exit {code}").code == code
        user.cli("run", "-d", "--network", "none", "busybox", "sleep", "1000").check()
        user.cli("system", "stop", "--all").check()
        assert user.cli("--no-autostart", "ps").code == 1
        wait_until(lambda: not user.processes(), "the end of every process")
        wait_until(lambda: not user.socket.exists(), "the end of its socket")
        assert os.listdir(user.run_directory / "m") == []
        assert os.listdir(user.root / "staging") == []
        assert os.listdir(user.root / "volumes") == []
        assert Path("/proc/self/mountinfo").read_text() == mounts
    finally:
        user.remove()
