"""``corten-runtime`` on real bundles: the operations of the OCI runtime specification."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.support.bundles import Runtime, argv, configure, executable, validate
from tests.support.command import run
from tests.support.dockerd import Dockerd
from tests.support.images import busybox_root
from tests.support.process import wait_until
from tests.support.user import User

pytestmark = pytest.mark.root


def status(runtime: Runtime, id: str) -> str:
    state = json.loads(runtime("state", id).check().out)
    validate(state, "state-schema.json")
    return str(state["status"])


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
    with subprocess.Popen([*argv(bundle), "run", "front"], cwd=bundle, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 9


def test_what_is_asked_of_a_running_container(runtime: Runtime, bundle: Path) -> None:
    configure(bundle, ["sleep", "1000"])
    runtime("run", "-d", "--pid-file", str(bundle / "pid"), "asked").check()
    assert json.loads(runtime("ps", "-f", "json", "asked").check().out) == [int((bundle / "pid").read_text())]
    runtime("pause", "asked").check()
    assert json.loads(runtime("state", "asked").out)["status"] == "paused"
    assert "it is paused" in runtime("pause", "asked").err
    runtime("resume", "asked").check()
    assert status(runtime, "asked") == "running"
    assert runtime("resume", "asked").code == 1
    (bundle / "resources").write_text(json.dumps({"pids": {"limit": 3}}))
    runtime("update", "-r", str(bundle / "resources"), "asked").check()
    too_many = runtime("exec", "asked", "sh", "-c", "sleep 5 & sleep 5 & sleep 5 & wait")
    assert "can't fork" in too_many.err
    runtime("pause", "asked").check()
    runtime("delete", "-f", "asked").check()
    assert "does not exist" in runtime("ps", "asked").err


def test_all_processes_are_killed_with_all(runtime: Runtime, bundle: Path) -> None:
    configure(bundle, ["sh", "-c", "sleep 1000 & sleep 1000 & wait"])
    runtime("run", "-d", "several").check()
    wait_until(lambda: len(json.loads(runtime("ps", "-f", "json", "several").out)) == 3, "the children")
    runtime("kill", "--all", "several", "KILL").check()
    wait_until(lambda: status(runtime, "several") == "stopped", "the end")


def test_features_and_version(runtime: Runtime) -> None:
    features = json.loads(runtime("features").check().out)
    validate(features, "features-schema.json")
    assert "mount" in features["linux"]["namespaces"]
    assert {"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"} == set(
        features["hooks"]
    )
    assert {"rro", "rbind", "rshared"} <= set(features["mountOptions"])
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
    wrapper = executable(tmp_path / "corten-runtime")
    result = run([
        "podman", "--root", str(short / "s"), "--runroot", str(short / "r"), "--storage-driver", "vfs",
        "--cgroup-manager", "cgroupfs", "--runtime", str(wrapper), "run", "--rm", "--network", "none",
        "--ulimit", "nofile=512:512", "--ulimit", "nproc=512:512", "--log-driver", "k8s-file",
        "--rootfs", str(bundle / "rootfs"), "sh", "-c", "echo by podman; exit 3",
    ])  # fmt: skip
    wait_until(lambda: _is_removed(short), "the end of podman's own cleaning")
    assert (result.code, result.out) == (3, "by podman\n"), result.err


@pytest.mark.dockerd
def test_dockerd_can_use_it(dockerd: Dockerd) -> None:
    """Its network comes by a prestart hook of dockerd's own."""
    docker = dockerd.docker
    script = "ls /sys/class/net | tr '\n' ' '; cat; exit 4"
    ran = docker("run", "--rm", "-i", "--runtime", "corten", "busybox", "sh", "-c", script, stdin=b"input")
    assert (ran.code, ran.out) == (4, "eth0 lo input"), ran.err
    assert docker("run", "--rm", "--runtime", "corten", "busybox", "no-such").code == 127
    docker("run", "-d", "--name", "guest", "--runtime", "corten", "-m", "64m", "busybox", "sleep", "1000").check()
    try:
        assert docker("exec", "guest", "sh", "-c", "exit 3").code == 3
        docker("pause", "guest").check()
        docker("unpause", "guest").check()
        assert "sleep 1000" in docker("top", "guest").check().out
        docker("update", "--memory", "96m", "--memory-swap", "96m", "guest").check()
        limit = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max"
        assert docker("exec", "guest", "sh", "-c", limit).out == f"{96 << 20}\n"
        docker("stop", "-t", "0", "guest").check()
        assert docker("inspect", "-f", "{{.State.ExitCode}}", "guest").out == "137\n"
    finally:
        docker("rm", "-f", "guest").check()
