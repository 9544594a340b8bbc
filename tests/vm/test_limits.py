"""Limits under cgroup v2 with real controllers: each is tried until the kernel enforces it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.engine import Engine
from tests.support.process import wait_until

pytestmark = [pytest.mark.root, pytest.mark.cgroup2]

_MIB = 1024 * 1024


@pytest.fixture
def engine(shared_engine: Engine) -> Iterator[Engine]:
    """The module's engine; each test leaves it without containers."""
    yield shared_engine
    for container in shared_engine.api("GET", "/containers/json?all=1").json:
        shared_engine.api("DELETE", f"/containers/{container['Id']}?force=1&v=1").check()


def _cgroup(engine: Engine, container: str) -> Path:
    line = Path(f"/proc/{engine.init(container)}/cgroup").read_text().strip()
    return Path("/sys/fs/cgroup") / line.partition("::")[2].lstrip("/")


def _sleeper(engine: Engine, *options: str) -> str:
    return engine.cli("run", "-d", *options, "busybox", "sleep", "1000").check().out.strip()


def test_hello_world(engine: Engine) -> None:
    result = engine.cli("run", "--rm", "hello-world").check()
    assert "Hello from" in result.out


def test_the_container_sees_cgroup2_and_only_its_own(engine: Engine) -> None:
    result = engine.cli("run", "--rm", "busybox", "cat", "/proc/self/cgroup").check()
    assert result.out == "0::/\n"


def test_the_engine_has_the_share_of_ten_containers(engine: Engine) -> None:
    container = _cgroup(engine, _sleeper(engine))
    weights = [(group / "cpu.weight").read_text() for group in (container.parent / "engine", container)]
    assert weights == ["1000\n", "100\n"]


def test_memory_beyond_its_limit_is_an_oom_kill(engine: Engine) -> None:
    eater = "x=a; while :; do x=$x$x; done"
    result = engine.cli(
        "run", "--name", "eater", "-m", "32m", "--memory-swap", "32m", "busybox", "sh", "-c", eater
    )
    assert result.code == 137
    assert engine.inspect("eater")["State"]["OOMKilled"] is True


def test_within_its_memory_limit_nothing_is_killed(engine: Engine) -> None:
    engine.cli("run", "--name", "modest", "-m", "32m", "busybox", "true").check()
    assert engine.inspect("modest")["State"]["OOMKilled"] is False


def test_memory_max_is_written(engine: Engine) -> None:
    group = _cgroup(engine, _sleeper(engine, "-m", "64m", "--memory-swap", "96m"))
    assert (group / "memory.max").read_text() == f"{64 * _MIB}\n"
    assert (group / "memory.swap.max").read_text() == f"{32 * _MIB}\n"


def test_forks_beyond_the_limit_fail(engine: Engine) -> None:
    forks = "for n in 1 2 3 4 5 6 7 8; do sleep 100 & done"
    result = engine.cli("run", "--rm", "--pids-limit", "5", "busybox", "sh", "-c", forks)
    assert "can't fork" in result.err


def test_cpu_max_is_written(engine: Engine) -> None:
    group = _cgroup(engine, _sleeper(engine, "--cpus", "0.5"))
    assert (group / "cpu.max").read_text() == "50000 100000\n"


def test_a_busy_container_is_throttled(engine: Engine) -> None:
    container = engine.cli("run", "-d", "--cpus", "0.1", "busybox", "sh", "-c", "while :; do :; done").check()
    group = _cgroup(engine, container.out.strip())

    def throttled() -> bool:
        stat = dict(line.split() for line in (group / "cpu.stat").read_text().splitlines())
        return int(stat["nr_throttled"]) > 0

    wait_until(throttled, "throttling")


def test_cpu_shares_become_a_weight(engine: Engine) -> None:
    group = _cgroup(engine, _sleeper(engine, "--cpu-shares", "2048"))
    assert int((group / "cpu.weight").read_text()) > 39


def test_the_cpuset_is_the_only_cpu_seen(engine: Engine) -> None:
    result = engine.cli(
        "run", "--rm", "--cpuset-cpus", "1", "busybox", "grep", "Cpus_allowed_list", "/proc/self/status"
    )
    assert result.check().out.split() == ["Cpus_allowed_list:", "1"]


def test_a_paused_container_is_frozen_and_thaws(engine: Engine) -> None:
    container = _sleeper(engine)
    group = _cgroup(engine, container)
    engine.cli("pause", container).check()
    assert "frozen 1" in (group / "cgroup.events").read_text()
    assert engine.inspect(container)["State"]["Paused"] is True
    engine.cli("unpause", container).check()
    assert "frozen 0" in (group / "cgroup.events").read_text()


def test_a_paused_container_can_be_removed(engine: Engine) -> None:
    container = _sleeper(engine)
    engine.cli("pause", container).check()
    engine.cli("rm", "-f", container).check()


def test_update_changes_a_running_container(engine: Engine) -> None:
    container = _sleeper(engine, "-m", "64m")
    group = _cgroup(engine, container)
    engine.cli(
        "update", "-m", "48m", "--memory-swap", "48m", "--pids-limit", "9", "--cpus", "0.25", container
    ).check()
    written = [(group / name).read_text().strip() for name in ("memory.max", "pids.max", "cpu.max")]
    assert written == [str(48 * _MIB), "9", "25000 100000"]


def test_stats_tell_what_the_kernel_counts(engine: Engine) -> None:
    container = _sleeper(engine, "-m", "64m", "--pids-limit", "7")
    stats = engine.api("GET", f"/containers/{container}/stats?stream=0&one-shot=1").check().json
    assert stats["memory_stats"]["limit"] == 64 * _MIB
    assert 0 < stats["memory_stats"]["usage"] < 64 * _MIB
    assert stats["pids_stats"] == {"current": 1, "limit": 7}
    assert stats["cpu_stats"]["cpu_usage"]["total_usage"] > 0


def test_devices_are_denied_by_a_filter(engine: Engine) -> None:
    make_and_read = "mknod /tmp/vda b 254 0 && dd if=/tmp/vda of=/dev/null bs=512 count=1"
    denied = engine.cli("run", "--rm", "busybox", "sh", "-c", make_and_read)
    assert denied.code != 0
    assert "not permitted" in denied.err
    engine.cli("run", "--rm", "busybox", "dd", "if=/dev/zero", "of=/dev/null", "count=1").check()


def test_a_device_that_was_asked_for_works(engine: Engine) -> None:
    read = ["dd", "if=/dev/vda", "of=/dev/null", "bs=512", "count=1"]
    engine.cli("run", "--rm", "--device", "/dev/vda:/dev/vda:r", "busybox", *read).check()


def test_info_names_the_version(engine: Engine) -> None:
    info = engine.cli("info", "--format", "{{json .CgroupVersion}}").check()
    assert json.loads(info.out) == "2"


def test_no_cgroup_is_left(engine: Engine) -> None:
    before = engine.footprint()
    for _ in range(3):
        engine.cli("run", "--rm", "-m", "32m", "busybox", "true").check()
    # Who stood by for something else leaves in his own time.
    wait_until(lambda: not engine.footprint().beyond(before), "no control group more than before")
