"""What is left of a request where the machine or the user cannot give it all."""

from __future__ import annotations

import pytest

from corten.engine.means import Means
from corten.engine.model import HostConfig, PortBinding, Ulimit
from corten.errors import Unsupported
from corten.sys.standing import MACHINE, Standing

ALL = frozenset({"cpu", "cpuset", "io", "memory", "pids"})
USER = Standing(initial=False, network=False, uids=((0, 1000, 1), (1, 100000, 65536)), gids=((0, 1000, 1),))
ROOTS = Means(MACHINE, ALL)
USERS = Means(USER, frozenset(), groups=False, oom_score=100, hard_limit=lambda _: 4096)
REQUEST = HostConfig(
    memory=1 << 26, memory_swap=1 << 27, nano_cpus=10**9, cpuset_cpus="0", pids_limit=5, blkio_weight=10,
    oom_score_adj=-5, ulimits=[Ulimit("nofile", 10000, 100), Ulimit("locks", -1, -1)], device_cgroup_rules=["c 1:1 r"],
)  # fmt: skip


def test_root_gets_what_it_asks_for() -> None:
    assert ROOTS.settle(REQUEST) == (REQUEST, [])
    assert ROOTS.place(HostConfig()) == (HostConfig(), [])


def test_a_user_without_groups_is_told_of_each_limit() -> None:
    host, warnings = USERS.settle(REQUEST)
    assert (host.memory, host.memory_swap, host.nano_cpus, host.cpuset_cpus, host.pids_limit) == (0, 0, 0, "", None)
    assert [words.partition(" discarded")[0] for words in warnings[:5]] == [
        "Memory limits", "CPU limits", "Cpuset limits", "PIDs limit", "Block I/O limits",
    ]  # fmt: skip
    assert host.oom_score_adj == 100
    assert host.ulimits == [Ulimit("nofile", 4096, 100), Ulimit("locks", 4096, 4096)]
    assert host.device_cgroup_rules is None
    assert len(warnings) == 8


def test_what_was_not_asked_for_is_not_warned_of() -> None:
    asked = HostConfig(memory_swappiness=-1, pids_limit=-1, oom_kill_disable=False, oom_score_adj=500)
    assert USERS.settle(asked) == (asked, [])


def test_delegated_controllers_are_used() -> None:
    host, warnings = Means(USER, frozenset({"memory", "pids"})).settle(HostConfig(memory=1 << 26, cpu_shares=3))
    assert host.memory == 1 << 26
    assert warnings == ["CPU limits discarded: this engine has no control group with the cpu controller."]


@pytest.mark.parametrize("mode", ["none", "host", "container:other"])
def test_networks_that_need_no_bridge_stay(mode: str) -> None:
    asked = HostConfig(network_mode=mode, port_bindings={"80/tcp": [PortBinding()]})
    assert USERS.place(asked) == (asked, [])


def test_the_network_that_is_not_named_is_none() -> None:
    host, warnings = USERS.place(HostConfig())
    assert host.network_mode == "none"
    assert "--network host" in warnings[0]


@pytest.mark.parametrize(
    "asked",
    [HostConfig(network_mode="bridge"), HostConfig(network_mode="mine"), HostConfig(publish_all_ports=True),
     HostConfig(port_bindings={"80/tcp": [PortBinding()]})],
)  # fmt: skip
def test_a_bridge_is_refused(asked: HostConfig) -> None:
    with pytest.raises(Unsupported, match="need root"):
        USERS.place(asked)
