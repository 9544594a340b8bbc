"""Bind mounts: what of the host's mounts appears inside and the other way round, and what read-only covers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import Cli, run
from tests.support.engine import Engine

pytestmark = [pytest.mark.root, pytest.mark.network]
NAME = "mounts"


@pytest.fixture
def cli(shared_engine: Engine) -> Iterator[Cli]:
    yield shared_engine.cli
    shared_engine.cli("rm", "-f", NAME)


@pytest.fixture
def peers(tmp_path: Path) -> Iterator[Path]:
    """A mount that is shared, as systemd makes the root of a machine."""
    place = tmp_path / "peers"
    place.mkdir()
    run(["mount", "-t", "tmpfs", "tmpfs", str(place)]).check()
    try:
        run(["mount", "--make-shared", str(place)]).check()
        (place / "outside").mkdir()
        (place / "inside").mkdir()
        yield place
    finally:
        while below := [point for point in mounts() if point.startswith(str(place))]:
            run(["umount", "-l", max(below, key=len)])


def mounts() -> list[str]:
    return [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]


@pytest.mark.parametrize(("mode", "comes_in", "goes_out"), [
    ("shared", True, True), ("rshared", True, True), ("slave", True, False), ("rslave", True, False),
    ("private", False, False), ("rprivate", False, False),
])  # fmt: skip
def test_propagation(cli: Cli, peers: Path, mode: str, comes_in: bool, goes_out: bool) -> None:
    before = set(mounts())
    flags = ("--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined")
    cli("run", "-d", "--name", NAME, *flags, "-v", f"{peers}:/x:{mode}", "busybox", "sleep", "1000").check()
    assert set(mounts()) == before, "a container's own mounts must not appear outside"
    run(["mount", "-t", "tmpfs", "tmpfs", str(peers / "outside")]).check()
    cli("exec", NAME, "mount", "-t", "tmpfs", "tmpfs", "/x/inside").check()
    assert (" /x/outside " in cli("exec", NAME, "cat", "/proc/self/mountinfo").out) is comes_in
    assert (str(peers / "inside") in mounts()) is goes_out
    shown = cli("inspect", "-f", "{{(index .Mounts 0).Propagation}} {{(index .Mounts 0).Mode}}", NAME).out
    assert shown == f"{mode} {mode}\n"
    cli("rm", "-f", NAME).check()
    assert str(peers) in mounts()
    assert set(mounts()) - before <= {str(peers / "inside"), str(peers / "outside")}


def test_by_mount_notation(cli: Cli, peers: Path) -> None:
    spec = f"type=bind,source={peers},target=/x,bind-propagation=rslave"
    cli("run", "-d", "--name", NAME, "--mount", spec, "busybox", "sleep", "1000").check()
    run(["mount", "-t", "tmpfs", "tmpfs", str(peers / "outside")]).check()
    assert " /x/outside " in cli("exec", NAME, "cat", "/proc/self/mountinfo").out


@pytest.mark.parametrize("mode", ["shared", "slave"])
def test_a_private_source_is_refused(cli: Cli, tmp_path: Path, mode: str) -> None:
    private = tmp_path / "private"
    private.mkdir()
    run(["mount", "--bind", str(private), str(private)]).check()
    try:
        run(["mount", "--make-private", str(private)]).check()
        result = cli("run", "--rm", "-v", f"{private}:/x:{mode}", "busybox", "true")
        assert result.code == 125
        assert f"path {private} is mounted on {private} but it is not a shared" in result.err
    finally:
        run(["umount", "-l", str(private)])
    assert cli("ps", "-aq", "--filter", "status=created").out == ""


@pytest.mark.parametrize(("options", "code"), [
    ("readonly", 1), ("readonly,bind-recursive=enabled", 1), ("readonly,bind-recursive=writable", 0),
    ("readonly,bind-recursive=readonly,bind-propagation=rprivate", 1), ("bind-recursive=enabled", 0),
])  # fmt: skip
def test_read_only_covers_what_is_mounted_below(cli: Cli, peers: Path, options: str, code: int) -> None:
    run(["mount", "-t", "tmpfs", "tmpfs", str(peers / "outside")]).check()
    spec = f"type=bind,source={peers},target=/x,{options}"
    result = cli("run", "--rm", "--mount", spec, "busybox", "sh", "-c", "touch /x/outside/file; echo $?")
    assert result.out == f"{code}\n", result
    if "readonly" in options:
        assert "Read-only" in cli("run", "--rm", "--mount", spec, "busybox", "touch", "/x/file").err


def test_what_is_mounted_below_is_left_out(cli: Cli, peers: Path) -> None:
    run(["mount", "-t", "tmpfs", "tmpfs", str(peers / "outside")]).check()
    (peers / "outside/file").touch()
    spec = f"type=bind,source={peers},target=/x,bind-recursive=disabled"
    assert cli("run", "--rm", "--mount", spec, "busybox", "ls", "/x/outside").check().out == ""


@pytest.mark.parametrize(("options", "says"), [
    ("bind-recursive=some", "must be \"enabled\", \"disabled\", \"writable\", or \"readonly\""),
    ("bind-recursive=writable", "requires 'readonly' to be specified"),
    ("readonly,bind-recursive=readonly", "requires 'bind-propagation=rprivate' to be specified"),
    ("bind-propagation=some", "invalid propagation mode: some"),
])  # fmt: skip
def test_what_contradicts_itself(cli: Cli, options: str, says: str) -> None:
    result = cli("run", "--rm", "--mount", f"type=bind,source=/tmp,target=/x,{options}", "busybox", "true")
    assert result.code == 125
    assert says in result.err
