"""Devices by name (CDI): ``run --device vendor.com/class=name`` and ``RUN --device``."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support import contexts
from tests.support.command import Result
from tests.support.engine import Engine

pytestmark = [pytest.mark.root, pytest.mark.network]

_CANDIDATES = ("/dev/fuse", "/dev/loop-control", "/dev/net/tun", "/dev/vhost-vsock")
HOOK = f"""#!{sys.executable}
import json, os, sys
state = json.load(sys.stdin)
with open(state["bundle"] + "/config.json") as file:
    root = json.load(file)["root"]["path"]
with open(root + "/hooked", "w") as file:
    print(state["id"], state["status"], os.environ["GIVEN"], os.environ.get("HOME"), sys.argv[1], file=file)
"""
OF_BUILDS = "org.mobyproject.buildkit.device"
LOOK = (
    'set -e; echo "$CDI $COMMON $OWN"; stat -c "%a %t:%T %u:%g" /dev/cdi/zero; head -c 2 /dev/cdi/zero | od -An -tx1;'
    "cat /opt/cdi/shown; touch /opt/cdi/shown 2>/dev/null || echo read-only; id -G"
)
SEEN = ["box", "common", "other", "640", "1:5", "7:8", "00", "00", "text", "read-only", "0", "4242"]


def written(path: Path, kind: str, devices: Mapping[str, Any], **members: Any) -> None:
    """A specification of devices, each by its edits or, with annotations, whole."""
    listed = [
        {"name": name, **(one if "containerEdits" in one else {"containerEdits": one})} for name, one in devices.items()
    ]
    content = {"cdiVersion": "0.7.0", "kind": kind, "devices": listed, **members}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))  # which is YAML, too


def node(**members: Any) -> dict[str, Any]:
    return {"deviceNodes": [members]}


@pytest.fixture(scope="module")
def device() -> str:
    """A device that no container may use of itself."""
    for path in _CANDIDATES:
        if os.path.exists(path) and stat.S_ISCHR(os.stat(path).st_mode):
            return path
    pytest.skip(f"none of {', '.join(_CANDIDATES)} is here")


@pytest.fixture(scope="module")
def specs(workspace: Path, device: str) -> Path:
    """Two directories of specifications."""
    where = workspace / "cdi"
    (where / "host").mkdir(parents=True)
    (where / "host/shown").write_text("text\n")
    zero = {
        "env": ["CDI=box", "OWN=other"],
        "mounts": [{"hostPath": str(where / "host"), "containerPath": "/opt/cdi", "options": ["ro", "nosuid"]}],
        "additionalGids": [4242],
        **node(path="/dev/cdi/zero", type="c", major=1, minor=5, fileMode=0o640, uid=7, gid=8),
    }  # fmt: skip
    written(where / "low/box.yaml", "vendor.com/box", {"zero": zero}, containerEdits={"env": ["COMMON=common"]})
    written(where / "low/box2.yml", "vendor.com/pick", {"one": {"env": ["PICK=low"]}})
    picked = {"containerEdits": {"env": ["PICK=high"]}, "annotations": {f"{OF_BUILDS}.class": "x"}}
    written(where / "high/pick.json", "vendor.com/pick", {"one": picked})
    (where / "high/broken.json").write_text("{")
    open_ = {"containerEdits": {"env": ["OPEN=1"]}, "annotations": {f"{OF_BUILDS}.autoallow": "true"}}
    late = {"hooks": [{"hookName": "poststop", "path": "/bin/true"}]}
    hooks = [
        {"hookName": "createRuntime", "path": "/bin/sh", "args": ["sh", "-c", f"cat > {where}/state"]},
        {"hookName": "createContainer", "path": str(where / "hook"), "args": ["hook", "$PATH"], "env": ["GIVEN=1"]},
        {"hookName": "startContainer", "path": "/bin/busybox", "args": ["busybox", "touch", "/started"]},
    ]
    (where / "hook").write_text(HOOK)
    (where / "hook").chmod(0o755)
    failing = {"hookName": "createContainer", "path": "/bin/sh", "args": ["sh", "-c", "echo no card >&2; exit 3"]}
    others = {
        "real": node(path="/dev/real", hostPath=device, permissions="r"), "open": open_, "late": late,
        "hooked": {"hooks": hooks}, "failing": {"hooks": [failing]},
        "absent": node(path="/dev/no-such-device"),
        "left": {
            "mounts": [{"hostPath": str(where / "host/shown"), "containerPath": "/left/behind"}],
            **node(path="/left/node", type="c", major=1, minor=3),
        },
    }  # fmt: skip
    written(where / "high/more.json", "vendor.com/more", others)
    return where


@pytest.fixture(scope="module")
def engine(workspace: Path, busybox_archive: Path, specs: Path) -> Iterator[Engine]:  # type: ignore[override]
    made = Engine(workspace / "e", "--cdi-spec-dir", str(specs / "low"), "--cdi-spec-dir", str(specs / "high"))
    try:
        made.start().load(busybox_archive)
        yield made
    finally:
        made.remove()
    made.keep_contract()


def ran(engine: Engine, name: str, script: str, *options: str) -> Result:
    return engine.cli("run", "--rm", "--network", "none", "--device", name, *options, "busybox", "sh", "-c", script)


@pytest.mark.parametrize("client", ["corten", "docker"])
def test_a_device_is_all_that_its_specification_says(engine: Engine, client: str) -> None:
    cli = engine.cli if client == "corten" else engine.docker
    # A specification's variables win over the user's.
    options = ("--network", "none", "--env", "CDI=mine", "--device", "vendor.com/box=zero", "--device", "/dev/full")
    assert cli("run", "--rm", *options, "busybox", "sh", "-c", LOOK).check().out.split() == SEEN
    cli("create", "--name", f"by-{client}", *options, "busybox", "true").check()
    told = engine.inspect(f"by-{client}")["HostConfig"]
    assert [(one["Driver"], one["DeviceIDs"]) for one in told["DeviceRequests"]] == [("cdi", ["vendor.com/box=zero"])]
    assert [one["PathOnHost"] for one in told["Devices"]] == ["/dev/full"]


def test_with_all_rights_and_in_one_more_command(engine: Engine) -> None:
    script = LOOK.split("touch")[0] + "id -G"
    said = ran(engine, "vendor.com/box=zero", script, "--privileged").check()
    assert said.out.split() == [*SEEN[:9], "0", "4242"]
    options = ("--network", "none", "--device", "vendor.com/box=zero", "--user", "9:9", "--group-add", "77")
    engine.cli("run", "-d", "--name", "on", *options, "busybox", "sleep", "1000").check()
    assert engine.cli("exec", "on", "id", "-G").check().out.split() == ["9", "77", "4242"]
    assert engine.cli("exec", "-u", "5", "on", "id", "-G").check().out.split() == ["0"]
    engine.cli("rm", "-f", "on").check()


def test_a_node_can_be_opened_as_far_as_it_is_permitted(engine: Engine, device: str) -> None:
    numbers = os.stat(device).st_rdev
    script = (
        'stat -c "%a %t:%T" /dev/real; ( : < /dev/real ) && echo reads; ( : > /dev/real ) || echo stays;'
        f" mknod /dev/mine c {os.major(numbers)} {os.minor(numbers)}; ( : < /dev/mine ) && echo reads"
    )
    said = ran(engine, "vendor.com/more=real", script)
    assert said.out.split() == ["666", f"{os.major(numbers):x}:{os.minor(numbers):x}", "reads", "stays", "reads"]
    assert "Operation not permitted" in said.err
    without = ran(engine, "vendor.com/pick=one", f"mknod{script.split('mknod')[1]}")
    assert (without.out, "Operation not permitted" in without.err) == ("", True)


def test_what_there_is_and_what_is_wrong_with_it(engine: Engine, specs: Path) -> None:
    told = engine.api("GET", "/info").check().json
    assert told["CDISpecDirs"] == [str(specs / "low"), str(specs / "high")]
    more = [f"more={name}" for name in ("absent", "failing", "hooked", "late", "left", "open", "real")]
    names = ["box=zero", *more, "pick=one"]
    assert told["DiscoveredDevices"] == [{"Source": "cdi", "ID": f"vendor.com/{name}"} for name in names]
    wrong = f"CDI: Error associated with spec file {specs / 'high/broken.json'}: Expecting property name"
    assert [one for one in told["Warnings"] if one.startswith(wrong)]
    assert engine.said().count(wrong) == 1
    for shown in (engine.cli("info").check().out, engine.docker("info").check().out):
        assert f" CDI spec directories:\n  {specs / 'low'}\n  {specs / 'high'}\n" in shown
        assert " Discovered Devices:\n  cdi: vendor.com/box=zero\n" in shown
    assert ran(engine, "vendor.com/pick=one", "echo $PICK").out == "high\n"


def test_a_specification_that_changes_or_clashes(engine: Engine, specs: Path) -> None:
    written(specs / "high/new.json", "vendor.com/new", {"one": {"env": ["NEW=1"]}})
    assert ran(engine, "vendor.com/new=one", "echo $NEW").out == "1\n"
    written(specs / "high/new.json", "vendor.com/new", {"one": {"env": ["NEW=two"]}})
    assert ran(engine, "vendor.com/new=one", "echo $NEW").out == "two\n"
    (specs / "high/again.json").write_bytes((specs / "high/new.json").read_bytes())
    try:
        assert "unresolvable CDI devices vendor.com/new=one" in ran(engine, "vendor.com/new=one", "true").err
        assert 'conflicting device "vendor.com/new=one"' in engine.said()
    finally:
        (specs / "high/again.json").unlink()
        (specs / "high/new.json").unlink()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("vendor.com/none=x", "CDI device injection failed: unresolvable CDI devices vendor.com/none=x"),
        ("vendor.com/more=late", "vendor.com/more=late: poststop hooks of a specification are not supported here"),
        ("vendor.com/more=failing", "run hook /bin/sh: exit status 3: no card"),
        ("vendor.com/more=absent", 'failed to stat CDI host device "/dev/no-such-device": no such file or directory'),
    ],
)
def test_what_cannot_be_given(engine: Engine, name: str, told: str) -> None:
    # The docker command line takes "no such file" for a command that is not there.
    for cli, code in ((engine.cli, 125), (engine.docker, 127 if "no such file" in told else 125)):
        said = cli("run", "--rm", "--network", "none", "--device", name, "busybox", "true")
        assert (said.code, told in said.err) == (code, True), said.err


def test_hooks_are_run_while_it_is_made(engine: Engine, specs: Path) -> None:
    options = ("--name", "hooked", "--network", "none", "--device", "vendor.com/more=hooked")
    # Whoever stands by has left the host's files behind: none of them may be taken.
    for _ in range(2):
        said = engine.cli("run", *options, "busybox", "sh", "-c", "cat /hooked; ls /started").check()
        id = engine.inspect("hooked")["Id"]
        assert said.out == f"{id} creating 1 None $PATH\n/started\n"
        state = json.loads((specs / "state").read_text())
        assert (state["id"], state["status"], state["pid"] > 1) == (id, "creating", True)
        assert stat.S_IMODE(os.stat(f"{state['bundle']}/config.json").st_mode) == 0o600
        engine.cli("rm", "hooked").check()
    plan = engine.cli("run", "--explain", "--rm", *options[2:], "busybox", "true").check()
    assert "hooks" in plan.out + plan.err


def test_requests_that_mean_nothing(engine: Engine) -> None:
    for wrong, told in (({"Count": 1}, "unexpected count"), ({"Options": {"a": "b"}}, "unexpected options")):
        request = {"Driver": "cdi", "DeviceIDs": ["vendor.com/pick=one"], **wrong}
        body = {"Image": "busybox", "HostConfig": {"DeviceRequests": [request]}}
        made = engine.api("POST", "/containers/create", body).check().json["Id"]
        answer = engine.api("POST", f"/containers/{made}/start")
        assert (answer.status, told in answer.json["message"]) == (400, True)


# --- builds


def built(engine: Engine, where: Path, step: str, *options: str) -> Result:
    where = contexts.directory(where, f"FROM busybox\nRUN {step}\n")
    return engine.cli("build", "-t", "made", *options, str(where), timeout=110)


def test_a_build_has_a_device_that_is_allowed(engine: Engine, tmp_path: Path) -> None:
    name = "vendor.com/box=zero"
    step = f"--device={name},required {LOOK}"
    refused = built(engine, tmp_path, step)
    told = f"device {name} is requested by the build but not allowed\nbuild with --allow device={name}, or "
    assert (refused.code, told in refused.err) == (1, True), refused.err
    assert built(engine, tmp_path, step, "--allow", "device=vendor.com/pick=one").code == 1
    said = built(engine, tmp_path, step, "--allow", f"device={name}").check().err
    assert all(word in said for word in ("box common other", "640 1:5 7:8", "read-only", "0 4242")), said
    assert "Using cache" in built(engine, tmp_path, step, "--allow", "device").check().err
    assert built(engine, tmp_path, step).code == 1  # what is in the cache is not for everybody, either
    plain = built(engine, tmp_path, LOOK)
    assert (plain.code, "Using cache" in plain.err) == (1, False)
    wrong = built(engine, tmp_path, step, "--allow", "devices")
    assert "--allow devices: a build can be given network.host, security.insecure, device or device=NAME" in wrong.err


def test_which_devices_a_build_means(engine: Engine, tmp_path: Path) -> None:
    everything = 'echo "[$PICK$OPEN]"'
    for name, shown in (("pick=x", "[high]"), ("pick", "[high]"), ("pick=*", "[high]"), ("pick=one", "[high]")):
        step = f"--device=vendor.com/{name} {everything}; true {name}"
        assert shown in built(engine, tmp_path, step, "--allow", "device").check().err
    alias = "device=vendor.com/pick=one,alias=vendor.com/mine"
    assert "[high]" in built(engine, tmp_path, f"--device=vendor.com/mine {everything}", "--allow", alias).check().err
    required = built(engine, tmp_path, f"--device=vendor.com/none=x,required {everything}", "--allow", "device")
    assert (required.code, 'required device "vendor.com/none=x" is not registered' in required.err) == (1, True)
    optional = built(engine, tmp_path, f"--device=vendor.com/none=x {everything}").check().err
    assert "optional device vendor.com/none=x is not registered: the command has none" in optional
    assert "[]" in optional
    assert "Using cache" in built(engine, tmp_path, everything).check().err  # it had nothing


def test_the_classic_builder_has_what_everybody_may(engine: Engine, tmp_path: Path) -> None:
    where = contexts.directory(tmp_path, "FROM busybox\nRUN --device=vendor.com/more=open echo [$OPEN]\n")
    env = {"DOCKER_BUILDKIT": "0"}
    assert "[1]" in engine.docker("build", str(where), env=env).check().out
    contexts.directory(tmp_path, "FROM busybox\nRUN --device=vendor.com/pick=one true\n")
    refused = engine.docker("build", str(where), env=env)
    assert "device vendor.com/pick=one is requested by the build but not allowed" in refused.err


def test_nothing_of_a_device_is_in_a_layer(engine: Engine, tmp_path: Path) -> None:
    step = "--device=vendor.com/more=left cat /left/behind > /copy; test -c /left/node"
    built(engine, tmp_path, step, "--allow", "device").check()
    listed = engine.cli("run", "--rm", "--network", "none", "made", "sh", "-c", "cat /copy; ls -R /left")
    assert (listed.out, "No such file" in listed.err) == ("text\n", True), listed
    hooked = "--device=vendor.com/more=hooked ls /started"
    built(engine, tmp_path, hooked, "--allow", "device").check()
    changed = engine.cli("run", "--rm", "--network", "none", "made", "cat", "/hooked").check().out
    assert " creating 1 None $PATH" in changed  # that is in it: a hook may be there to change files
    failing = built(engine, tmp_path, hooked.replace("hooked", "failing"), "--allow", "device")
    assert (failing.code, "run hook /bin/sh: exit status 3: no card" in failing.err) == (1, True), failing.err
