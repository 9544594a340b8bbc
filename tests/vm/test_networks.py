"""That the machine's kernel has what the tests of networks would otherwise find missing, and be content."""

from __future__ import annotations

import socket

import pytest

from corten.network import host
from tests.support.spaces import World

pytestmark = [pytest.mark.root, pytest.mark.network, pytest.mark.cgroup2]


def test_there_is_sctp() -> None:
    socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP).close()


@pytest.mark.parametrize("driver", ["macvlan", "ipvlan"])
def test_there_are_links_without_a_bridge(world: World, driver: str) -> None:
    assert host.has_driver(driver, "uplink")
