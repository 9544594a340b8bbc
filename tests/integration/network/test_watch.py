"""What the engine does about what others do to the host's network."""

from __future__ import annotations

import asyncio

import pytest

from corten.engine.network_model import NetworkCreate
from corten.engine.network_watch import NetworkWatch
from tests.support.spaces import (
    HOST,
    OTHER_MACHINE,
    TABLE,
    World,
    container,
    greet,
    ip,
    nft,
    ruleset,
    tcp_server,
)

pytestmark = [pytest.mark.network, pytest.mark.root]


def _heard(world: World, *commands: tuple[str, ...]) -> None:
    """Execute commands while an engine listens. The kernel tells of a change before the command that made it ends."""

    async def listen() -> None:
        watch = NetworkWatch(world.networks)
        watch.start()
        try:
            for program, *words in commands:
                nft(*words) if program == "nft" else ip(*words)
            await asyncio.sleep(0)  # one turn of the loop, in which what is there is read
            await asyncio.sleep(0)
        finally:
            watch.close()

    asyncio.run(listen())


@pytest.mark.parametrize(
    "command",
    [
        ("nft", "flush", "ruleset"),
        ("nft", "delete", "table", "ip", TABLE),
        ("nft", "flush", "chain", "ip", TABLE, "forward"),
        ("nft", "flush", "map", "ip", TABLE, "by_port"),
        ("nft", "delete", "table", "ip6", TABLE),
    ],
    ids=" ".join,
)
def test_rules_that_are_deleted_come_back(
    world: World, caplog: pytest.LogCaptureFixture, command: tuple[str, ...]
) -> None:
    world.networks.start()
    world.networks.create(NetworkCreate("dual", enable_ipv6=True))
    web, _ = world.start(container("a", network="dual", publish="8080:80/tcp"))
    before = ruleset()
    with tcp_server(80, space=web) as server:
        _heard(world, command)
        assert ruleset() == before
        assert greet(server, (HOST, 8080), world.other) == OTHER_MACHINE
    (record,) = [one for one in caplog.records if one.name.endswith("network_watch")]
    assert record.getMessage() == f"firewall table {TABLE} was changed by another program: it is restored"


def test_its_own_changes_and_other_tables_are_none_of_its_business(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.networks.start()
    nft("add", "table", "inet", "theirs")
    _heard(world, ("nft", "delete", "table", "inet", "theirs"), ("nft", "add", "table", "ip", "theirs"))

    async def publish_and_withdraw() -> None:
        watch = NetworkWatch(world.networks)
        watch.start()
        world.start(container("a", publish="8080:80/tcp"))
        world.networks.release("a" * 64)
        world.networks.firewall.rebuild()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        watch.close()

    asyncio.run(publish_and_withdraw())
    assert not caplog.records
    assert "table ip theirs" in ruleset()


def test_a_route_that_comes_later_is_told_and_avoided(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.networks.start()
    _heard(world, ("ip", "route", "add", "172.17.9.0/24", "via", OTHER_MACHINE),
           ("ip", "route", "add", "172.18.0.0/16", "via", OTHER_MACHINE))  # fmt: skip
    (record,) = caplog.records
    assert "route 172.17.9.0/24 by uplink overlaps network bridge (172.17.0.0/16)" in record.getMessage()
    assert world.networks.create(NetworkCreate("mine")).ipam.config[0].subnet == "172.19.0.0/16"
    _, place = world.start(container("a"))
    world.networks.close()
    world.networks = world.engine()
    notices = world.networks.start([place])
    assert notices == ["network bridge (172.17.0.0/16) overlaps the host's route 172.17.9.0/24"]


def test_another_firewall_that_drops_is_named(world: World) -> None:
    world.networks.start()
    assert world.networks.firewall.strangers() == []
    nft("add", "table", "inet", "theirs")
    nft("add", "chain", "inet", "theirs", "barrier", "{ type filter hook forward priority 5; policy drop; }")
    nft("add", "chain", "inet", "theirs", "incoming", "{ type filter hook input priority 5; policy drop; }")
    assert world.networks.firewall.strangers() == ["inet theirs barrier"]
    said = " ".join(world.networks.explain("bridge")["Says"])
    assert "inet theirs barrier" in said
    assert "iptables -I FORWARD -i ct-test -j ACCEPT" in said
