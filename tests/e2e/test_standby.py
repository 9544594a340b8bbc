"""Inits that stand by: a start that one of them fits gives the same container, and knows the host as it is."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.command import Cli
from tests.support.engine import Engine
from tests.support.standby import await_standby, inits, mount_points

pytestmark = [pytest.mark.root, pytest.mark.network, pytest.mark.usefixtures("no_leaks")]

LOOK = (
    "cat /proc/self/mountinfo; ls -lR /dev; ip address; mount; hostname; ls /proc; "
    "grep -E '^(Cap|Sec|NoNew|Sig(Ign|Blk)|Groups|Uid|Gid|NS)' /proc/1/status; "
    "cat /proc/sys/net/ipv4/ping_group_range; echo > /proc/sysrq-trigger; cat /proc/kcore; id; pwd; "
    "ls -la /proc/self/fd"
)


@pytest.fixture
def standing(engine: Engine, cli: Cli, busybox: str) -> Engine:
    """An engine where somebody stands by for the next start."""
    cli("run", "--rm", busybox, "true").check()
    await_standby(engine)
    return engine


def same(text: str) -> str:
    """Without what differs between any two containers: ids, addresses, times, numbers of mounts and links."""
    text = re.sub(r"[0-9a-f]{12,64}|[0-9a-f:]{17}|\b\d+\.\d+\.\d+\.\d+\b|eth0@if\d+|@if\d+", "X", text)
    text = re.sub(r"\b\w{3} +\d+ \d\d:\d\d", "T", text)
    return "\n".join(sorted(re.sub(r"\d+", "N", line) for line in text.splitlines()))


def test_a_container_cannot_tell(standing: Engine, cli: Cli, busybox: str) -> None:
    before = inits(standing)
    ahead = cli("run", "--rm", busybox, "sh", "-c", LOOK)
    assert set(inits(standing)) != set(before)
    # A sysctl of its own is what nobody stands by for.
    directly = cli("run", "--rm", "--sysctl", "net.ipv4.ip_forward=1", busybox, "sh", "-c", LOOK)
    assert same(ahead.out) == same(directly.out)
    assert same(ahead.err) == same(directly.err)
    assert ahead.code == directly.code


def test_it_sees_what_the_host_has_mounted_since(standing: Engine, cli: Cli, busybox: str, tmpfs: Path) -> None:
    (tmpfs / "since").write_text("seen\n")
    result = cli("run", "--rm", "-v", f"{tmpfs}:/m", busybox, "cat", "/m/since").check()
    assert result.out == "seen\n"


@pytest.fixture
def tmpfs(standing: Engine, tmp_path: Path) -> Iterator[Path]:
    """A file system that the host has mounted after the inits were ready."""
    subprocess.run(["mount", "-t", "tmpfs", "late", tmp_path], check=True)
    try:
        yield tmp_path
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_it_keeps_nothing_of_the_host(standing: Engine) -> None:
    for pid in inits(standing):
        points = mount_points(pid)
        assert not {"/tmp", "/sys", "/run", "/home"} & set(points)
        assert {os.readlink(f"/proc/{pid}/fd/{number}").partition(":")[0] for number in range(3, 64)
                if os.path.lexists(f"/proc/{pid}/fd/{number}")} <= {"socket", "/ahead"}  # fmt: skip


def test_explain_marks_what_is_done(standing: Engine, cli: Cli, busybox: str) -> None:
    document = json.loads(cli("run", "--rm", "--explain=json", busybox, "true").check().out)
    ready = {step["kind"] for step in document["steps"] if step["ready"]}
    assert {"namespace.clone", "mount", "device.nodes", "mount.mask", "process.session"} <= ready
    assert not {"root.overlay", "uts.hostname", "process.execute", "cgroup.join"} & ready
    await_standby(standing)
    assert "(ready: done ahead)" in cli("run", "--rm", "--explain", busybox, "true").check().out


def test_one_that_was_killed_is_not_missed(standing: Engine, cli: Cli, busybox: str) -> None:
    for pid in inits(standing):
        os.kill(pid, signal.SIGKILL)
    for number in range(3):
        assert cli("run", "--rm", busybox, "echo", str(number)).check().out == f"{number}\n"


def test_a_source_that_is_gone_is_said(standing: Engine, cli: Cli, busybox: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    cli("create", "--name", "gone", "--mount", f"type=bind,source={source},target=/m", busybox, "true").check()
    source.rmdir()
    result = cli("start", "gone")
    assert result.code == 1
    assert str(source) in result.err
    assert "no such file or directory" in result.err
    cli("rm", "gone").check()


def test_a_command_that_is_missing_is_said(standing: Engine, cli: Cli, busybox: str) -> None:
    assert cli("run", "--rm", busybox, "missing").code == 127


def test_many_short_ones_at_once(engine: Engine, busybox: str) -> None:
    """Of both kinds, so that some find somebody who stands by and others end before anyone looks at them."""

    def live(number: int) -> tuple[int, bytes]:
        host = {"NetworkMode": "none" if number % 2 else "bridge"}
        body = {"Image": busybox, "Cmd": ["sh", "-c", f"echo {number}; exit 3"], "HostConfig": host}
        path = f"/containers/{engine.api('POST', '/containers/create', body).check().json['Id']}"
        engine.api("POST", f"{path}/start").check()
        code = engine.api("POST", f"{path}/wait").check().json["StatusCode"]
        said = engine.api("GET", f"{path}/logs?stdout=1").check().body[8:]
        engine.api("DELETE", path).check()
        return code, said

    with ThreadPoolExecutor(8) as clients:
        assert list(clients.map(live, range(40))) == [(3, b"%d\n" % number) for number in range(40)]
