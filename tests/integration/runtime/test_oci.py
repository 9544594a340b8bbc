"""``corten-runtime`` on real bundles: the operations of the OCI runtime specification."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import Result, run
from tests.support.images import busybox_problem, busybox_root
from tests.support.process import wait_until
from tests.support.user import User

pytestmark = pytest.mark.root
PROJECT = Path(__file__).resolve().parents[3]
CAPABILITIES = ["CAP_KILL", "CAP_CHOWN"]
Runtime = Callable[..., Result]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle of the machine's busybox."""
    if problem := busybox_problem():
        pytest.skip(problem)
    busybox_root(tmp_path / "rootfs")
    configure(tmp_path, ["sh", "-c", "echo from the bundle; exit 5"])
    return tmp_path


def group_of(bundle: Path) -> str:
    """A control group that no other run of these tests has."""
    return f"corten-oci-{hashlib.sha256(bytes(bundle)).hexdigest()[:8]}"


def configure(bundle: Path, args: list[str], **process: Any) -> None:
    """Write the config.json of a command."""
    sets = dict.fromkeys(("bounding", "effective", "permitted"), CAPABILITIES)
    (bundle / "config.json").write_text(json.dumps({
        "ociVersion": "1.0.2",
        "process": {"user": {"uid": 0, "gid": 0}, "args": args, "env": ["PATH=/bin"], "cwd": "/", "capabilities": sets,
                    **process},
        "root": {"path": "rootfs"}, "hostname": "oci",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]},
        ],
        "linux": {"namespaces": [{"type": one} for one in ("pid", "mount", "ipc", "uts", "network")],
                  "resources": {"devices": [{"allow": False, "access": "rwm"}]},
                  "cgroupsPath": f"/{group_of(bundle)}/one"},
    }))  # fmt: skip


@pytest.fixture
def runtime(bundle: Path) -> Iterator[Runtime]:
    """corten-runtime with a root of its own; what a test leaves is removed."""
    argv = [sys.executable, str(PROJECT / "scripts/corten-runtime"), "--root", str(bundle / "state")]

    def call(*arguments: str) -> Result:
        """Into files: a created container keeps the streams open, and the end of a pipe would not come."""
        out, err = bundle / "out", bundle / "err"
        with out.open("wb") as stdout, err.open("wb") as stderr:
            done = subprocess.run([*argv, *arguments], cwd=bundle, stdout=stdout, stderr=stderr, timeout=60)
        return Result(tuple(arguments), done.returncode, out.read_text(), err.read_text())

    yield call
    for one in json.loads(call("list", "-f", "json").out):
        call("delete", "-f", one["id"])
    for controller in Path("/sys/fs/cgroup").iterdir():
        if (group := controller / group_of(bundle)).is_dir():
            group.rmdir()


def status(runtime: Runtime, id: str) -> str:
    return str(json.loads(runtime("state", id).check().out)["status"])


def test_run_waits_and_leaves_nothing(runtime: Runtime, bundle: Path) -> None:
    result = runtime("run", "one")
    assert (result.code, result.out) == (5, "from the bundle\n")
    assert os.listdir(bundle / "state") == []


def test_the_life_of_a_container(runtime: Runtime, bundle: Path) -> None:
    configure(bundle, ["sleep", "1000"])
    runtime("create", "--pid-file", str(bundle / "pid"), "life").check()
    assert status(runtime, "life") == "created"
    pid = int((bundle / "pid").read_text())
    assert Path(f"/proc/{pid}/comm").read_text() != "sleep\n"
    assert runtime("create", "life").code == 1
    runtime("start", "life").check()
    assert status(runtime, "life") == "running"
    assert Path(f"/proc/{pid}/comm").read_text() == "sleep\n"
    assert runtime("start", "life").code == 1
    assert runtime("delete", "life").code == 1
    inside = runtime("exec", "life", "sh", "-c", "hostname; readlink /proc/1/exe; exit 7")
    assert (inside.code, inside.out) == (7, "oci\n/bin/busybox\n")
    runtime("kill", "life", "KILL").check()
    wait_until(lambda: status(runtime, "life") == "stopped", "the end of the container")
    assert runtime("kill", "life", "TERM").code == 1
    runtime("delete", "life").check()
    assert runtime("state", "life").code == 1


@pytest.mark.parametrize(("command", "says"), [("no-such", "not found"), ("/etc/passwd", "permission denied")])
def test_a_command_that_cannot_run_is_told_and_leaves_nothing(
    runtime: Runtime, bundle: Path, command: str, says: str
) -> None:
    configure(bundle, [command])
    result = runtime("run", "bad")
    assert says in result.err
    assert result.code in (126, 127)
    assert os.listdir(bundle / "state") == []


def test_the_terminal_goes_to_the_console_socket(runtime: Runtime, bundle: Path) -> None:
    configure(bundle, ["tty"], terminal=True)
    assert "console-socket" in runtime("create", "tty").err
    path = bundle / "console"
    with socket.socket(socket.AF_UNIX) as console:
        console.bind(str(path))
        console.listen(1)
        runtime("create", "--console-socket", str(path), "tty").check()
        receiver, _ = console.accept()
        with receiver:
            _, (master,), _, _ = socket.recv_fds(receiver, 64, 1)
    try:
        runtime("start", "tty").check()
        assert os.read(master, 100) == b"/dev/pts/0\r\n"
    finally:
        os.close(master)


def test_signals_reach_the_command_of_a_foreground_run(runtime: Runtime, bundle: Path) -> None:
    configure(bundle, ["sh", "-c", "trap 'exit 9' TERM; echo ready; while true; do sleep 0.05; done"])
    argv = [sys.executable, str(PROJECT / "scripts/corten-runtime"), "--root", str(bundle / "state"), "run", "front"]
    with subprocess.Popen(argv, cwd=bundle, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 9


def test_features_and_version(runtime: Runtime) -> None:
    features = json.loads(runtime("features").check().out)
    assert "mount" in features["linux"]["namespaces"]
    assert "corten-runtime version" in runtime("--version").check().out


def test_an_ordinary_user_brings_a_user_namespace(lone_user: User) -> None:
    """As ``runc spec --rootless`` makes it: root inside is the user outside."""
    bundle = lone_user.home / "bundle"
    busybox_root(bundle / "rootfs")
    configure(bundle, ["sh", "-c", "id; cat /proc/self/uid_map; exit 4"])
    config = json.loads((bundle / "config.json").read_text())
    config["linux"] |= {
        "namespaces": [*config["linux"]["namespaces"], {"type": "user"}],
        "uidMappings": [{"containerID": 0, "hostID": lone_user.uid, "size": 1}],
        "gidMappings": [{"containerID": 0, "hostID": lone_user.gid, "size": 1}],
        "resources": {},
    }
    config["mounts"].append({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"]})
    (bundle / "config.json").write_text(json.dumps(config))
    for path in (bundle, *bundle.rglob("*")):
        os.chown(path, lone_user.uid, lone_user.gid, follow_symlinks=False)
    result = lone_user.run("sh", "-c", f"cd {bundle} && corten-runtime run one")
    assert result.code == 4, result.err
    assert result.out.split() == ["uid=0(root)", "gid=0(root)", "0", str(lone_user.uid), "1"]
    assert os.listdir(lone_user.runtime / "corten-runtime") == []


def _is_removed(directory: Path) -> bool:
    shutil.rmtree(directory, ignore_errors=True)
    return not directory.exists()


@pytest.mark.skipif(not shutil.which("podman"), reason="podman is not installed")
def test_another_engine_can_use_it(bundle: Path, tmp_path: Path) -> None:
    short = Path(tempfile.mkdtemp(prefix="pod-"))  # podman takes 50 characters
    wrapper = tmp_path / "corten-runtime"
    wrapper.write_text(f'#!/bin/sh\nexec {sys.executable} {PROJECT}/scripts/corten-runtime "$@"\n')
    wrapper.chmod(0o755)
    result = run([
        "podman", "--root", str(short / "s"), "--runroot", str(short / "r"), "--storage-driver", "vfs",
        "--cgroup-manager", "cgroupfs", "--runtime", str(wrapper), "run", "--rm", "--network", "none",
        "--ulimit", "nofile=512:512", "--ulimit", "nproc=512:512", "--log-driver", "k8s-file",
        "--rootfs", str(bundle / "rootfs"), "sh", "-c", "echo by podman; exit 3",
    ])  # fmt: skip
    wait_until(lambda: _is_removed(short), "the end of podman's own cleaning")
    assert (result.code, result.out) == (3, "by podman\n"), result.err
