"""What stands between a network and the world: rules of nf_tables, or, where there is none, routing rules.

Who cannot have nf_tables is served all the same: published ports are carried by the network helper, and the walls
between networks are :class:`~corten.network.walls.Walls`. What that leaves out is said (:data:`LACKING`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from corten.errors import Unsupported
from corten.network import host
from corten.network.endpoint import Binding
from corten.network.firewall import Firewall, Forwarding, Inside
from corten.network.walls import Walls
from corten.wire.netlink import Message

MODES = ("auto", "nftables", "none")
"""Of the engine's option: what there is, nf_tables or no bridge networks, no nf_tables in any case."""
LACKING = (
    "the network helper carries published ports (the container sees the host's address, not the client's; no SCTP), "
    "and containers reach this host and each other, but no other machine"
)


class Barrier(Protocol):
    """The one of the two that an engine has. Not thread-safe."""

    carries: bool
    """Published ports are carried by the network helper: no rule translates them."""
    changed: str
    """What the log says of when another program has changed it."""
    groups: tuple[int, Sequence[int]]
    """Protocol and multicast groups of the netlink socket at which changes are told."""

    @property
    def port(self) -> int:
        """The number of the socket that makes the changes: others' changes come with another."""

    def is_removal(self, message: Message) -> bool:
        """Whether the kernel tells that something of it was deleted, by whomever."""

    def set_networks(self, networks: Iterable[Inside]) -> None:
        """Replace it with one for these networks. Raises Unsupported, CortenError."""

    def rebuild(self) -> None:
        """Make it as it should be, whatever there is. Raises CortenError."""

    def ensure(self) -> bool:
        """Rebuild it when it is not there; whether that was so. Raises CortenError."""

    def publish(self, forwardings: Sequence[Forwarding]) -> None:
        """Open ports. Raises CortenError, and none is open then."""

    def withdraw(self, bindings: Sequence[Binding]) -> None:
        """Close ports."""

    def remember(self, forwardings: Iterable[Forwarding]) -> None:
        """Ports that a container has from before this engine."""

    def strangers(self) -> list[str]:
        """The chains of other programs that are in the way."""

    def remove(self) -> None:
        """Leave nothing on the host."""

    def close(self) -> None:
        """Let the socket go; what it made stays."""


def choose(mode: str, table: str) -> tuple[Barrier, str]:
    """The barrier of an engine, and why it has no firewall ('' where it has one); tables that it had are deleted then.
    Raises Unsupported where ``nftables`` are asked for and not to be had, CortenError."""
    firewall = Firewall(table)
    try:
        reason = "the engine was started with --firewall none" if mode == "none" else _missing(firewall, mode)
        if not reason:
            return firewall, ""
        firewall.remove_if_possible()
    except BaseException:
        firewall.close()
        raise
    firewall.close()
    return Walls(), reason


def _missing(firewall: Firewall, mode: str) -> str:
    try:
        firewall.probe()
    except Unsupported as error:
        if mode == "nftables":
            raise
        cause, (remedy, _, _) = error.message.rpartition(": ")[2], error.hint.partition(",")
        return f"{cause}; {remedy} may help" if remedy else cause
    return ""


def surround(barrier: Barrier, networks: Sequence[Inside]) -> None:
    """Make the barrier around an engine's networks; what an engine with another choice had left of the other kind goes.
    Raises Unsupported, CortenError."""
    barrier.set_networks(networks)
    if not barrier.carries:
        Walls.clear(networks)


def forward(barrier: Barrier, networks: Sequence[Inside]) -> Iterator[str]:
    """Have the host forward for its containers; what was changed for that, for the engine's log. Without a firewall it
    is not wanted. Raises Unsupported where /proc/sys is read-only."""
    if barrier.carries:
        return
    if any(network.subnet6 for network in networks):
        yield from host.forward_ipv6()
    if host.set_switch("net/ipv4/ip_forward", "1"):
        yield "net.ipv4.ip_forward was 0 and is 1 now: this host forwards between its interfaces"
