"""Beside the firewalls that administrators have, the real ones: who is let through, and what is left when they
reload."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from corten.engine.network_watch import NetworkWatch
from tests.support.process import NotReady, end, wait_until
from tests.support.spaces import (
    BRIDGE,
    HOST,
    OTHER_MACHINE,
    TABLE,
    Space,
    World,
    container,
    greet,
    nft,
    refusal,
    tcp_server,
)

pytestmark = [pytest.mark.network, pytest.mark.root]
Do = Callable[..., str]

_BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path={socket}</listen>
<policy context="default">
<allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/>
</policy></busconfig>
"""
_OWN_CONFIGURATION = 'mount --bind "$0/ufw" /etc/ufw && mount --bind "$0/default" /etc/default/ufw && exec ufw "$@"'


@pytest.fixture
def ufw(world: World, tmp_path: Path) -> Do:
    """ufw(8) in the test's network namespace, with a configuration of the test's own."""
    if not shutil.which("ufw"):
        pytest.skip("not installed: ufw")
    shutil.copytree("/etc/ufw", tmp_path / "ufw")
    shutil.copy("/etc/default/ufw", tmp_path / "default")
    inside = ("unshare", "--mount", "--propagation", "private", "sh", "-c", _OWN_CONFIGURATION, str(tmp_path))
    return lambda *words: _done(*inside, *words)


@pytest.fixture
def firewall_cmd(world: World, tmp_path: Path) -> Iterator[Do]:
    """firewalld(1) in the test's network namespace, on a bus and with a configuration of its own."""
    if missing := [name for name in ("firewalld", "firewall-cmd", "dbus-daemon") if not shutil.which(name)]:
        pytest.skip(f"not installed: {' '.join(missing)}")
    bus, configuration = tmp_path / "bus", tmp_path / "firewalld"
    shutil.copytree("/etc/firewalld", configuration)
    (tmp_path / "bus.conf").write_text(_BUS.format(socket=bus))
    own = {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={bus}"}
    commands = (
        ("dbus-daemon", f"--config-file={tmp_path}/bus.conf", "--nofork", "--nopidfile"),
        ("firewalld", "--nofork", "--nopid", f"--system-config={configuration}", f"--log-file={tmp_path}/log"),
    )
    started: list[subprocess.Popen[bytes]] = []
    with (tmp_path / "output").open("wb") as output:
        try:
            for command, ready in zip(
                commands, (bus.exists, lambda: _succeeds("firewall-cmd", "--state", env=own)), strict=True
            ):
                started.append(subprocess.Popen(command, env=own, stdout=output, stderr=output))
                try:
                    wait_until(ready, command[0], seconds=60, pid=started[-1].pid)
                except NotReady as error:
                    raise NotReady(f"{error}\n{(tmp_path / 'output').read_text()}") from None
            yield lambda *words: _done("firewall-cmd", *words, env=own)
        finally:
            for process in reversed(started):
                end(process)


def _done(*command: str, env: dict[str, str] | None = None) -> str:
    result = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{command[-3:]}: {result.stdout}{result.stderr}"
    return result.stdout


def _succeeds(*command: str, env: dict[str, str]) -> bool:
    return subprocess.run(command, env=env, capture_output=True, check=False).returncode == 0


def _watched(world: World, deed: Callable[[], object]) -> None:
    """Do something while an engine listens for changes."""

    async def listen() -> None:
        watch = NetworkWatch(world.networks)
        watch.start()
        try:
            deed()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        finally:
            watch.close()

    asyncio.run(listen())


def _own_rules() -> str:
    return nft("list", "table", "ip", TABLE)


def _says(world: World) -> str:
    return " ".join(world.networks.explain("bridge")["Says"])


@pytest.fixture
def web(world: World) -> Iterator[tuple[Space, socket.socket]]:
    """A container with a published port, and who listens there."""
    world.networks.start()
    space, _ = world.start(container("a", publish="8080:80/tcp"))
    with tcp_server(80, space=space) as server:
        yield space, server


def test_ufw_decides_and_reloads(
    world: World, web: tuple[Space, socket.socket], ufw: Do, caplog: pytest.LogCaptureFixture
) -> None:
    space, server = web
    before = _own_rules()
    assert greet(server, (HOST, 8080), world.other) == OTHER_MACHINE
    ufw("--force", "enable")
    assert refusal((HOST, 8080), world.other) is TimeoutError
    assert "ip filter FORWARD" in _says(world)
    ufw("route", "allow", "in", "on", BRIDGE)
    ufw("route", "allow", "out", "on", BRIDGE)
    for _ in range(2):
        assert greet(server, (HOST, 8080), world.other) == OTHER_MACHINE
        with tcp_server(81, space=world.other) as outside:
            assert greet(outside, (OTHER_MACHINE, 81), space) == HOST
        _watched(world, lambda: ufw("reload"))
    ufw("disable")
    assert greet(server, (HOST, 8080), world.other) == OTHER_MACHINE
    assert _own_rules() == before
    assert not caplog.records


def test_firewalld_decides_and_reloads(
    world: World, web: tuple[Space, socket.socket], firewall_cmd: Do, caplog: pytest.LogCaptureFixture
) -> None:
    """It accepts what was translated, so that published ports are reached; the way out is barred until the bridge is
    in a zone that is trusted."""
    space, server = web
    before = _own_rules()
    with tcp_server(81, space=world.other) as outside:
        assert greet(server, (HOST, 8080), world.other) == OTHER_MACHINE
        assert refusal((OTHER_MACHINE, 81), space)
        said = _says(world)
        assert "inet firewalld filter_FORWARD" in said
        assert f"--zone=trusted --add-interface={BRIDGE}" in said
        firewall_cmd("--permanent", "--zone=trusted", f"--add-interface={BRIDGE}")
        for _ in range(2):
            _watched(world, lambda: firewall_cmd("--reload"))
            assert greet(server, (HOST, 8080), world.other) == OTHER_MACHINE
            assert greet(outside, (OTHER_MACHINE, 81), space) == HOST
    assert _own_rules() == before
    assert not caplog.records
