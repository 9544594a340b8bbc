"""What the network helper is told: which names a container has in its networks, and whom it asks for others; and how
the two sides speak.

The helper outlives engines, so its protocol has a version.
"""

from __future__ import annotations

import dataclasses
from typing import Any

VERSION = 1
ADDRESS = "127.0.0.11"
"""Where a container in a user's network finds its resolver, as Docker's: tools look for this very address."""
NAME = "corten-network"
"""What ps(1) calls the helper."""


@dataclasses.dataclass(frozen=True, slots=True)
class Membership:
    """A container's place in one network."""

    network_id: str
    network: str
    """Its name, which may follow a container's: ``web.backend``."""
    names: tuple[str, ...]
    """Under which others in it find this one; the first is the one that its addresses have."""
    addresses: tuple[str, ...]
    links: tuple[tuple[str, str], ...] = ()
    """(alias, name) of others, that this container alone knows by the alias."""
    internal: bool = False
    """The network has no way out."""

    @staticmethod
    def decode(value: dict[str, Any]) -> Membership:
        """The value of a JSON form."""
        links = tuple((alias, name) for alias, name in value["links"])
        some = {"names": tuple(value["names"]), "addresses": tuple(value["addresses"]), "links": links}
        return Membership(**{**value, **some})


@dataclasses.dataclass(frozen=True, slots=True)
class NameRecord:
    """A running container, as the resolver knows it."""

    container_id: str
    run: str
    """Which of its runs: what is left of an earlier one must not end this one's names."""
    memberships: tuple[Membership, ...]
    servers: tuple[str, ...] = ()
    """Whom to ask for other names, from where the container stands; none: the host's own."""
    ndots: bool = False
    """A number of dots was asked for: a name without any is for the search list, and not for other servers."""

    def encode(self) -> dict[str, Any]:
        """JSON values only."""
        return dataclasses.asdict(self)

    @staticmethod
    def decode(value: dict[str, Any]) -> NameRecord:
        """The value of a JSON form."""
        memberships = tuple(Membership.decode(one) for one in value["memberships"])
        return NameRecord(**{**value, "memberships": memberships, "servers": tuple(value["servers"])})

    @property
    def has_way_out(self) -> bool:
        """Whether one of its networks leads out of the host: else nobody else is asked."""
        return any(not one.internal for one in self.memberships)
