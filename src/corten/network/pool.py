"""Address pools: which subnet a network gets, and which addresses its containers."""

from __future__ import annotations

import dataclasses
import hashlib
import socket
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from corten.errors import AccessDenied, Conflict, InvalidInput

Subnet = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address


@dataclasses.dataclass(frozen=True, slots=True)
class Pool:
    """A range that subnets of one size are cut from."""

    base: Subnet
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
            base = ip_network(fields.pop("base"))
            size = int(fields.pop("size", base.prefixlen))
        except (KeyError, ValueError) as error:
            raise InvalidInput(f"parse address pool {text!r}: {error}") from None
        if fields or not base.prefixlen <= size <= base.max_prefixlen - 2:
            most = base.max_prefixlen - 2
            raise InvalidInput(f"parse address pool {text!r}: expected base=NETWORK,size=PREFIX (at most {most})")
        return cls(base, size)

    def subnets(self) -> Iterator[Subnet]:
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


def ula_pool(seed: str) -> Pool:
    """The pool of IPv6 subnets of an engine: a /48 of unique local addresses, its global ID derived from ``seed``
    (RFC 4193, section 3.2.2) and so another one on every machine."""
    digest = hashlib.sha256(seed.encode()).digest()
    return Pool(IPv6Network((b"\xfd" + digest[:5] + bytes(10), 48)), 64)


def overlaps(subnet: Subnet, other: Subnet) -> bool:
    """Whether two subnets, of the same family, have an address in common."""
    if isinstance(subnet, IPv4Network):
        return isinstance(other, IPv4Network) and subnet.overlaps(other)
    return isinstance(other, IPv6Network) and subnet.overlaps(other)


def first_free(pools: Sequence[Pool], taken: Iterable[Subnet], version: int = 4) -> Subnet:
    """The first subnet of a family that overlaps nothing taken. Raises Conflict when there is none."""
    occupied = tuple(taken)
    for pool in pools:
        for subnet in pool.subnets() if pool.base.version == version else ():
            if not any(overlaps(subnet, other) for other in occupied):
                return subnet
    raise Conflict(
        "choose subnet: every subnet of the address pools overlaps a route of this host",
        hint="give the engine a free range with --pool base=10.200.0.0/16,size=24",
    )


class Addresses:
    """The addresses of one subnet: the lowest free one of its range is given out first. The network's, the gateway's,
    the broadcast address and what is ``reserved`` are never given out."""

    def __init__(
        self, subnet: Subnet, gateway: Address, *, within: Subnet | None = None, reserved: Iterable[str] = ()
    ) -> None:
        self.subnet = subnet
        self._first = int(subnet.network_address) + 1
        self._last = int(subnet.broadcast_address) - 1
        inner = within or subnet
        self._start = max(self._first, int(inner.network_address))
        self._end = min(self._last, int(inner.broadcast_address))
        self._used = {int(gateway), *(int(ip_address(text)) for text in reserved)}
        self._lowest = self._start
        """No address of the range below it is free."""

    @property
    def is_full(self) -> bool:
        """Whether nothing is left to :meth:`allocate`."""
        return self._next() is None

    def _next(self) -> int | None:
        for number in range(self._lowest, self._end + 1):
            if number not in self._used:
                self._lowest = number
                return number
        return None

    def allocate(self) -> str:
        """Raises Conflict when the range is full."""
        if (number := self._next()) is not None:
            self._used.add(number)
            return str(self._address(number))
        raise Conflict(
            f"allocate address in {self.subnet}: no available IPv{self.subnet.version} addresses on this network"
        )

    def reserve(self, address: str) -> None:
        """Take a certain address. Raises InvalidInput when it is no host of the subnet, AccessDenied, as dockerd, when
        it is used."""
        try:
            number = int(self._address(int(ip_address(address))))
        except ValueError as error:
            raise InvalidInput(f"reserve address {address!r}: {error}") from None
        if not self._first <= number <= self._last:
            raise InvalidInput(f"no configured subnet or ip-range contain the IP address {address}")
        if number in self._used:
            raise AccessDenied(f"reserve address {address}: Address already in use")
        self._used.add(number)

    def release(self, address: str) -> None:
        """Give an address back."""
        family = socket.AF_INET if self.subnet.version == 4 else socket.AF_INET6
        number = int.from_bytes(socket.inet_pton(family, address), "big")
        self._used.discard(number)
        if self._start <= number <= self._end:
            self._lowest = min(self._lowest, number)

    def _address(self, number: int) -> Address:
        """Raises ValueError when the number is none of the family's."""
        return IPv4Address(number) if self.subnet.version == 4 else IPv6Address(number)


def mac_of(address: str) -> str:
    """The Ethernet address of an IPv4 address, as Docker's: 02:42 and the four bytes. Whoever gets the
    address again has the same one, so that neighbours' ARP caches stay right."""
    return "02:42:" + socket.inet_aton(address).hex(":")
