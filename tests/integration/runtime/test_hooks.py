"""Hooks of the OCI runtime specification: when each runs, where, and what its failure means."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.bundles import Runtime, configure, validate
from tests.support.process import wait_until

pytestmark = pytest.mark.root
POINTS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
OUTSIDE = ("prestart", "createRuntime", "poststart", "poststop")
COMMAND = "echo command >> /told/order; exec sleep 1000"


def note(directory: str, point: str) -> str:
    """A script that keeps what it was told and where it ran."""
    return (
        f"cat > {directory}/{point}; echo {point} >> {directory}/order; "
        f"for one in mnt uts; do readlink /proc/self/ns/$one; done > {directory}/{point}.ns; "
        f"env > {directory}/{point}.env"
    )


def hooks_of(bundle: Path, scripts: dict[str, str], **fields: Any) -> dict[str, Any]:
    """One shell script a point; those of startContainer are found in the container."""
    return {
        point: [{
            "path": "/bin/sh" if point == "startContainer" else str(bundle / "rootfs/bin/busybox"),
            "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin", "HOOK=yes"], **fields,
        }]
        for point, script in scripts.items()
    }  # fmt: skip


def prepare(bundle: Path, scripts: dict[str, str], command: str = COMMAND, **fields: Any) -> Path:
    """A bundle with hooks; the directory that it, and its container as /told, write to."""
    told = bundle / "told"
    told.mkdir()
    configure(bundle, ["sh", "-c", command], top={"hooks": hooks_of(bundle, scripts, **fields)})
    config = json.loads((bundle / "config.json").read_text())
    config["mounts"].append({"destination": "/told", "type": "bind", "source": str(told), "options": ["bind"]})
    (bundle / "config.json").write_text(json.dumps({**config, "annotations": {"one": "two"}}))
    return told


def test_each_runs_at_its_point_and_place(runtime: Runtime, bundle: Path) -> None:
    told = bundle / "told"
    prepare(bundle, {point: note("/told" if point == "startContainer" else str(told), point) for point in POINTS})
    runtime("create", "--pid-file", str(bundle / "pid"), "hooked").check()
    assert (told / "order").read_text().split() == ["prestart", "createRuntime", "createContainer"]
    pid = (bundle / "pid").read_text()
    inside = [os.readlink(f"/proc/{pid}/ns/{kind}") for kind in ("mnt", "uts")]
    # What the bundle says later has no effect (runtime.md, "Lifecycle").
    (bundle / "config.json").write_text("{}")
    runtime("start", "hooked").check()
    wait_until(lambda: "command" in (told / "order").read_text(), "the command")
    order = (told / "order").read_text().split()
    assert order.index("startContainer") < order.index("command")
    assert "poststart" in order
    runtime("delete", "-f", "hooked").check()
    assert (told / "order").read_text().split()[-1] == "poststop"
    outside = [os.readlink(f"/proc/self/ns/{kind}") for kind in ("mnt", "uts")]
    for point in POINTS:
        assert (told / f"{point}.ns").read_text().split() == (outside if point in OUTSIDE else inside), point
        assert "HOOK=yes" in (told / f"{point}.env").read_text()
        state = json.loads((told / point).read_text())
        validate(state, "state-schema.json")
        assert (state["id"], state["annotations"]) == ("hooked", {"one": "two"})
        assert state["pid"] == (0 if point == "poststop" else int(pid))
    assert [json.loads((told / point).read_text())["status"] for point in POINTS] == [
        "creating", "creating", "creating", "created", "running", "stopped",
    ]  # fmt: skip


@pytest.mark.parametrize("point", ["prestart", "createRuntime", "createContainer"])
def test_a_failure_while_creating_leaves_nothing(runtime: Runtime, bundle: Path, point: str) -> None:
    told = bundle / "told"
    prepare(bundle, {point: "echo no good >&2; exit 3", "poststop": note(str(told), "poststop")})
    result = runtime("create", "failed")
    assert result.code == 1
    assert "exit status 3: no good" in result.err
    assert os.listdir(bundle / "state") == []
    assert (told / "poststop").exists()


def test_a_failure_at_the_start_is_told_and_the_command_never_runs(runtime: Runtime, bundle: Path) -> None:
    told = prepare(bundle, {"startContainer": "exit 4"})
    result = runtime("run", "failed")
    assert result.code != 0
    assert "run hook /bin/sh: exit status 4" in result.err
    assert not (told / "order").exists()
    assert os.listdir(bundle / "state") == []


@pytest.mark.parametrize("point", ["poststart", "poststop"])
def test_a_late_failure_is_a_warning(runtime: Runtime, bundle: Path, point: str) -> None:
    prepare(bundle, {point: "exit 5"}, "exit 7")
    result = runtime("run", "late")
    assert result.code == 7
    assert "warning: run hook" in result.err


def test_a_hook_that_takes_too_long_is_killed(runtime: Runtime, bundle: Path) -> None:
    prepare(bundle, {"createRuntime": "exec sleep 1000"}, timeout=1)
    result = runtime("create", "slow")
    assert result.code == 1
    assert "longer than its timeout of 1 s" in result.err


def test_a_hook_that_is_not_there_is_named(runtime: Runtime, bundle: Path) -> None:
    configure(bundle, ["true"], top={"hooks": {"createRuntime": [{"path": "/no/such/hook"}]}})
    assert "run hook /no/such/hook: no such file or directory" in runtime("create", "none").err


@pytest.mark.parametrize("hook", [{"path": "relative"}, {"path": "/bin/true", "timeout": 0}, {"args": []}])
def test_what_is_no_hook_is_refused(runtime: Runtime, bundle: Path, hook: dict[str, Any]) -> None:
    configure(bundle, ["true"], top={"hooks": {"poststop": [hook]}})
    result = runtime("create", "bad")
    assert result.code == 1
    assert "config.json" in result.err


def test_a_hook_in_the_container_is_not_the_runtime_itself(runtime: Runtime, bundle: Path) -> None:
    """As the command, so the hook: a link to /proc/self/exe would run the host's interpreter (CVE-2019-5736)."""
    (bundle / "rootfs/self").symlink_to("/proc/self/exe")
    configure(bundle, ["true"], top={"hooks": {"startContainer": [{"path": "/self"}]}})
    result = runtime("run", "self")
    assert "/proc" in result.err
    assert result.code != 0


def test_a_hook_mounts_into_the_root_before_the_pivot(runtime: Runtime, bundle: Path) -> None:
    """What createContainer is there for."""
    source = bundle / "source"
    source.mkdir()
    (source / "file").write_text("mounted by a hook\n")
    script = f"mount --bind {source} {bundle}/rootfs/tmp"
    prepare(bundle, {"createContainer": f"/bin/busybox {script}"}, "cat /tmp/file")
    assert runtime("run", "mounted").out == "mounted by a hook\n"
    assert f"{bundle}/rootfs/tmp" not in Path("/proc/self/mountinfo").read_text()
