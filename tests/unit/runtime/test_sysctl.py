from __future__ import annotations

import pytest

from corten.errors import InvalidInput
from corten.runtime.sysctl import check_sysctl, sysctl_path

ALL = ("ipc", "network", "uts", "mount", "pid")


@pytest.mark.parametrize(("name", "path"), [
    ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
    ("net/ipv4/conf/eth0.1/forwarding", "net/ipv4/conf/eth0.1/forwarding"),
    ("net.ipv4.conf.eth0/1.forwarding", "net/ipv4/conf/eth0.1/forwarding"),
])  # fmt: skip
def test_dots_and_slashes(name: str, path: str) -> None:
    assert sysctl_path(name) == path


@pytest.mark.parametrize("name", [
    "net.ipv4.ip_forward", "net/core/somaxconn", "kernel.shmmax", "kernel.sem", "fs.mqueue.msg_max",
    "kernel.domainname",
])  # fmt: skip
def test_what_belongs_to_a_namespace_may_be_set(name: str) -> None:
    check_sysctl(name, ALL)


@pytest.mark.parametrize("name", [
    "kernel.panic", "vm.swappiness", "fs.file-max", "kernel.core_pattern", "net/../kernel/panic",
    "net//ipv4", "net.", "", "/", "netx.ipv4", "net.ipv4/..", "net/./../kernel/core_pattern",
])  # fmt: skip
def test_what_is_the_whole_machines_may_not(name: str) -> None:
    with pytest.raises(InvalidInput):
        check_sysctl(name, ALL)


@pytest.mark.parametrize(("name", "missing"), [
    ("net.core.somaxconn", "network"), ("kernel.msgmax", "ipc"), ("kernel.hostname", "uts"),
])  # fmt: skip
def test_nor_what_is_shared_with_the_host(name: str, missing: str) -> None:
    with pytest.raises(InvalidInput, match=f"host {missing} namespace"):
        check_sysctl(name, [one for one in ALL if one != missing])
