"""A kernel that really has no nf_tables: its modules are not to be loaded. Named first, before anybody loads them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from corten.errors import Unsupported
from corten.network.resolver import hand_over
from corten.sys import process
from tests.support.dns import look_up
from tests.support.helper import Helper
from tests.support.spaces import HOST, OTHER_MACHINE, World, container, greet, ip, refusal, tcp_server

pytestmark = [pytest.mark.root, pytest.mark.network, pytest.mark.cgroup2]
_SWITCH = Path("/proc/sys/kernel/modprobe")
_SCRIPT = """#!/bin/sh
case "$*" in {refused}) exit 1 ;; esac
exec {modprobe} "$@"
"""
_NO_NF_TABLES = "this kernel lacks nf_tables; modprobe nf_tables may help"
_NO_NAT = (
    "this kernel lacks a part of nf_tables (nat, masq, fib or ct); modprobe nft_chain_nat nft_masq nft_fib_ipv4 nft_ct "
    "may help"
)


@contextlib.contextmanager
def _without(refused: str, directory: Path) -> Iterator[None]:
    """Meanwhile modules by such names are not loaded."""
    usual = _SWITCH.read_text().strip()
    script = directory / "modprobe"
    script.write_text(_SCRIPT.format(refused=refused, modprobe=usual))
    script.chmod(0o755)
    _SWITCH.write_text(str(script))
    try:
        yield
    finally:
        _SWITCH.write_text(usual)


@pytest.mark.parametrize(
    ("refused", "reason"),
    [
        ("*net-pf-16-proto-12*", _NO_NF_TABLES),
        ("*nfnetlink-subsys-10*", _NO_NF_TABLES),
        ("*nft-chain-*nat*", _NO_NAT),
    ],
    ids=["no netfilter", "no nf_tables", "no translation"],
)
def test_an_engine_serves_all_the_same(world: World, tmp_path: Path, refused: str, reason: str) -> None:
    with _without(refused, tmp_path):
        with pytest.raises(Unsupported, match="this kernel lacks"):
            world.engine(firewall="nftables").attach(container("z"))
        world.networks = world.engine(firewall="auto")
        (notice,) = world.networks.start()
        assert notice.startswith(f"No firewall ({reason}): ")
        web, place = world.start(container("a", publish="8080:80/tcp"))
        with world.other.inside():
            ip("route", "add", "172.16.0.0/12", "via", HOST)
        helper = Helper(tmp_path)
        try:
            (binding,) = [one for one in place.ports if ":" not in one.host_ip]
            assert place.carries(binding)
            holder = world.networks.ports.holder(binding)
            assert holder is not None
            helper.carry("web", holder, (place.ip, 80), web.pid)
            _has_a_resolver(helper, web.pid)
            with tcp_server(80, space=web) as server:
                assert greet(server, (HOST, 8080), world.other) == place.gateway
                assert refusal((place.ip, 80), world.other) is not ConnectionRefusedError
        finally:
            helper.end()


def _has_a_resolver(helper: Helper, pid: int) -> None:
    helper.put("a" * 64)
    pidfd = process.pidfd_open(pid)
    try:
        hand_over(helper.door, "a" * 64, "run", pidfd)
    finally:
        os.close(pidfd)
    assert look_up(pid, "name-a") == look_up(pid, "name-a", stream=True) == ["10.9.0.1"]


def test_and_with_them_it_has_a_firewall(world: World) -> None:
    world.networks = world.engine(firewall="auto")
    assert not any("firewall" in notice for notice in world.networks.start())
    web, _ = world.start(container("a", publish="8080:80/tcp"))
    with tcp_server(80, space=web) as server:
        assert greet(server, (HOST, 8080), world.other) == OTHER_MACHINE
