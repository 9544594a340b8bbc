"""Containers that stand by with all done but their command: what it becomes is what any start makes, and what it cannot
become is told as by any start."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.e2e.test_standby import LOOK, same
from tests.support.command import Cli, Result
from tests.support.engine import Engine
from tests.support.leaks import cgroups, links
from tests.support.process import wait_until
from tests.support.standby import await_poised, await_standby, inits

pytestmark = [pytest.mark.root, pytest.mark.network]
leaves_nothing = pytest.mark.usefixtures("no_leaks")


def row(engine: Engine, cli: Cli, *options: str) -> list[int]:
    """Start alike until somebody is poised; who is."""
    for _ in range(3):
        cli("run", "--rm", *options, "true").check()
        await_standby(engine)
    cli("run", "--rm", *options, "true").check()
    return await_poised(engine)


def becomes_one(engine: Engine, cli: Cli, *arguments: str) -> Result:
    """Run something that one who is poised becomes."""
    before = set(await_poised(engine))
    result = cli("run", "--rm", *arguments)
    assert before - set(inits(engine))
    return result


def directly(cli: Cli, *arguments: str) -> Result:
    """Run the same as nobody stands by for."""
    return cli("run", "--rm", "--sysctl", "net.ipv4.ip_forward=1", *arguments)


@leaves_nothing
def test_a_container_cannot_tell(engine: Engine, cli: Cli, busybox: str) -> None:
    row(engine, cli, busybox)
    poised = becomes_one(engine, cli, busybox, "sh", "-c", f"{LOOK}; env; cat /proc/1/comm")
    other = directly(cli, busybox, "sh", "-c", f"{LOOK}; env; cat /proc/1/comm")
    assert same(poised.out) == same(other.out)
    assert same(poised.err) == same(other.err)
    assert poised.code == other.code


@leaves_nothing
def test_the_user_of_the_image_is_at_home(engine: Engine, cli: Cli, busybox: str, tmp_path: Path) -> None:
    """What the container's own files say of the user was looked up ahead; the streams are the user's."""
    look = "id; echo $HOME $NAME; pwd; echo again > /dev/stdout; touch /root/x"
    options = ("-u", "alice", "-w", "/var/made", "-e", "NAME=a b", "--hostname", "here", busybox)
    row(engine, cli, *options)
    poised, other = becomes_one(engine, cli, *options, "sh", "-c", look), directly(cli, *options, "sh", "-c", look)
    assert (poised.out, poised.err, poised.code) == (other.out, other.err, other.code)
    assert {"again", "/var/made"} <= set(poised.out.splitlines())


FAILING = [
    "nothing-like-it", "/etc", "/etc/passwd", "/nowhere/x", "", "/proc/self/exe", "./self", "./none",
]  # fmt: skip


@leaves_nothing
def test_what_cannot_be_executed_is_told_the_same(engine: Engine, cli: Cli, busybox: str, tmp_path: Path) -> None:
    for name, interpreter in (("self", "/proc/self/exe"), ("none", "/nowhere")):
        (tmp_path / name).write_text(f"#!{interpreter}\n")
        (tmp_path / name).chmod(0o755)
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text(f"FROM {busybox}\nCOPY self none /w/\nWORKDIR /w\nENTRYPOINT []\n")
    cli("build", "-q", "-t", "failing", str(tmp_path)).check()
    try:
        for command in FAILING:
            row(engine, cli, "failing")
            poised, other = becomes_one(engine, cli, "failing", command), directly(cli, "failing", command)
            assert poised.code in (125, 126, 127)
            assert (poised.code, same(poised.err)) == (other.code, same(other.err)), command
    finally:
        cli("rmi", "failing").check()


@leaves_nothing
def test_explain_marks_all_but_the_command(engine: Engine, cli: Cli, busybox: str) -> None:
    row(engine, cli, busybox)
    document = json.loads(cli("run", "--rm", "--explain=json", busybox, "true").check().out)
    left = {step["kind"] for step in document["steps"] if not step["ready"]}
    assert left == {"process.command", "process.execute"}


@leaves_nothing
def test_a_start_that_differs_takes_another_way(engine: Engine, cli: Cli, busybox: str) -> None:
    """Those who are poised wait on for what they are poised for; when that does not come, they leave."""
    poised = row(engine, cli, busybox)
    for hostname in ("a", "b"):
        assert cli("run", "--rm", "--hostname", hostname, busybox, "hostname").check().out == f"{hostname}\n"
        await_standby(engine)
    assert set(poised) <= set(inits(engine))
    assert becomes_one(engine, cli, busybox, "hostname").code == 0
    row(engine, cli, "--read-only", busybox)
    assert becomes_one(engine, cli, "--read-only", busybox, "touch", "/x").code == 1
    assert cli("run", "--rm", busybox, "touch", "/x").code == 0


@leaves_nothing
def test_starts_alike_in_two_networks_by_turns(engine: Engine, cli: Cli, busybox: str) -> None:
    """Where the next one will be nobody knows: there are no more who stand by than ever."""
    cli("network", "create", "other").check()
    for _ in range(4):
        for network in ("bridge", "other"):
            cli("run", "--rm", "--network", network, busybox, "true").check()
            assert len(inits(engine)) <= 4
    await_standby(engine)
    cli("network", "rm", "other").check()


@leaves_nothing
def test_one_that_reads_is_none(engine: Engine, cli: Cli, busybox: str) -> None:
    """Their standard input is /dev/null: a container that has one of its own is not for them."""
    row(engine, cli, busybox)
    assert cli("run", "--rm", "-i", busybox, "cat", stdin=b"read\n").check().out == "read\n"


@leaves_nothing
def test_arguments_that_are_too_long_take_another_way(engine: Engine, cli: Cli, busybox: str) -> None:
    row(engine, cli, busybox)
    assert cli("run", "--rm", busybox, "sh", "-c", "echo ${#0}", "x" * 70_000).check().out == "70000\n"


@leaves_nothing
def test_a_home_that_is_too_long_is_nobodys(engine: Engine, cli: Cli, busybox: str, tmp_path: Path) -> None:
    home = "/" + "h" * 5000
    (tmp_path / "passwd").write_text(f"far:x:7:7::{home}:/bin/sh\n")
    (tmp_path / "Dockerfile").write_text(f"FROM {busybox}\nCOPY passwd /etc/passwd\nUSER far\n")
    cli("build", "-q", "-t", "far", str(tmp_path)).check()
    try:
        for _ in range(4):
            assert cli("run", "--rm", "far", "sh", "-c", "echo $HOME").check().out == f"{home}\n"
            wait_until(lambda: len(inits(engine)) >= 2, "inits that stand by")
    finally:
        cli("rmi", "far").check()


@leaves_nothing
@pytest.mark.parametrize("whom", ["init", "monitor"])
def test_one_that_is_killed_is_replaced(engine: Engine, cli: Cli, busybox: str, whom: str) -> None:
    for init in row(engine, cli, busybox):
        monitor = int(Path(f"/proc/{init}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(init if whom == "init" else monitor, signal.SIGKILL)
    assert cli("run", "--rm", busybox, "echo", "works").check().out == "works\n"
    row(engine, cli, busybox)


def test_an_engine_that_is_killed_leaves_nobody(engine: Engine, cli: Cli, busybox: str) -> None:
    poised = row(engine, cli, busybox)
    engine.kill()
    wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in poised), "their end")
    groups = [group for group in cgroups(engine.names.cgroup) if len(group.name) == 64]
    wait_until(lambda: not any(group.exists() for group in groups), "the end of their groups")
    wait_until(lambda: not links(engine.names.bridge), "the end of their cables")
    engine.start()
    assert cli("run", "--rm", busybox, "echo", "works").check().out == "works\n"


@leaves_nothing
def test_a_container_that_was_created_takes_its_files(engine: Engine, cli: Cli, busybox: str, tmp_path: Path) -> None:
    """Whoever is poised for it has read /etc/passwd: what is copied into it afterwards counts all the same."""
    options = ("-u", "alice", busybox)
    row(engine, cli, *options)
    (tmp_path / "passwd").write_text("alice:x:1234:5678::/elsewhere:/bin/sh\n")
    cli("create", "--name", "changed", *options, "sh", "-c", "id -u; echo $HOME").check()
    cli("cp", str(tmp_path / "passwd"), "changed:/etc/passwd").check()
    assert cli("start", "-a", "changed").check().out == "1234\n/elsewhere\n"
    cli("rm", "changed").check()
