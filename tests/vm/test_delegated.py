"""An ordinary user's engine in a part of cgroup v2 that was handed to it, with real controllers: limits are kept."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import http
from tests.support.command import Cli
from tests.support.engine import PROJECT
from tests.support.process import processes, state, wait_until

pytestmark = [pytest.mark.root, pytest.mark.cgroup2]

_TOP = Path("/sys/fs/cgroup")
_UID = 1234
_BECOME = (
    f"import os, sys; open(sys.argv[1], 'w').write('0'); os.setgroups([]); os.setgid({_UID}); os.setuid({_UID}); "
    "os.execv(sys.argv[2], sys.argv[2:])"
)
"""What a login does: into the session's group, and become the user."""


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ct-") as path:
        for name in ("", "run"):
            Path(path, name).mkdir(mode=0o700, exist_ok=True)
            os.chown(Path(path, name), _UID, _UID)
        yield Path(path)


@pytest.fixture(scope="module")
def group() -> Iterator[Path]:
    """As systemd delegates: the directory and the files by which groups are made and entered; no limit of its own."""
    (_TOP / "cgroup.subtree_control").write_text("+cpu +cpuset +memory +pids -io")
    made = _TOP / "user"
    (made / "session").mkdir(parents=True)
    for directory in (made, made / "session"):
        for path in (directory, *(directory / f"cgroup.{name}" for name in ("procs", "subtree_control", "threads"))):
            os.chown(path, _UID, _UID)
    yield made
    (made / "session").rmdir()
    made.rmdir()


@pytest.fixture(scope="module")
def cli(home: Path, group: Path, busybox_archive: Path) -> Iterator[Cli]:
    environment = {"HOME": str(home), "XDG_RUNTIME_DIR": str(home / "run"), "PATH": os.environ["PATH"]}
    command = (sys.executable, str(PROJECT / "scripts/corten"))
    made = Cli((sys.executable, "-c", _BECOME, str(group / "session/cgroup.procs"), *command), environment)
    try:
        made("load", stdin=busybox_archive.read_bytes()).check()
        yield made
    finally:
        made("system", "stop", "--all")
        wait_until(lambda: not any(map(_is_theirs, processes())), "the end of the engine")
        assert [path.name for path in group.iterdir() if path.is_dir()] == ["session"]


def _is_theirs(pid: int) -> bool:
    try:
        return os.stat(f"/proc/{pid}").st_uid == _UID and state(pid) not in "ZX"
    except OSError:
        return False


def _group_of(home: Path, group: Path, container: str) -> Path:
    told = http.request(home / "run/corten/corten.sock", "GET", f"/containers/{container}/json").check().json
    return group / "corten" / str(told["Id"])


def test_memory_beyond_its_limit_is_an_oom_kill(cli: Cli) -> None:
    eater = "x=a; while :; do x=$x$x; done"
    limits = ("-m", "32m", "--memory-swap", "32m")
    result = cli("run", "--name", "eater", "--network", "none", *limits, "busybox", "sh", "-c", eater)
    assert result.code == 137
    assert "discarded" not in result.err
    assert cli("inspect", "-f", "{{.State.OOMKilled}}", "eater").out == "true\n"
    cli("rm", "eater").check()


def test_limits_are_written_updated_and_counted(cli: Cli, home: Path, group: Path) -> None:
    limits = ("-m", "64m", "--cpus", "0.5", "--pids-limit", "7", "--cpuset-cpus", "1")
    cli("run", "-d", "--name", "box", "--network", "none", *limits, "busybox", "sleep", "1000").check()
    try:
        made = _group_of(home, group, "box")
        names = ("memory.max", "cpu.max", "pids.max", "cpuset.cpus")
        assert [(made / name).read_text().strip() for name in names] == [str(64 << 20), "50000 100000", "7", "1"]
        cli("update", "--pids-limit", "9", "box").check()
        assert (made / "pids.max").read_text() == "9\n"
        cli("pause", "box").check()
        assert "frozen 1" in (made / "cgroup.events").read_text()
        cli("unpause", "box").check()
        assert "64MiB" in cli("stats", "--no-stream", "box").out
        assert cli("exec", "box", "cat", "/proc/self/cgroup").out == "0::/\n"
    finally:
        cli("rm", "-f", "box").check()
    assert not made.exists()


def test_what_was_not_delegated_is_warned_of(cli: Cli) -> None:
    result = cli("run", "--rm", "--network", "none", "--blkio-weight", "10", "busybox", "true")
    assert result.code == 0
    assert "no control group with the io controller" in result.err
