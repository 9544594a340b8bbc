"""Which subnet, which address."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.daemon import Settings
from corten.errors import AccessDenied, Conflict, InvalidInput
from corten.network.pool import DEFAULT_POOLS, Addresses, Pool, first_free, mac_of, ula_pool


def _addresses(subnet: str = "10.0.0.0/29") -> Addresses:
    network = IPv4Network(subnet)
    return Addresses(network, network.network_address + 1)


def test_the_default_pools_are_dockers() -> None:
    subnets = [str(subnet) for pool in DEFAULT_POOLS for subnet in pool.subnets()]
    assert subnets[:15] == [f"172.{second}.0.0/16" for second in range(17, 32)]
    assert subnets[15:] == [f"192.168.{third}.0/20" for third in range(0, 256, 16)]


def test_the_first_subnet_that_overlaps_nothing() -> None:
    taken = [IPv4Network("172.16.0.0/15"), IPv4Network("172.18.3.0/24"), IPv4Network("10.0.0.0/8")]
    assert first_free(DEFAULT_POOLS, taken) == IPv4Network("172.19.0.0/16")


def test_no_subnet_left() -> None:
    with pytest.raises(Conflict, match="overlaps a route") as caught:
        first_free([Pool.parse("10.1.0.0/16")], [IPv4Network("10.0.0.0/8")])
    assert "--pool" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "base", "size"),
    [("10.9.0.0/16", "10.9.0.0/16", 16), ("base=10.8.0.0/14,size=24", "10.8.0.0/14", 24)],
)
def test_pools_as_options(text: str, base: str, size: int) -> None:
    assert Pool.parse(text) == Pool(IPv4Network(base), size)


@pytest.mark.parametrize(
    "text",
    ["", "ten", "10.0.0.1/8", "size=24", "base=10.0.0.0/8,size=4", "base=10.0.0.0/8,size=31", "base=10.0.0.0/8,x=1"],
)
def test_bad_pools(text: str) -> None:
    with pytest.raises(InvalidInput, match="parse address pool"):
        Pool.parse(text)


def test_the_lowest_free_address_first() -> None:
    pool = _addresses()
    assert [pool.allocate() for _ in range(3)] == ["10.0.0.2", "10.0.0.3", "10.0.0.4"]
    pool.release("10.0.0.3")
    pool.release("10.0.0.2")
    assert [pool.allocate() for _ in range(3)] == ["10.0.0.2", "10.0.0.3", "10.0.0.5"]


def test_a_full_subnet() -> None:
    pool = _addresses()
    assert [pool.allocate() for _ in range(5)][-1] == "10.0.0.6"
    with pytest.raises(Conflict, match="no available IPv4 addresses"):
        pool.allocate()


def test_reserved_addresses() -> None:
    pool = _addresses()
    pool.reserve("10.0.0.2")
    assert pool.allocate() == "10.0.0.3"
    with pytest.raises(AccessDenied, match="Address already in use"):
        pool.reserve("10.0.0.2")
    for bad in ("10.0.0.0", "10.0.0.7", "10.0.1.1", "x"):
        with pytest.raises(InvalidInput):
            pool.reserve(bad)
    with pytest.raises(AccessDenied):
        pool.reserve("10.0.0.1")


@given(st.lists(st.one_of(st.none(), st.integers(0, 20)), max_size=60))
def test_never_the_same_address_twice(moves: list[int | None]) -> None:
    """None allocates, a number releases the one of that index."""
    pool, held = _addresses("10.0.0.0/28"), list[str]()
    for move in moves:
        if move is not None:
            if held:
                pool.release(held.pop(move % len(held)))
        elif len(held) < 13:
            address = pool.allocate()
            assert address not in held
            free = [f"10.0.0.{last}" for last in range(2, 15) if f"10.0.0.{last}" not in held]
            assert address == free[0]
            held.append(address)


def test_a_range_of_a_subnet() -> None:
    """What is given out is of the range; what is asked for, of the whole subnet."""
    subnet = IPv4Network("10.0.0.0/16")
    pool = Addresses(subnet, subnet[1], within=IPv4Network("10.0.5.0/30"), reserved=["10.0.5.1", "10.0.9.9"])
    pool.reserve("10.0.7.7")
    assert [pool.allocate() for _ in range(3)] == ["10.0.5.0", "10.0.5.2", "10.0.5.3"]
    with pytest.raises(Conflict, match="no available IPv4 addresses"):
        pool.allocate()
    pool.release("10.0.7.7")
    pool.release("10.0.5.2")
    assert pool.allocate() == "10.0.5.2"
    with pytest.raises(AccessDenied):
        pool.reserve("10.0.9.9")


def test_ipv6() -> None:
    subnet = IPv6Network("fd00:1::/64")
    pool = Addresses(subnet, subnet[1])
    assert [pool.allocate(), pool.allocate()] == ["fd00:1::2", "fd00:1::3"]
    pool.reserve("fd00:1::ffff")
    with pytest.raises(InvalidInput):
        pool.reserve("10.0.0.1")


def test_unique_local_subnets() -> None:
    """Each engine has its own, and the same after each start; a family's subnets do not hinder the other's."""
    one, other = ula_pool("one"), ula_pool("other")
    assert one == ula_pool("one") != other
    assert one.base.subnet_of(IPv6Network("fd00::/8"))  # type: ignore[arg-type]
    first = first_free([*DEFAULT_POOLS, one], [IPv4Network("172.16.0.0/12")], 6)
    second = first_free([*DEFAULT_POOLS, one], [first], 6)
    assert (first.prefixlen, int(second.network_address) - int(first.network_address)) == (64, 1 << 64)


def test_ethernet_addresses_follow_the_address() -> None:
    assert mac_of("172.17.0.2") == "02:42:ac:11:00:02"


@pytest.mark.parametrize("option", ["--pool", "--default-address-pool"])
def test_pools_of_the_engine(option: str) -> None:
    settings = Settings.parse([option, "base=10.9.0.0/16,size=24", option, "fd00:9::/56"])
    assert settings.pools == (Pool.parse("base=10.9.0.0/16,size=24"), Pool.parse("fd00:9::/56"))
    assert first_free(settings.pools, [], 6) == IPv6Network("fd00:9::/56")
    assert Settings.parse([]).pools == DEFAULT_POOLS
