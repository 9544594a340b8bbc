"""Walls between networks without a firewall: routing rules, by which the host forwards nothing from or to a network.

As ``ip rule`` prints them, of a network with the bridge br-x::

    1: from all to 172.18.0.0/16 iif lo lookup main       # the host itself reaches its containers
    2: from all to 172.18.0.0/16 prohibit                 # nobody whom the host would forward for does
    2: from all iif br-x prohibit                         # nor do containers reach anybody by it

They come after the rule of the table ``local``, by which whoever reaches the host reaches its own addresses, and before
all others. Containers of one bridge reach each other inside it, without any of this. So isolation, ``--internal`` and
the like are kept, whether or not the host forwards for others. The way out is not: without translation of addresses no
other machine would know where to answer, and rules without memory cannot tell an answer from a stranger's packet.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Self

from corten.errors import CortenError, Unsupported
from corten.network.endpoint import Binding
from corten.network.firewall import Forwarding, Inside
from corten.network.pool import Subnet
from corten.sys.netlink import NETLINK_ROUTE, Netlink
from corten.wire import netlink as wire
from corten.wire.netlink import Message, Request

_HOST, _WALL = 1, 2
_LOOPBACK = "lo"


class _Rule(NamedTuple):
    family: int
    priority: int
    action: int
    destination: bytes = b""
    prefix: int = 0
    interface: str = ""

    def request(self, kind: int, flags: int = 0) -> Request:
        """The message that adds or deletes it."""
        table = wire.RT_TABLE_MAIN if self.action == wire.FR_ACT_TO_TBL else 0
        body = wire.rule(self.family, self.action, prefix=self.prefix, table=table)
        body += wire.u32(wire.FRA_PRIORITY, self.priority)
        if self.destination:
            body += wire.attribute(wire.FRA_DST, self.destination)
        if self.interface:
            body += wire.text(wire.FRA_IIFNAME, self.interface)
        return Request(kind, flags, body)

    @classmethod
    def of(cls, message: Message) -> Self:
        """The rule that a message of the kernel's is about."""
        family, prefix, _, _, _, _, _, action = struct.unpack_from("=8B", message.body)
        found = wire.attributes(message.body, 12)
        (priority,) = struct.unpack("=I", found.get(wire.FRA_PRIORITY, bytes(4)))
        interface = found.get(wire.FRA_IIFNAME, b"").rstrip(b"\0").decode(errors="replace")
        return cls(family, priority, action, found.get(wire.FRA_DST, b""), prefix, interface)


class Walls:
    """Keeps the rules of an engine's networks. A :class:`~corten.network.barrier.Barrier`."""

    carries = True
    changed = "the wall of routing rules around the networks was"
    groups: tuple[int, Sequence[int]] = (NETLINK_ROUTE, (wire.RTNLGRP_IPV4_RULE, wire.RTNLGRP_IPV6_RULE))

    def __init__(self) -> None:
        self._rules: frozenset[_Rule] = frozenset()
        self._kernel: Netlink | None = None

    def set_networks(self, networks: Iterable[Inside]) -> None:
        """Replace the rules with those for these networks. Raises Unsupported when the kernel has no routing rules,
        CortenError when it refuses."""
        wanted = frozenset(rule for network in networks for rule in _rules(network))
        before, self._rules = self._rules, wanted
        self._add(wanted - before)
        self._delete(before - wanted)

    def rebuild(self) -> None:
        """Add what is missing. Raises as :meth:`set_networks`."""
        self._add(self._rules)

    def ensure(self) -> bool:
        """Add what is missing, and say whether there was any."""
        missing = self._rules - _present(self._socket())
        self._add(missing)
        return bool(missing)

    def _add(self, rules: Iterable[_Rule]) -> None:
        """That by which the host reaches its containers first."""
        for rule in sorted(rules):
            try:
                self._socket().batch(rule.request(wire.RTM_NEWRULE, wire.NLM_F_CREATE | wire.NLM_F_EXCL))
            except OSError as error:
                if error.errno != errno.EEXIST:
                    raise _refused(error) from error

    def _delete(self, rules: Iterable[_Rule]) -> None:
        for rule in rules:
            _delete(self._socket(), rule)

    @property
    def port(self) -> int:
        """The number of the socket that makes the changes: others' changes come with another."""
        return self._socket().port

    def is_removal(self, message: Message) -> bool:
        """Whether one of the rules was deleted."""
        return message.type == wire.RTM_DELRULE and _Rule.of(message) in self._rules

    def publish(self, forwardings: Sequence[Forwarding]) -> None:
        """No port is opened by a rule."""

    def withdraw(self, bindings: Sequence[Binding]) -> None:
        """See :meth:`publish`."""

    def remember(self, forwardings: Iterable[Forwarding]) -> None:
        """See :meth:`publish`."""

    def strangers(self) -> list[str]:
        """Nothing is forwarded that somebody could drop."""
        return []

    def remove(self) -> None:
        """Delete the rules."""
        self.set_networks(())

    def close(self) -> None:
        """Close the socket; the rules stay."""
        if self._kernel:
            self._kernel.close()
            self._kernel = None

    def _socket(self) -> Netlink:
        if self._kernel is None:
            self._kernel = Netlink()
        return self._kernel

    @staticmethod
    def clear(networks: Iterable[Inside]) -> None:
        """Delete what an engine without a firewall has left of these networks, which have one now."""
        with Netlink() as kernel:
            present = _present(kernel)
            for rule in [rule for network in networks for rule in _rules(network) if rule in present]:
                _delete(kernel, rule)


def _rules(network: Inside) -> Iterator[_Rule]:
    subnets: tuple[Subnet | None, ...] = (network.subnet, network.subnet6)
    for subnet in [one for one in subnets if one]:
        family = socket.AF_INET if subnet.version == 4 else socket.AF_INET6
        to = (subnet.network_address.packed, subnet.prefixlen)
        yield _Rule(family, _HOST, wire.FR_ACT_TO_TBL, *to, _LOOPBACK)
        yield _Rule(family, _WALL, wire.FR_ACT_PROHIBIT, *to)
        yield _Rule(family, _WALL, wire.FR_ACT_PROHIBIT, interface=network.bridge)


def _present(kernel: Netlink) -> set[_Rule]:
    """All rules of the host; of a family without routing rules none."""
    found: set[_Rule] = set()
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            messages = kernel.dump(Request(wire.RTM_GETRULE, 0, wire.rule(family, 0)))
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EAFNOSUPPORT):
                raise _refused(error) from error
        else:
            found |= {_Rule.of(message) for message in messages}
    return found


def _delete(kernel: Netlink, rule: _Rule) -> None:
    try:
        kernel.batch(rule.request(wire.RTM_DELRULE))
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise _refused(error) from error


def _refused(error: OSError) -> CortenError:
    if error.errno in (errno.EOPNOTSUPP, errno.EAFNOSUPPORT):
        return Unsupported(
            "wall networks off without a firewall: this kernel has no routing rules (CONFIG_IP_MULTIPLE_TABLES)",
            hint="use --network host or --network none",
        )
    return CortenError(f"change routing rules: {str(error.strerror or error).lower()}")
