"""Address pools: which subnet a network gets, and which addresses its containers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network

from corten.errors import Conflict, InvalidInput


@dataclasses.dataclass(frozen=True, slots=True)
class Pool:
    """A range that subnets of one size are cut from."""

    base: IPv4Network
    size: int
    """Prefix length of each subnet."""

    @classmethod
    def parse(cls, text: str) -> Pool:
        """``base=172.30.0.0/16,size=24`` as dockerd's ``--default-address-pool``, or a subnet that is used
        whole.

        Raises InvalidInput.
        """
        fields = dict(part.partition("=")[::2] for part in text.split(",")) if "=" in text else {"base": text}
        try:
            base = IPv4Network(fields.pop("base"))
            size = int(fields.pop("size", base.prefixlen))
        except (KeyError, ValueError) as error:
            raise InvalidInput(f"parse address pool {text!r}: {error}") from None
        if fields or not base.prefixlen <= size <= 30:
            raise InvalidInput(f"parse address pool {text!r}: expected base=NETWORK,size=PREFIX (at most 30)")
        return cls(base, size)

    def subnets(self) -> Iterator[IPv4Network]:
        """The subnets, lowest first."""
        return self.base.subnets(new_prefix=self.size)


DEFAULT_POOLS = (
    Pool.parse("base=172.17.0.0/16,size=16"),
    Pool.parse("base=172.18.0.0/16,size=16"),
    Pool.parse("base=172.19.0.0/16,size=16"),
    Pool.parse("base=172.20.0.0/14,size=16"),
    Pool.parse("base=172.24.0.0/14,size=16"),
    Pool.parse("base=172.28.0.0/14,size=16"),
    Pool.parse("base=192.168.0.0/16,size=20"),
)
"""Those of dockerd (libnetwork's ipamutils): 172.17.0.0/16 to 172.31.0.0/16, then 192.168.0.0/20 and on."""


def first_free(pools: Sequence[Pool], taken: Iterable[IPv4Network]) -> IPv4Network:
    """The first subnet that overlaps nothing taken. Raises Conflict when there is none."""
    occupied = tuple(taken)
    for pool in pools:
        for subnet in pool.subnets():
            if not any(subnet.overlaps(other) for other in occupied):
                return subnet
    raise Conflict(
        "choose subnet: every subnet of the address pools overlaps a route of this host",
        hint="give the engine a free range with --pool base=10.200.0.0/16,size=24",
    )


class Addresses:
    """The addresses of one subnet: the lowest free one is given out first. The network's, the gateway's and
    the broadcast address are never given out."""

    def __init__(self, subnet: IPv4Network, gateway: IPv4Address) -> None:
        self.subnet = subnet
        self._first = int(subnet.network_address) + 1
        self._last = int(subnet.broadcast_address) - 1
        self._used = {int(gateway)}
        self._lowest = self._first
        """No address below it is free."""

    def allocate(self) -> str:
        """Raises Conflict when the subnet is full."""
        for number in range(self._lowest, self._last + 1):
            if number not in self._used:
                self._used.add(number)
                self._lowest = number + 1
                return str(IPv4Address(number))
        raise Conflict(f"allocate address in {self.subnet}: no available IPv4 addresses on this network")

    def reserve(self, address: str) -> None:
        """Take a certain address. Raises InvalidInput when it is no host of the subnet, Conflict when it is
        used."""
        try:
            number = int(IPv4Address(address))
        except ValueError as error:
            raise InvalidInput(f"reserve address {address!r}: {error}") from None
        if not self._first <= number <= self._last:
            raise InvalidInput(f"reserve address {address}: it is not a host address of {self.subnet}")
        if number in self._used:
            raise Conflict(f"reserve address {address}: Address already in use")
        self._used.add(number)

    def release(self, address: str) -> None:
        """Give an address back."""
        number = int(IPv4Address(address))
        self._used.discard(number)
        self._lowest = min(self._lowest, number)


def mac_of(address: str) -> str:
    """The Ethernet address of an IPv4 address, as Docker's: 02:42 and the four bytes. Whoever gets the
    address again has the same one, so that neighbours' ARP caches stay right."""
    return "02:42:" + IPv4Address(address).packed.hex(":")
