"""The engine of an ordinary user: the same commands, its ids and places, and what it says where it can do less."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.support import http
from tests.support.process import wait_until
from tests.support.registry import Registry
from tests.support.replay import replay
from tests.support.terminal import Terminal
from tests.support.user import User

pytestmark = pytest.mark.root

DEFAULT_CAPABILITIES = "00000000a80425fb"
"""Docker's fourteen, as /proc/self/status has them."""


# --- the first commands


def test_hello_world_needs_nothing_but_a_login(ordinary_user: User) -> None:
    result = ordinary_user.cli("run", "--rm", "hello-world")
    assert result.code == 0
    assert "Hello from Corten!" in result.out
    assert ordinary_user.socket.stat().st_mode & 0o777 == 0o600
    assert ordinary_user.run_directory.stat().st_mode & 0o777 == 0o700
    assert (ordinary_user.root / "corten.db").stat().st_uid == ordinary_user.uid


def test_exit_codes_and_streams_are_dockers(ordinary_user: User) -> None:
    assert ordinary_user.box("busybox", "sh", "-c", "exit 42").code == 42
    assert ordinary_user.box("busybox", "/etc/passwd").code == 126
    assert ordinary_user.box("busybox", "nothing-like-it").code == 127
    result = ordinary_user.cli("run", "--rm", "-i", "--network", "none", "busybox", "cat", stdin=b"through")
    assert result.out == "through"


def test_what_a_container_is_allowed_is_dockers(ordinary_user: User) -> None:
    script = "grep -E 'CapBnd|CapEff|^Seccomp:' /proc/self/status; cat /proc/1/cgroup | wc -l; mknod /x c 1 3"
    result = ordinary_user.box("busybox", "sh", "-c", script)
    fields = result.out.split()
    assert fields[1] == fields[3] == DEFAULT_CAPABILITIES
    assert fields[5] == "2"
    assert "not permitted" in result.err


def test_a_terminal(ordinary_user: User) -> None:
    argv = ordinary_user.cli.command("run", "--rm", "-it", "--network", "none", "busybox", "sh")
    with Terminal(argv, env=ordinary_user.environment(), rows=33, columns=77) as terminal:
        terminal.expect("# ")
        terminal.send("stty size; tty; id -u\n")
        terminal.expect("33 77")
        terminal.expect("/dev/pts/0")
        terminal.send("exit 7\n")
        assert terminal.wait() == 7
        assert terminal.restored


def test_exec_logs_top_and_the_end(ordinary_user: User) -> None:
    cli = ordinary_user.cli
    script = "trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done"
    cli("run", "-d", "--name", "worker", "--network", "none", "busybox", "sh", "-c", script).check()
    try:
        wait_until(lambda: cli("logs", "worker").out == "ready\n", "its first line")
        assert cli("exec", "-u", "1000", "worker", "id", "-u").out == "1000\n"
        assert cli("exec", "-i", "worker", "cat", stdin=b"in").out == "in"
        assert any("sh -c trap" in line for line in cli("top", "worker").check().lines[1:])
        assert not any("corten" in line for line in cli("top", "worker").lines)
        cli("stop", "worker").check()
        assert cli("inspect", "-f", "{{.State.ExitCode}}", "worker").out == "3\n"
    finally:
        cli("rm", "-f", "worker").check()


def test_attach_and_kill(ordinary_user: User) -> None:
    cli = ordinary_user.cli
    script = "while :; do echo tick; sleep 0.05; done"
    cli("run", "-d", "--name", "clock", "--network", "none", "busybox", "sh", "-c", script).check()
    try:
        command, environment = cli.command("attach", "--no-stdin", "clock"), ordinary_user.environment()
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as attached:
            assert attached.stdout is not None
            assert attached.stdout.readline() == b"tick\n"
            cli("kill", "clock").check()
            assert attached.wait(20) == 137
        assert cli("wait", "clock").out == "137\n"
    finally:
        cli("rm", "-f", "clock").check()


# --- ids


def test_files_belong_outside_to_the_ids_that_were_granted(ordinary_user: User, tmp_path: Path) -> None:
    cli = ordinary_user.cli
    script = "touch /data/root && chown 1000:1000 /data && su alice -c 'touch /data/alice'"
    ordinary_user.box("-v", "owners:/data", "busybox", "sh", "-c", script).check()
    try:
        place = Path(cli("volume", "inspect", "-f", "{{.Mountpoint}}", "owners").out.strip())
        assert (place / "root").stat().st_uid == ordinary_user.uid
        # 0 is the user, and the granted ids follow from 1 on.
        assert (place / "alice").stat().st_uid == ordinary_user.first_id + 999
        assert (place / "alice").stat().st_gid == ordinary_user.first_id + 999
    finally:
        cli("volume", "rm", "owners").check()
    assert not place.exists()


def test_files_of_a_bind_mount_are_the_users_own(ordinary_user: User) -> None:
    shared = ordinary_user.home / "shared"
    assert ordinary_user.box("-v", f"{shared}:/here", "busybox", "touch", "/here/made").code == 0
    assert (shared / "made").stat().st_uid == ordinary_user.uid
    secret = ordinary_user.box("-v", "/etc/shadow:/shadow:ro", "busybox", "cat", "/shadow")
    assert secret.code != 0
    assert secret.out == ""


def test_cp_both_ways(ordinary_user: User, sleeper: str) -> None:
    cli, home = ordinary_user.cli, ordinary_user.home
    ordinary_user.run("sh", "-c", f"echo carried > {home}/file").check()
    cli("cp", f"{home}/file", f"{sleeper}:/tmp/there").check()
    assert cli("exec", sleeper, "stat", "-c", "%u:%g", "/tmp/there").out == "0:0\n"
    cli("cp", f"{sleeper}:/tmp/there", f"{home}/back").check()
    assert (home / "back").read_text() == "carried\n"
    assert (home / "back").stat().st_uid == ordinary_user.uid
    assert "A /tmp/there" in cli("diff", sleeper).lines


def test_deleted_and_replaced_directories_are_seen_by_diff(ordinary_user: User, sleeper: str) -> None:
    cli = ordinary_user.cli
    cli("exec", sleeper, "sh", "-c", "rm /etc/passwd; rm -r /var/www; mkdir /var/www; touch /var/www/new").check()
    changes = cli("diff", sleeper).lines
    assert "D /etc/passwd" in changes
    assert "A /var/www/new" in changes


def test_an_id_that_was_not_granted(ordinary_user: User) -> None:
    result = ordinary_user.box("-u", "70000", "busybox", "true")
    assert result.code == 125
    assert "/etc/subuid" in result.err


# --- what it cannot do, it says


def test_limits_without_control_groups_are_warned_of(ordinary_user: User) -> None:
    wanted = ("-m", "64m", "--cpus", "1", "--pids-limit", "9", "--cpuset-cpus", "0", "--blkio-weight", "10")
    result = ordinary_user.box(*wanted, "busybox", "true")
    assert result.code == 0
    for controller in ("memory", "cpu", "pids", "cpuset", "io"):
        assert f"no control group with the {controller} controller" in result.err
    wanted = ("--oom-score-adj", "-500", "--ulimit", "nofile=2000000000")
    result = ordinary_user.box(*wanted, "busybox", "cat", "/proc/self/oom_score_adj")
    assert result.out == Path("/proc/self/oom_score_adj").read_text()
    assert "cannot go below its own" in result.err
    assert "Ulimits lowered" in result.err


def test_pause_and_stats_say_why_they_cannot(ordinary_user: User, sleeper: str) -> None:
    for command in (("pause", sleeper), ("stats", "--no-stream", sleeper)):
        result = ordinary_user.cli(*command)
        assert result.code == 1
        assert result.err.count("no control groups") == 1
    assert ordinary_user.inspect(sleeper)["State"]["Paused"] is False
    assert "Memory limits discarded" in ordinary_user.cli("update", "-m", "64m", sleeper).err


def test_without_a_network_named_there_is_none_and_it_says_so(ordinary_user: User) -> None:
    result = ordinary_user.cli("run", "--rm", "busybox", "ls", "/sys/class/net")
    assert result.out == "lo\n"
    assert "no network" in result.err
    assert "--network host" in result.err
    assert "no network" not in ordinary_user.box("busybox", "true").err


@pytest.mark.parametrize("wanted", [("--network", "bridge"), ("-p", "8080:80"), ("-P",)])
def test_bridge_networks_are_refused_with_a_hint(ordinary_user: User, wanted: tuple[str, ...]) -> None:
    result = ordinary_user.cli("run", "--rm", *wanted, "busybox", "true")
    assert result.code == 125
    assert "bridge networks need root" in result.err
    assert "--network host" in result.err
    assert ordinary_user.cli("ps", "-aq").out == ""
    assert ordinary_user.cli("network", "create", "mine").code == 1


def test_info_is_open_about_it(ordinary_user: User) -> None:
    told = ordinary_user.cli("info").check()
    assert "rootless" in told.out
    assert "Cgroup Driver: none" in told.out
    assert "No bridge networks" in told.err


# --- namespaces of the host


def test_the_hosts_network(ordinary_user: User) -> None:
    cli = ordinary_user.cli
    script = "readlink /proc/self/ns/net; ls /sys/class/net/lo/ifindex; touch /sys/x"
    result = cli("run", "--rm", "--network", "host", "busybox", "sh", "-c", script)
    assert result.out.split() == [os.readlink("/proc/self/ns/net"), "/sys/class/net/lo/ifindex"]
    assert "Read-only file system" in result.err
    cli("run", "-d", "--name", "host", "--network", "host", "busybox", "sleep", "1000").check()
    try:
        assert cli("exec", "host", "hostname").out.strip() == os.uname().nodename
        joined = cli("run", "--rm", "--network", "container:host", "busybox", "hostname")
        assert joined.out.strip() == os.uname().nodename
    finally:
        cli("rm", "-f", "host").check()


def test_namespaces_of_the_host_and_of_containers(ordinary_user: User, sleeper: str) -> None:
    assert ordinary_user.box("--pid", "host", "busybox", "sh", "-c", "[ $$ -gt 1 ] && ls -d /proc/1").code == 0
    assert ordinary_user.box("--ipc", "host", "busybox", "touch", "/dev/shm").code == 0
    other = ordinary_user.cli("run", "--rm", "--network", f"container:{sleeper}", "busybox", "hostname")
    assert other.out == ordinary_user.cli("exec", sleeper, "hostname").out
    assert "sleep 1000" in ordinary_user.box("--pid", f"container:{sleeper}", "busybox", "ps").out


def test_devices_are_the_hosts_with_its_modes(ordinary_user: User) -> None:
    result = ordinary_user.box("--device", "/dev/zero:/dev/other", "busybox", "head", "-c", "3", "/dev/other")
    assert result.raw == b"\0\0\0"
    others = {entry.name for entry in os.scandir("/dev") if entry.name.startswith(("kmsg", "loop0", "vda"))}
    shown = ordinary_user.box("--privileged", "busybox", "ls", "/dev").out.split()
    assert others <= set(shown)
    missing = ordinary_user.box("--device", "/dev/no-such", "busybox", "true")
    assert missing.code == 125


def test_devices_by_name_are_the_hosts_too(ordinary_user: User) -> None:
    shared = ordinary_user.home / "shared"
    hook = ["sh", "-c", f"cat > {shared}/state"]
    edits = {
        "zero": {
            "env": ["CDI=1"], "additionalGids": [55],
            "deviceNodes": [{"path": "/dev/mine", "hostPath": "/dev/zero", "type": "c", "major": 1, "minor": 5}],
            "mounts": [{"hostPath": str(shared), "containerPath": "/shared", "options": ["ro"]}],
            "hooks": [{"hookName": "createContainer", "path": "/bin/sh", "args": hook}],
        },
        "other": {"deviceNodes": [{"path": "/dev/null", "type": "c", "major": 1, "minor": 5}]},
        "group": {"additionalGids": [4_000_000]},
    }  # fmt: skip
    devices = [{"name": name, "containerEdits": one} for name, one in edits.items()]
    spec = ordinary_user.home / ".config/cdi/mine.json"
    ordinary_user.run("mkdir", "-p", str(shared), str(spec.parent)).check()
    spec.write_text(json.dumps({"cdiVersion": "0.7.0", "kind": "vendor.com/x", "devices": devices}))
    spec.chmod(0o644)
    script = "head -c 3 /dev/mine; echo $CDI; id -G; touch /shared/x"
    told = ordinary_user.box("--device", "vendor.com/x=zero", "busybox", "sh", "-c", script)
    assert (told.raw, "Read-only file system" in told.err) == (b"\0\0\x001\n0 55\n", True)
    for name, cause in (("other", "/dev/null is not the device 1:5"), ("group", "group 4000000 is not among those")):
        refused = ordinary_user.box("--device", f"vendor.com/x={name}", "busybox", "true")
        assert (refused.code, f"CDI device injection failed: {cause}" in refused.err) == (125, True), refused.err
    assert json.loads((shared / "state").read_text())["status"] == "creating"
    assert "  cdi: vendor.com/x=zero\n" in ordinary_user.cli("info").out


# --- images


def test_images_come_in_every_way(ordinary_user: User, registry: Registry, tmp_path: Path) -> None:
    from tests.support import images

    cli = ordinary_user.cli
    root = images.busybox_root(tmp_path / "root")
    registry.put_image("tools/busybox", [images.layer_of(root)])
    reference = registry.reference("tools/busybox")
    cli("pull", reference).check()
    assert ordinary_user.box(reference, "echo", "pulled").out == "pulled\n"
    cli("rmi", reference).check()
    cli("image", "bootstrap", "busybox").check()
    assert ordinary_user.box("busybox", "echo", "made").out == "made\n"


# --- explaining


def test_the_launchers_steps_are_explained_as_done(ordinary_user: User) -> None:
    result = ordinary_user.box("--explain", "busybox", "echo", "executed").check()
    assert result.out.index("(ready: done ahead)") < result.out.index("# Namespaces") < result.out.index("executed\n")
    granted = f"newuidmap $PID 0 {ordinary_user.uid} 1 1 {ordinary_user.first_id} 65536"
    assert granted in result.out
    assert "userxattr" in result.out
    assert 'mount --bind /dev/null "$ROOT/dev/null"' in result.out


def test_a_shell_of_the_users_can_replay_the_file_system(lone_user: User) -> None:
    """The launcher's steps too: with a single id, unshare(1) can do them itself."""
    options = ("--network", "none", "--hostname", "replayed")
    created = lone_user.cli("create", *options, "busybox", "true").check().out.strip()
    try:
        steps = http.request(lone_user.socket, "GET", f"/corten/containers/{created}/plan").check().json["steps"]
        assert [step["ready"] for step in steps if step["kind"].startswith("launcher.")] == [True, True]
        script = lone_user.installation.directory / "replay"
        before = [*lone_user.command(), "unshare", "--user", "--map-root-user", "--mount"]
        pid, name, processes = replay(steps, script, lone_user.environment(), before)
        assert (pid, name) == ("1", "replayed")
        assert processes < 5
    finally:
        lone_user.cli("rm", "-f", created).check()


# --- a user without subordinate ids


def test_a_single_id_is_root_and_all_is_root_s(lone_user: User) -> None:
    assert lone_user.box("busybox", "id").out == "uid=0(root) gid=0(root)\n"
    assert lone_user.box("busybox", "stat", "-c", "%u:%g", "/home/alice", "/etc/passwd").out == "0:0\n0:0\n"
    assert "containers have a single user and group" in (lone_user.root / "engine.log").read_text()
    assert "A single user and group id" in lone_user.cli("info").err
    explained = lone_user.box("--explain", "busybox", "true").out
    assert f"echo 0 {lone_user.uid} 1 > /proc/$PID/uid_map" in explained


def test_a_single_id_says_what_it_cannot_be(lone_user: User) -> None:
    result = lone_user.box("-u", "1000", "busybox", "true")
    assert result.code == 125
    assert "/etc/subuid" in result.err
    assert lone_user.cli("ps", "-aq").out == ""


def test_a_single_id_takes_layers_and_archives_of_others(lone_user: User, tmp_path: Path) -> None:
    import io
    import tarfile

    from tests.support import images

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo("mail")
        entry.uid, entry.gid, entry.size = 8, 8, 1
        archive.addfile(entry, io.BytesIO(b"x"))
    packed = images.docker_archive(tmp_path / "mail.tar", "mail:latest", [buffer.getvalue()])
    said = lone_user.cli("load", stdin=packed.read_bytes()).check()
    assert "1 files of other owners are root's here" in said.out + said.err
    cli = lone_user.cli
    cli("create", "--name", "box", "--network", "none", "busybox", "stat", "-c", "%u", "/tmp/mail").check()
    try:
        cli("cp", "-", "box:/tmp", stdin=buffer.getvalue()).check()
        assert cli("start", "-a", "box").out == "0\n"
    finally:
        cli("rm", "-f", "box").check()
