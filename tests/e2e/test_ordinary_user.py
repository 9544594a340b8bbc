"""The engine of an ordinary user: the same commands, its ids and places, and what it says where it can do less."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import http
from tests.support.command import Result
from tests.support.command import run as command_run
from tests.support.engine import PROJECT
from tests.support.process import command_line, state, wait_until
from tests.support.registry import Registry
from tests.support.replay import replay
from tests.support.terminal import Terminal
from tests.support.user import Installation, User, without_user_namespaces

pytestmark = pytest.mark.root

DEFAULT_CAPABILITIES = "00000000a80425fb"
"""Docker's fourteen, as /proc/self/status has them."""


def run(user: User, *arguments: str) -> Result:
    """A container without a network, which is gone afterwards."""
    return user.cli("run", "--rm", "--network", "none", *arguments)


@pytest.fixture
def sleeper(ordinary_user: User) -> Iterator[str]:
    """A container that runs; removed whatever happens."""
    ordinary_user.cli("run", "-d", "--name", "sleeper", "--network", "none", "busybox", "sleep", "1000").check()
    yield "sleeper"
    ordinary_user.cli("rm", "-f", "sleeper")


# --- the first commands


def test_hello_world_needs_nothing_but_a_login(ordinary_user: User) -> None:
    result = ordinary_user.cli("run", "--rm", "hello-world")
    assert result.code == 0
    assert "Hello from Corten!" in result.out
    assert ordinary_user.socket.stat().st_mode & 0o777 == 0o600
    assert ordinary_user.run_directory.stat().st_mode & 0o777 == 0o700
    assert (ordinary_user.root / "corten.db").stat().st_uid == ordinary_user.uid


def test_exit_codes_and_streams_are_dockers(ordinary_user: User) -> None:
    assert run(ordinary_user, "busybox", "sh", "-c", "exit 42").code == 42
    assert run(ordinary_user, "busybox", "/etc/passwd").code == 126
    assert run(ordinary_user, "busybox", "nothing-like-it").code == 127
    result = ordinary_user.cli("run", "--rm", "-i", "--network", "none", "busybox", "cat", stdin=b"through")
    assert result.out == "through"


def test_what_a_container_is_allowed_is_dockers(ordinary_user: User) -> None:
    script = "grep -E 'CapBnd|CapEff|^Seccomp:' /proc/self/status; cat /proc/1/cgroup | wc -l; mknod /x c 1 3"
    result = run(ordinary_user, "busybox", "sh", "-c", script)
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
    run(ordinary_user, "-v", "owners:/data", "busybox", "sh", "-c", script).check()
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
    assert run(ordinary_user, "-v", f"{shared}:/here", "busybox", "touch", "/here/made").code == 0
    assert (shared / "made").stat().st_uid == ordinary_user.uid
    secret = run(ordinary_user, "-v", "/etc/shadow:/shadow:ro", "busybox", "cat", "/shadow")
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
    result = run(ordinary_user, "-u", "70000", "busybox", "true")
    assert result.code == 125
    assert "/etc/subuid" in result.err


# --- what it cannot do, it says


def test_limits_without_control_groups_are_warned_of(ordinary_user: User) -> None:
    wanted = ("-m", "64m", "--cpus", "1", "--pids-limit", "9", "--cpuset-cpus", "0", "--blkio-weight", "10")
    result = run(ordinary_user, *wanted, "busybox", "true")
    assert result.code == 0
    for controller in ("memory", "cpu", "pids", "cpuset", "io"):
        assert f"no control group with the {controller} controller" in result.err
    wanted = ("--oom-score-adj", "-500", "--ulimit", "nofile=2000000000")
    result = run(ordinary_user, *wanted, "busybox", "cat", "/proc/self/oom_score_adj")
    assert result.out == Path("/proc/self/oom_score_adj").read_text()
    assert "cannot go below its own" in result.err
    assert "Ulimits lowered" in result.err


def test_pause_and_stats_say_why_they_cannot(ordinary_user: User, sleeper: str) -> None:
    for command in (("pause", sleeper), ("stats", "--no-stream", sleeper)):
        assert "no control groups" in ordinary_user.cli(*command).err
    assert "no control groups" in ordinary_user.cli("pause", sleeper).err
    assert ordinary_user.inspect(sleeper)["State"]["Paused"] is False
    assert "Memory limits discarded" in ordinary_user.cli("update", "-m", "64m", sleeper).err


def test_without_a_network_named_there_is_none_and_it_says_so(ordinary_user: User) -> None:
    result = ordinary_user.cli("run", "--rm", "busybox", "ls", "/sys/class/net")
    assert result.out == "lo\n"
    assert "no network" in result.err
    assert "--network host" in result.err
    assert "no network" not in run(ordinary_user, "busybox", "true").err


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
    assert run(ordinary_user, "--pid", "host", "busybox", "sh", "-c", "[ $$ -gt 1 ] && ls -d /proc/1").code == 0
    assert run(ordinary_user, "--ipc", "host", "busybox", "touch", "/dev/shm").code == 0
    other = ordinary_user.cli("run", "--rm", "--network", f"container:{sleeper}", "busybox", "hostname")
    assert other.out == ordinary_user.cli("exec", sleeper, "hostname").out
    assert "sleep 1000" in run(ordinary_user, "--pid", f"container:{sleeper}", "busybox", "ps").out


def test_devices_are_the_hosts_with_its_modes(ordinary_user: User) -> None:
    result = run(ordinary_user, "--device", "/dev/zero:/dev/other", "busybox", "head", "-c", "3", "/dev/other")
    assert result.raw == b"\0\0\0"
    others = {entry.name for entry in os.scandir("/dev") if entry.name.startswith(("kmsg", "loop0", "vda"))}
    shown = run(ordinary_user, "--privileged", "busybox", "ls", "/dev").out.split()
    assert others <= set(shown)
    missing = run(ordinary_user, "--device", "/dev/no-such", "busybox", "true")
    assert missing.code == 125


# --- images


def test_images_come_in_every_way(ordinary_user: User, registry: Registry, tmp_path: Path) -> None:
    from tests.support import images

    cli = ordinary_user.cli
    root = images.busybox_root(tmp_path / "root")
    registry.put_image("tools/busybox", [images.layer_of(root)])
    reference = registry.reference("tools/busybox")
    cli("pull", reference).check()
    assert run(ordinary_user, reference, "echo", "pulled").out == "pulled\n"
    cli("rmi", reference).check()
    cli("image", "bootstrap", "busybox").check()
    assert run(ordinary_user, "busybox", "echo", "made").out == "made\n"


# --- the engine's end, and the next one


def test_a_new_engine_joins_the_namespaces_of_what_runs(ordinary_user: User, sleeper: str) -> None:
    cli, init, monitor = ordinary_user.cli, ordinary_user.init(sleeper), ordinary_user.monitor(sleeper)
    os.kill(ordinary_user.engine, signal.SIGKILL)
    assert cli("ps", "--format", "{{.Names}}").out == "sleeper\n"
    assert (ordinary_user.init(sleeper), ordinary_user.monitor(sleeper)) == (init, monitor)
    for kind in ("user", "mnt"):
        assert os.readlink(f"/proc/{ordinary_user.engine}/ns/{kind}") == os.readlink(f"/proc/{monitor}/ns/{kind}")
    assert cli("exec", "-u", "1000", sleeper, "id", "-u").out == "1000\n"
    cli("cp", "/etc/hostname", f"{sleeper}:/tmp/new").check()
    assert run(ordinary_user, "busybox", "echo", "more").out == "more\n"
    assert "launcher.namespaces" in ordinary_user.cli("run", "--rm", "--explain", "busybox", "true").out
    cli("stop", "-t", "0", sleeper).check()


def test_containers_go_on_without_an_engine(ordinary_user: User, sleeper: str) -> None:
    init, before = ordinary_user.init(sleeper), ordinary_user.engine
    ordinary_user.cli("system", "stop").check()
    assert state(init) == "S"
    assert ordinary_user.cli("exec", sleeper, "echo", "here").out == "here\n"
    assert ordinary_user.engine != before
    assert ordinary_user.init(sleeper) == init


def test_what_lost_its_monitor_is_ended_whoever_it_ran_as(ordinary_user: User) -> None:
    cli = ordinary_user.cli
    cli("run", "-d", "--name", "lost", "-u", "1000", "--network", "none", "busybox", "sleep", "1000").check()
    init = ordinary_user.init("lost")
    for pid in (ordinary_user.engine, ordinary_user.monitor("lost")):
        os.kill(pid, signal.SIGKILL)
    assert cli("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "lost").out == "exited 137\n"
    wait_until(lambda: state(init) in "ZX", "the end of the container")
    cli("rm", "lost").check()


def test_ten_commands_at_once_start_one_engine(ordinary_user: User) -> None:
    ordinary_user.cli("system", "stop").check()
    argv = ordinary_user.cli.command("run", "--rm", "--network", "none", "busybox", "true")
    started = [subprocess.Popen(argv, env=ordinary_user.environment()) for _ in range(10)]
    assert [one.wait(60) for one in started] == [0] * 10
    engines = [pid for pid in ordinary_user.processes() if "corten.daemon" in command_line(pid)]
    assert engines == [ordinary_user.engine]


def test_another_root_has_an_engine_of_its_own(ordinary_user: User) -> None:
    root = str(ordinary_user.home / "other")
    result = ordinary_user.cli("--root", root, "run", "--rm", "--network", "none", "hello-world").check()
    assert "Hello from Corten!" in result.out
    assert ordinary_user.cli("--root", root, "ps").code == 0
    assert len(list(ordinary_user.runtime.glob("corten-*/corten.sock"))) == 1
    ordinary_user.cli("--root", root, "system", "stop").check()
    wait_until(lambda: not list(ordinary_user.runtime.glob("corten-*/corten.sock")), "the end of its socket")


def test_an_engine_in_the_foreground(ordinary_user: User) -> None:
    ordinary_user.cli("system", "stop").check()
    place = ordinary_user.home / "d.sock"
    engine = subprocess.Popen(
        ordinary_user.cli.command("-H", f"unix://{place}", "daemon"), env=ordinary_user.environment()
    )
    try:
        wait_until(place.exists, "its socket", pid=engine.pid)
        address = f"unix://{place}"
        assert ordinary_user.cli("-H", address, "run", "--rm", "--network", "none", "busybox", "true").code == 0
    finally:
        engine.send_signal(signal.SIGINT)
        assert engine.wait(20) == 0
    assert not place.exists()


def test_the_docker_command_line(ordinary_user: User) -> None:
    if not shutil.which("docker"):
        pytest.skip("the docker command line is not installed")
    ordinary_user.cli("ps").check()
    address = f"DOCKER_HOST=unix://{ordinary_user.socket}"
    result = ordinary_user.run("env", address, "docker", "run", "--rm", "busybox", "id")
    assert result.out.startswith("uid=0(root) gid=0(root)")
    assert "no network" in result.err


# --- explaining


def test_the_launchers_steps_are_explained_as_done(ordinary_user: User) -> None:
    result = run(ordinary_user, "--explain", "busybox", "echo", "executed").check()
    assert result.out.index("(made ahead)") < result.out.index("# Namespaces") < result.out.index("executed\n")
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


# --- a part of the control groups


@pytest.fixture
def delegated(ordinary_user: User) -> Iterator[Path]:
    """A group of the unified hierarchy that was handed to the user, and in it the one that its shell is in."""
    tops = [path for path in (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))
            if (path / "cgroup.subtree_control").exists()]  # fmt: skip
    if not tops:
        pytest.skip("no unified hierarchy is mounted")
    ordinary_user.cli("system", "stop")
    group = tops[0] / ordinary_user.name
    shell = group / "shell"
    shell.mkdir(parents=True)
    for directory in (group, shell):
        for path in (directory, *(directory / f"cgroup.{name}" for name in ("procs", "subtree_control", "threads"))):
            os.chown(path, ordinary_user.uid, ordinary_user.gid)
    yield shell
    ordinary_user.cli("system", "stop", "--all")
    wait_until(lambda: not ordinary_user.processes(), "the end of the engine")  # it goes back to its shell's group
    for directory in (shell, group):
        wait_until(lambda directory=directory: _rmdir(directory), f"the end of {directory}")


def _rmdir(directory: Path) -> bool:
    try:
        directory.rmdir()
    except OSError:
        return False
    return True


def test_a_delegated_group_is_used(ordinary_user: User, delegated: Path) -> None:
    """Pause needs no controller, so that it works where version 1 has them all."""
    cli = ordinary_user.cli
    command = cli.command("run", "-d", "--name", "grouped", "--network", "none", "busybox", "sleep", "1000")
    inside = ["sh", "-c", f'echo 0 > {delegated}/cgroup.procs && exec "$@"', "sh", *command]
    command_run(inside, env=ordinary_user.environment()).check()
    try:
        group = delegated.parent / "corten" / ordinary_user.inspect("grouped")["Id"]
        assert (group / "cgroup.procs").read_text().split() == [str(ordinary_user.init("grouped"))]
        cli("pause", "grouped").check()
        assert "frozen 1" in (group / "cgroup.events").read_text()
        cli("unpause", "grouped").check()
        assert "Cgroup Driver: cgroupfs" in cli("info").out
    finally:
        cli("rm", "-f", "grouped").check()
    assert not group.exists()


# --- a user without subordinate ids


def test_a_single_id_is_root_and_all_is_root_s(lone_user: User) -> None:
    assert run(lone_user, "busybox", "id").out == "uid=0(root) gid=0(root)\n"
    assert run(lone_user, "busybox", "stat", "-c", "%u:%g", "/home/alice", "/etc/passwd").out == "0:0\n0:0\n"
    assert "containers have a single user and group" in (lone_user.root / "engine.log").read_text()
    assert "A single user and group id" in lone_user.cli("info").err
    explained = run(lone_user, "--explain", "busybox", "true").out
    assert f"echo 0 {lone_user.uid} 1 > /proc/$PID/uid_map" in explained


def test_a_single_id_says_what_it_cannot_be(lone_user: User) -> None:
    result = run(lone_user, "-u", "1000", "busybox", "true")
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


# --- where it cannot start at all


def test_a_machine_that_forbids_it_is_told_apart(installation: Installation, ordinary_user: User) -> None:
    ordinary_user.cli("system", "stop")
    argv = ordinary_user.cli.command("run", "--rm", "hello-world")
    result = without_user_namespaces(argv, ordinary_user.environment())
    assert result.code == 125
    assert "the limit of user namespaces is 0" in result.err
    assert "sudo sysctl -w user.max_user_namespaces=15000" in result.err
    assert not ordinary_user.socket.exists()
    demo = [*ordinary_user.command(), str(PROJECT / "scripts/demo"), str(installation.corten.parent)]
    shown = without_user_namespaces(demo, ordinary_user.environment())
    assert shown.code == 125
    assert "sudo sysctl -w user.max_user_namespaces=15000" in shown.err
    allowed = command_run(demo, env=ordinary_user.environment()).check()
    assert "Hello from Corten!" in allowed.out


def test_somebody_elses_directory_is_not_trusted(ordinary_user: User) -> None:
    environment = {**ordinary_user.environment(), "XDG_RUNTIME_DIR": ""}
    fallback = Path(f"/tmp/corten-{ordinary_user.uid}")
    if Path(f"/run/user/{ordinary_user.uid}").exists() or fallback.exists():
        pytest.skip("this user has a runtime directory already")
    fallback.mkdir(mode=0o755)
    try:
        result = ordinary_user.cli("ps", env=environment)
        assert result.code == 1
        assert "it belongs to user 0" in result.err
    finally:
        fallback.rmdir()


def test_somebody_elses_engine_is_not_talked_to(ordinary_user: User) -> None:
    """A directory that all may write to, and who was faster: root, here."""
    ordinary_user.cli("system", "stop")
    wait_until(lambda: not ordinary_user.socket.exists(), "the end of its socket")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(ordinary_user.socket))
        ordinary_user.socket.chmod(0o666)
        listener.listen()
        result = ordinary_user.cli("ps")
    ordinary_user.socket.unlink()
    assert result.code == 1
    assert "user 0 listens there" in result.err


def test_nothing_is_left(installation: Installation, busybox_archive: Path) -> None:
    user = User(installation, granted=True)
    try:
        user.cli("load", stdin=busybox_archive.read_bytes()).check()
        mounts = Path("/proc/self/mountinfo").read_text()
        for code in range(5):
            assert run(user, "-v", "/data", "busybox", "sh", "-c", f"touch /data/x; exit {code}").code == code
        user.cli("run", "-d", "--network", "none", "busybox", "sleep", "1000").check()
        user.cli("system", "stop", "--all").check()
        assert user.cli("--no-autostart", "ps").code == 1
        wait_until(lambda: not user.processes(), "the end of every process")
        wait_until(lambda: not user.socket.exists(), "the end of its socket")
        assert os.listdir(user.run_directory / "m") == []
        assert os.listdir(user.root / "staging") == []
        assert os.listdir(user.root / "volumes") == []
        assert Path("/proc/self/mountinfo").read_text() == mounts
    finally:
        user.remove()
