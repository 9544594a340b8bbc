"""AppArmor, where the kernel has it: what confines a container, and what the default profile denies."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.engine import Engine

pytestmark = [pytest.mark.root, pytest.mark.cgroup2]

_POLICY = Path("/sys/kernel/security/apparmor")
_DEFAULT = "corten-default (enforce)"
_OTHER = """
profile corten-test-other flags=(attach_disconnected,mediate_deleted) {
  file, network, capability, signal, ptrace,
  deny /etc/secret r,
}
"""
_WHO = ("cat", "/proc/self/attr/current")
_MOUNT = ("sh", "-c", "mkdir /m && mount -t tmpfs none /m")


@pytest.fixture
def engine(shared_engine: Engine) -> Iterator[Engine]:
    """The module's engine; each test leaves it without containers."""
    yield shared_engine
    for container in shared_engine.api("GET", "/containers/json?all=1").json:
        shared_engine.api("DELETE", f"/containers/{container['Id']}?force=1").check()


@pytest.fixture
def other() -> Iterator[str]:
    """A profile that somebody else has loaded."""
    subprocess.run(["/sbin/apparmor_parser", "-Kr"], input=_OTHER.encode(), check=True)
    yield "corten-test-other"
    (_POLICY / ".remove").write_text("corten-test-other")


def _said(engine: Engine, *arguments: str) -> str:
    return engine.cli(*arguments).check().out.strip()


def test_the_machine_has_apparmor() -> None:
    assert Path("/sys/module/apparmor/parameters/enabled").read_text().strip() == "Y"
    assert (_POLICY / "profiles").exists()


def test_a_container_is_confined_by_default_and_so_is_each_later_one(engine: Engine) -> None:
    for _ in range(5):  # from the third on, one that stood by, or waited for nothing but its command
        assert _said(engine, "run", "--rm", "busybox", *_WHO) == _DEFAULT
    assert _said(engine, "run", "--rm", "--init", "busybox", *_WHO) == _DEFAULT
    info = engine.api("GET", "/info").check().json
    assert "name=apparmor" in info["SecurityOptions"]
    assert not [text for text in info["Warnings"] or () if "AppArmor" in text]


def test_a_command_that_joins_is_confined_as_well(engine: Engine) -> None:
    engine.cli("run", "-d", "--name", "confined", "busybox", "sleep", "1000").check()
    assert engine.inspect("confined")["AppArmorProfile"] == "corten-default"
    for options in ((), ("-t",), ("-u", "1000"), ("--privileged",)):
        assert _said(engine, "exec", *options, "confined", *_WHO) == _DEFAULT
    # Among themselves they may send signals; from the engine they get them.
    script = "sleep 1000 & kill $!; wait $!; echo $?"
    assert _said(engine, "exec", "confined", "sh", "-c", script) == "143"
    engine.cli("kill", "confined").check()
    assert _said(engine, "wait", "confined") == "137"


def test_the_default_profile_denies_what_capabilities_would_allow(engine: Engine) -> None:
    free = ("--cap-add", "SYS_ADMIN", "--security-opt", "systempaths=unconfined")
    refused = engine.cli("run", "--rm", *free, "busybox", *_MOUNT)
    assert (refused.code, "ermission denied" in refused.err) == (255, True), refused
    engine.cli("run", "--rm", *free, "--security-opt", "apparmor=unconfined", "busybox", *_MOUNT).check()
    again = "for file in {}; do value=$(cat $file) && echo $value > $file && echo allowed || echo denied; done 2>&1"
    script = again.format("/proc/sys/vm/swappiness /sys/kernel/mm/ksm/run") + "; cat /sys/kernel/security/lsm >&2"
    for options, allowed in (((), 0), (("--security-opt", "apparmor=unconfined"), 2)):
        run = engine.cli("run", "--rm", *free, *options, "-v", "/sys:/sys", "busybox", "sh", "-c", script)
        assert (run.out.count("allowed"), run.out.count("denied"), "apparmor" in run.err) == (
            allowed, 0 if allowed else 4, bool(allowed),
        ), run  # fmt: skip
    assert _said(engine, "run", "--rm", "busybox", "sh", "-c", "echo 5 > /proc/self/oom_score_adj && echo y") == "y"


def test_a_profile_by_name(engine: Engine, other: str) -> None:
    option = ("--security-opt", f"apparmor={other}")
    engine.cli("run", "-d", "--name", "confined", *option, "busybox", "sleep", "1000").check()
    assert engine.inspect("confined")["AppArmorProfile"] == other
    assert _said(engine, "exec", "confined", *_WHO) == f"{other} (enforce)"
    engine.cli("exec", "confined", "sh", "-c", "echo x > /etc/secret").check()
    assert "Permission denied" in engine.cli("exec", "confined", "cat", "/etc/secret").err


def test_what_is_privileged_is_not_confined(engine: Engine) -> None:
    assert _said(engine, "run", "--privileged", "--name", "confined", "busybox", *_WHO) == "unconfined"
    assert engine.inspect("confined")["AppArmorProfile"] == "unconfined"


def test_a_profile_that_is_not_loaded_is_refused(engine: Engine) -> None:
    result = engine.cli("run", "--name", "confined", "--security-opt", "apparmor=nobody", "busybox", "true")
    assert result.code == 125, result
    assert "nobody" in result.err
    assert engine.inspect("confined")["State"]["Status"] == "created"


def test_the_default_profile_is_loaded_again_where_it_has_gone(engine: Engine) -> None:
    assert _said(engine, "run", "--rm", "busybox", *_WHO) == _DEFAULT
    (_POLICY / ".remove").write_text("corten-default")
    assert _said(engine, "run", "--rm", "busybox", *_WHO) == _DEFAULT


def test_it_is_explained(engine: Engine) -> None:
    assert "aa-exec -p corten-default" in _said(engine, "run", "--rm", "--explain", "busybox", "true")
