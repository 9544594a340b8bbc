"""That neighbours hear of a container that takes an address which another had."""

from __future__ import annotations

import contextlib
from functools import partial

import msgspec
import pytest

from corten.engine.network_model import NetworkCreate
from corten.network.endpoint import Endpoint
from tests.support.process import wait_until
from tests.support.spaces import Space, World, container, greet, ip, tcp_server

pytestmark = [pytest.mark.network, pytest.mark.root]


def _known(space: Space | None, address: str) -> str:
    """The Ethernet address by which the host, or a container, knows an address."""
    with space.inside() if space else contextlib.nullcontext():
        words = ip("neighbour", "show", "to", address).split()
    return words[words.index("lladdr") + 1] if "lladdr" in words else ""


def _has_heard(space: Space | None, place: Endpoint) -> bool:
    """Whether it knows no other Ethernet address."""
    return _known(space, place.ip) in ("", place.mac)


def test_a_stale_neighbour_is_healed(world: World) -> None:
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
    # It has its Ethernet address by its IPv4 one, and the IPv6 one of its predecessor.
    _, now = world.start(container("d", network="mine", ip="172.18.0.77", ip6=place.ip6))
    assert now.mac != place.mac
    for space in (asker, None):
        wait_until(lambda space=space: _known(space, place.ip6) == now.mac, "the new address")  # type: ignore[misc]


def test_a_successor_is_reached_at_once(world: World) -> None:
    """Also while its predecessor's cable is on its way out, whatever Ethernet address it has."""
    world.networks.start()
    asker, _ = world.start(container("a"))
    for mac in ("", "02:42:00:00:00:01", "02:42:00:00:00:02", ""):
        record = container("b")
        config = msgspec.structs.replace(record.config, mac_address=mac or None)
        space, place = world.start(msgspec.structs.replace(record, config=config))
        assert place.mac == mac or not mac
        for one in (asker, None):
            wait_until(partial(_has_heard, one, place), "its announcement")
        with tcp_server(80, space=space) as server:
            for one in (asker, None):
                greet(server, (place.ip, 80), one)
        space.end()
        world.networks.release(record.id)
