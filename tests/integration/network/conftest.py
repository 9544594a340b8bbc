"""The host, another machine and containers, as network namespaces."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.spaces import World, private_host


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """The test itself stands on the host, in a network namespace of its own."""
    with private_host():
        made = World(tmp_path)
        try:
            yield made
        finally:
            made.close()


@pytest.fixture(params=["0", "1"], ids=["routed", "br_netfilter"])
def either_way(world: World, request: pytest.FixtureRequest) -> World:
    """Without and with br_netfilter, which makes frames inside a bridge pass the host's tables."""
    switch = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
    if switch.exists():
        switch.write_text(request.param)
    elif request.param == "1":
        pytest.skip("this kernel has no br_netfilter")
    return world
