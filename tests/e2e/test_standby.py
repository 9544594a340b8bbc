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

from tests.support import images
from tests.support.command import Cli
from tests.support.engine import Engine
from tests.support.leaks import links
from tests.support.process import wait_until
from tests.support.standby import await_poised, await_standby, awaited, inits, mount_points

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


def test_it_knows_nothing_of_an_earlier_command(engine: Engine, cli: Cli, busybox: str) -> None:
    """What it rehearses is the first start of its kind: that one's environment is that container's own business."""
    cli("run", "--rm", "-e", "PASSWORD=hunter2", busybox, "true").check()
    await_standby(engine)
    assert not [pid for pid in inits(engine) if b"hunter2" in _memory(pid)]


def _memory(pid: int) -> bytes:
    """What a process has written to, all of it."""
    found = []
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            first, last = (int(text, 16) for text in line.split()[0].split("-"))
            if line.split()[1].startswith("rw"):
                memory.seek(first)
                found.append(memory.read(last - first))
    return b"".join(found)


def test_it_keeps_nothing_of_the_host(standing: Engine) -> None:
    for pid in inits(standing):
        points = mount_points(pid)
        assert not {"/tmp", "/sys", "/run", "/home"} & set(points)
        held = {
            os.readlink(f"/proc/{pid}/fd/{number}").partition(":")[0] for number in range(3, 64)
            if os.path.lexists(f"/proc/{pid}/fd/{number}")
        }  # fmt: skip
        own = {path for path in held if path.startswith(f"{standing.root}/containers/") and path.endswith("/merged")}
        assert held - own <= {"socket", "/ahead", "mnt"}  # the shelf, on which are layers and nothing else


def test_explain_marks_what_is_done(standing: Engine, cli: Cli, busybox: str) -> None:
    document = json.loads(cli("run", "--rm", "--explain=json", busybox, "true").check().out)
    ready = {step["kind"] for step in document["steps"] if step["ready"]}
    assert {"namespace.clone", "mount", "device.nodes", "mount.mask", "process.session"} <= ready
    assert {"cgroup.create", "cgroup.join", "namespace.cgroup", "mount.cgroup", "root.overlay", "mount.bind"} <= ready
    assert not {"uts.hostname", "network.address", "root.pivot", "process.execute"} & ready
    await_standby(standing)
    assert "(ready: done ahead)" in cli("run", "--rm", "--explain", busybox, "true").check().out


@pytest.fixture
def plugged(standing: Engine, cli: Cli, busybox: str) -> Engine:
    """An engine where those who stand by have places in the default network: the last starts were there."""
    for _ in range(3):
        cli("run", "--rm", busybox, "true").check()
        await_standby(standing)
    await_poised(standing)
    assert ports(standing)
    return standing


def ports(engine: Engine) -> set[str]:
    """The bridge's ports at whose other end somebody stands by, while nothing runs."""
    wait_until(lambda: len(links(engine.names.bridge)) == len(inits(engine)), "only those who stand by")
    return set(links(engine.names.bridge))


ADDRESS = "ip -o -4 address show eth0 | sed 's/ brd.*//' && ip route && cat /proc/sys/net/ipv6/conf/eth0/disable_ipv6"


def test_a_place_in_the_network_is_waited_for(plugged: Engine, cli: Cli, busybox: str) -> None:
    document = json.loads(cli("run", "--rm", "--explain=json", busybox, "true").check().out)
    ready = {step["kind"] for step in document["steps"] if step["ready"]}
    assert {"network.veth", "network.no-ipv6", "network.address", "network.route"} <= ready
    await_standby(plugged)
    cables = ports(plugged)
    cli("run", "-d", "--name", "there", busybox, "sleep", "60").check()
    told = json.loads(cli("inspect", "there").check().out)[0]["NetworkSettings"]["Networks"]["bridge"]
    seen = cli("exec", "there", "sh", "-c", ADDRESS).check().out
    assert f"inet {told['IPAddress']}/{told['IPPrefixLen']}" in seen
    assert f"default via {told['Gateway']}" in seen
    assert seen.endswith("1\n")
    assert cables & set(links(plugged.names.bridge))
    assert cli("run", "--rm", busybox, "ping", "-c1", "-W5", told["IPAddress"]).code == 0
    cli("rm", "-f", "there").check()


def test_another_way_of_starting_than_was_likely(plugged: Engine, cli: Cli, busybox: str) -> None:
    """A sysctl is what nobody stands by for: the address that was reserved is somebody's who is about to leave."""
    options = ("--sysctl", "net.ipv4.ip_forward=1")
    shown = cli("run", "--rm", *options, "--explain", busybox, "sh", "-c", ADDRESS).check().out
    assert "inet " in shown
    await_standby(plugged)
    assert "inet " in cli("run", "--rm", *options, busybox, "sh", "-c", ADDRESS).check().out
    assert "eth0" not in cli("run", "--rm", "--network", "none", busybox, "ip", "address").check().out


def test_who_waits_in_another_network_goes_on_waiting(plugged: Engine, cli: Cli, busybox: str) -> None:
    """A start elsewhere has nothing of theirs, so that it waits for none of them to leave, and the next one of the
    usual kind finds them."""
    cli("network", "create", "elsewhere").check()
    waiting, cables = set(inits(plugged)), ports(plugged)
    for options in (("--network", "elsewhere"), ("--network", "none")):
        cli("run", "--rm", *options, busybox, "true").check()
    assert waiting == set(inits(plugged))
    assert cables == ports(plugged)
    cli("run", "--rm", busybox, "true").check()
    assert len(waiting & set(inits(plugged))) == len(waiting) - 1
    cli("network", "rm", "elsewhere").check()


def test_who_waits_where_nobody_starts_any_more_is_let_go(plugged: Engine, cli: Cli, busybox: str) -> None:
    id = cli("network", "create", "elsewhere").check().out.strip()
    for _ in range(2):
        cli("run", "--rm", "--network", "elsewhere", busybox, "true").check()
    wait_until(lambda: len(links(f"br-{id[:12]}")) == len(inits(plugged)) == 2, "two who stand by elsewhere")
    assert not links(plugged.names.bridge)
    for _ in range(2):
        cli("run", "--rm", "--network", "none", busybox, "true").check()
    wait_until(lambda: not links(f"br-{id[:12]}"), "nobody who stands by in a network")
    cli("network", "rm", "elsewhere").check()


def test_an_address_that_is_asked_for_is_not_refused(engine: Engine, cli: Cli, busybox: str) -> None:
    """Who stands by gives way: in a network of two addresses, and for one that is wanted by name."""
    cli("network", "create", "--subnet", "10.85.7.0/29", "--ip-range", "10.85.7.4/30", "small").check()
    for _ in range(4):
        cli("run", "--rm", "--network", "small", busybox, "true").check()
        await_standby(engine)
    taken = {f"10.85.7.{number}" for number in (4, 5, 6)}
    for number, address in enumerate(sorted(taken)):
        options = ("--ip", address) if number < 2 else ()
        cli("run", "-d", "--network", "small", *options, busybox, "sleep", "60").check()
    inspected = json.loads(cli("network", "inspect", "small").check().out)[0]
    assert {one["IPv4Address"].partition("/")[0] for one in inspected["Containers"].values()} == taken
    cli("rm", "-f", *cli("ps", "-q").check().out.split()).check()
    cli("network", "rm", "small").check()


@pytest.mark.parametrize("size", [31, 32])
def test_the_last_addresses_serve_another_way_of_starting(engine: Engine, cli: Cli, busybox: str, size: int) -> None:
    cli("network", "create", "--subnet", "10.85.8.0/29", "--ip-range", f"10.85.8.4/{size}", "scarce").check()
    for _ in range(4):
        cli("run", "--rm", "--network", "scarce", busybox, "true").check()
        await_standby(engine)
    for _ in range(2):
        options = ("--network", "scarce", "--sysctl", "net.ipv4.ip_forward=1")
        assert "inet 10.85.8." in cli("run", "--rm", *options, busybox, "sh", "-c", ADDRESS).check().out
        await_standby(engine)
    cli("network", "rm", "scarce").check()


def test_a_cable_that_was_removed_is_made_anew(plugged: Engine, cli: Cli, busybox: str) -> None:
    for port in ports(plugged):
        subprocess.run(["ip", "link", "delete", port], check=True)
    assert "inet " in cli("run", "--rm", busybox, "sh", "-c", ADDRESS).check().out


def test_who_is_created_next_is_waited_for(standing: Engine, cli: Cli, busybox: str) -> None:
    """A group and a root are a container's own: they bear its ID."""
    expected = awaited(standing)
    first, second = (cli("create", busybox, "echo", name).check().out.strip() for name in ("a", "b"))
    assert {first, second} == expected
    wait_until(lambda: len(inits(standing)) == 4, "two more that stand by")
    before = set(inits(standing))
    assert cli("start", "-a", second).check().out == "b\n"
    # The first one's. The others had no place in the network: two starts in a row are the beginning of one that has.
    assert len(before & set(inits(standing))) == 1
    assert cli("start", "-a", first).check().out == "a\n"
    assert cli("start", "-a", first).check().out == "a\n"
    cli("rm", first, second).check()


def test_another_image_than_was_guessed(standing: Engine, cli: Cli, busybox: str, tmp_path: Path) -> None:
    layers = [images.busybox_layer(tmp_path), images.layer({"other": b"here\n", "etc/hosts": b"image\n"})]
    standing.load(images.docker_archive(tmp_path / "other.tar", "other:latest", layers, Cmd=["cat", "/other"]))
    for _ in range(2):
        await_standby(standing)
        assert cli("run", "--name", "other", "other").check().out == "here\n"
        assert not cli("diff", "other").check().out
        cli("rm", "other").check()
        assert cli("run", "--rm", busybox, "ls", "/other").code == 1


def test_an_image_that_was_removed_and_came_back(
    standing: Engine, cli: Cli, busybox: str, busybox_archive: Path
) -> None:
    """Its layers are at the same place, and are other directories."""
    cli("rmi", busybox).check()
    standing.load(busybox_archive)
    assert cli("run", "--rm", busybox, "echo", "here").check().out == "here\n"


def test_what_was_copied_in_before_the_start(standing: Engine, cli: Cli, busybox: str, tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("copied\n")
    cli("create", "--name", "filled", busybox, "cat", "/tmp/hosts").check()
    cli("cp", f"{tmp_path}/hosts", "filled:/tmp/hosts").check()
    assert cli("diff", "filled").check().out.split() == ["C", "/tmp", "A", "/tmp/hosts"]
    assert cli("start", "-a", "filled").check().out == "copied\n"
    cli("rm", "filled").check()


def test_who_waited_in_vain_takes_nothing_along(standing: Engine, cli: Cli, busybox: str) -> None:
    cli("run", "-d", "--name", "other", busybox, "sleep", "1000").check()
    for name in ("one", "two", "three"):
        await_standby(standing)
        # Whoever has left the host's tree cannot do this; somebody without an init stands by for a command, and can.
        cli("run", "--name", name, "--pid", "container:other", busybox, "touch", "/mine").check()
        assert cli("diff", name).out == "A /mine\n"
    cli("rm", "-f", "other", "one", "two", "three").check()


def test_more_are_created_than_stand_by(standing: Engine, cli: Cli, busybox: str) -> None:
    names = [f"n{number}" for number in range(6)]
    for name in names:
        cli("create", "--name", name, busybox, "echo", name).check()
    cli("rm", names.pop()).check()
    for name in names:
        assert cli("start", "-a", name).check().out == f"{name}\n"
    cli("rm", *names).check()


def test_a_create_that_fails_leaves_nothing(standing: Engine, cli: Cli, busybox: str) -> None:
    there = set(os.listdir(standing.root / "containers"))
    for _ in range(3):
        assert cli("create", "--hostname", "h", "--network", "container:none", busybox).code != 0
    await_standby(standing)
    assert len(os.listdir(standing.root / "containers")) <= len(there)


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
