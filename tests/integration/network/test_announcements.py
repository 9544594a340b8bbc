"""That neighbours hear of a container that takes an address which another had."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import msgspec
import pytest

from corten.engine.model import Container
from corten.engine.network_model import NetworkCreate
from corten.network.announce import Announcer
from corten.network.endpoint import Endpoint
from tests.support.spaces import Space, World, container, greet, ip, tcp_server

pytestmark = [pytest.mark.network, pytest.mark.root]


def _known(space: Space | None, address: str) -> str:
    """The Ethernet address by which the host, or a container, knows an address."""
    with space.inside() if space else contextlib.nullcontext():
        words = ip("neighbour", "show", "to", address).split()
    return words[words.index("lladdr") + 1] if "lladdr" in words else ""


@pytest.fixture
def announcer() -> Iterator[Announcer]:
    made = Announcer()
    yield made
    made.close()


def _announce(announcer: Announcer, place: Endpoint) -> None:
    addresses = tuple(filter(None, (place.ip, place.ip6)))
    announcer.announce(place.bridge, place.host_interface, place.mac, addresses)


def test_a_stale_neighbour_is_healed(world: World, announcer: Announcer) -> None:
    """Of both families, for the host and for another container, which sends nothing meanwhile."""
    world.networks.start()
    world.networks.create(NetworkCreate("mine", enable_ipv6=True))
    asker, _ = world.start(container("a", network="mine"))
    old, place = world.start(container("b", network="mine"))
    with tcp_server(80, address="::", space=old) as server:
        for address in (place.ip, place.ip6):
            greet(server, (address, 80), asker)
            greet(server, (address, 80))
    old.end()
    world.networks.release("b" * 64)
    successor = _with_mac(container("d", network="mine", ip=place.ip, ip6=place.ip6), "02:42:00:00:00:0d")
    _, now = world.start(successor)
    assert (now.ip, now.ip6, now.mac) == (place.ip, place.ip6, "02:42:00:00:00:0d")
    before = {(who, address): _known(who, address) for who in (asker, None) for address in (place.ip, place.ip6)}
    assert set(before.values()) == {place.mac}
    _announce(announcer, now)
    assert {_known(who, address) for who in (asker, None) for address in (place.ip, place.ip6)} == {now.mac}


def test_what_nobody_knows_is_not_remembered(world: World, announcer: Announcer) -> None:
    """The host and the neighbours of a new container learn of it when they ask."""
    world.networks.start()
    asker, _ = world.start(container("a"))
    _, place = world.start(container("b"))
    _announce(announcer, place)
    assert (_known(asker, place.ip), _known(None, place.ip)) == ("", "")


def test_a_successor_is_reached_at_once(world: World, announcer: Announcer) -> None:
    """Also while its predecessor's cable is on its way out, whatever Ethernet address it has."""
    world.networks.start()
    asker, _ = world.start(container("a"))
    for mac in ("", "02:42:00:00:00:01", "02:42:00:00:00:02", ""):
        space, place = world.start(_with_mac(container("b"), mac))
        assert place.mac == mac or not mac
        _announce(announcer, place)
        with tcp_server(80, space=space) as server:
            for one in (asker, None):
                greet(server, (place.ip, 80), one)
        space.end()
        world.networks.release("b" * 64)


def _with_mac(record: Container, mac: str) -> Container:
    return msgspec.structs.replace(record, config=msgspec.structs.replace(record.config, mac_address=mac or None))
