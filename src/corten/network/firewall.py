"""The engine's own nf_tables table: the way out, published ports, and the walls between networks.

One table of the ``ip`` family and, once a network has IPv6, its twin of the ``ip6`` family. Nothing outside them is
read or changed, so a ``drop`` in somebody else's table still drops: a verdict ``accept`` ends one chain only. A host
whose iptables has ``-P FORWARD DROP`` (dockerd sets it) needs ``iptables -I FORWARD -i BRIDGE -j ACCEPT`` and
``-o BRIDGE`` from its administrator. As
``nft`` prints it::

    map by_address { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service }
    map by_port    { type inet_proto . inet_service : ipv4_addr . inet_service }

    chain guard       { type filter hook prerouting priority raw; }     # 127.0.0.0/8: not for containers
    chain prerouting  { type nat hook prerouting priority dstnat; }     # published ports: for other machines
    chain output      { type nat hook output priority dstnat; }         # the same for the host itself
    chain postrouting { type nat hook postrouting priority srcnat; }    # the way out
    chain forward     { type filter hook forward priority filter; }     # the walls

A port is published by putting one element into a map.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import functools
import socket
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network

from corten.errors import CortenError, Unsupported
from corten.network.endpoint import Binding
from corten.network.ports import family_of
from corten.sys.netlink import NETLINK_NETFILTER, Netlink
from corten.wire import conntrack, nft
from corten.wire.netlink import Message, Request

_LOOPBACK = {nft.IPV4: (bytes([127, 0, 0, 0]), 8), nft.IPV6: (bytes(15) + b"\1", 128)}
_PROTOCOLS = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP, "sctp": socket.IPPROTO_SCTP}
_BY_ADDRESS, _BY_PORT = "by_address", "by_port"
# No netfilter at all; none of its subsystem nf_tables, for a batch and for a single message; or it is not allowed.
_NO_NETFILTER = (errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT)
_NO_NF_TABLES = (*_NO_NETFILTER, errno.EOPNOTSUPP)
_NO_PERMISSION = (errno.EPERM, errno.EACCES)
_MODULES = "nft_chain_nat nft_masq nft_fib_ipv4 nft_ct"


@dataclasses.dataclass(frozen=True, slots=True)
class Inside:
    """One bridge network, as the firewall sees it."""

    bridge: str
    subnet: IPv4Network
    internal: bool = False
    """Without a way out."""
    subnet6: IPv6Network | None = None
    open: bool = True
    """Its containers reach each other."""
    masquerade: bool = True
    """Its containers leave with the host's address, not with their own."""

    def of(self, family: nft.Family) -> IPv4Network | IPv6Network | None:
        """Its subnet of a family."""
        return self.subnet6 if family is nft.IPV6 else self.subnet


@dataclasses.dataclass(frozen=True, slots=True)
class Forwarding:
    """A published port and the address of the container behind it."""

    binding: Binding
    ip: str


class Firewall:
    """Keeps its tables as they should be. A :class:`~corten.network.barrier.Barrier`."""

    carries = False
    groups: tuple[int, Sequence[int]] = (NETLINK_NETFILTER, (nft.GROUP,))

    def __init__(self, table: str) -> None:
        self.table = table
        self.changed = f"firewall table {table} was"
        self._networks: dict[str, Inside] = {}
        self._forwardings: dict[Binding, Forwarding] = {}
        self._kernel: Netlink | None = None

    def set_networks(self, networks: Iterable[Inside]) -> None:
        """Replace the tables with those for these networks, in one transaction: connections live on. Raises
        Unsupported when the kernel has no nf_tables, CortenError when it refuses."""
        self._networks = {network.bridge: network for network in networks}
        self.rebuild()

    def probe(self) -> None:
        """Whether the kernel has all that the tables need: that is so where there is one, else a table is made that
        nobody sees. Raises Unsupported when it has not, CortenError."""
        table = nft.Table(self.table)
        if self._is_there(table):
            return
        sample = Inside("lo", IPv4Network("192.0.2.0/30"))
        trial = nft.Table(f"{self.table}_trial")
        parts = [nft.new_table(trial), *_layout(trial, [sample]), nft.delete_table(trial)]
        self._commit(parts)

    def remove_if_possible(self) -> None:
        """Delete the tables; where there is no nf_tables there are none."""
        with contextlib.suppress(Unsupported):
            self.remove()

    def is_removal(self, message: Message) -> bool:
        """Whether a table, or something in it, was deleted."""
        return nft.is_removal(message, self.table)

    def rebuild(self) -> None:
        """Replace the tables with what they should be. Raises as :meth:`set_networks`."""
        requests: list[Request] = []
        for table in self._tables():
            requests += [nft.new_table(table), nft.delete_table(table), nft.new_table(table)]
            layout = _layout(table, list(self._networks.values()))
            requests += [*layout, *_additions(table, list(self._forwardings.values()))]
        twin = nft.Table(self.table, nft.IPV6)
        if len(self._tables()) == 1 and self._is_there(twin):
            requests.append(nft.delete_table(twin))
        self._commit(requests)

    def _tables(self) -> list[nft.Table]:
        has_ipv6 = any(network.subnet6 for network in self._networks.values())
        return [nft.Table(self.table, family) for family in ((nft.IPV4, nft.IPV6) if has_ipv6 else (nft.IPV4,))]

    def ensure(self) -> bool:
        """Rebuild the tables if one is not there; whether that was so."""
        if all(self._is_there(table) for table in self._tables()):
            return False
        self.rebuild()
        return True

    def _is_there(self, table: nft.Table) -> bool:
        try:
            self._socket().batch(nft.get_table(table))
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EINVAL):  # EINVAL: nothing of netfilter that would know of tables
                return False
            if error.errno in _NO_NF_TABLES and table.family is nft.IPV6:
                return False
            raise self._refused(error) from error
        return True

    @property
    def port(self) -> int:
        """The number of the socket that makes the changes: others' changes come with another."""
        return self._socket().port

    def publish(self, forwardings: Sequence[Forwarding]) -> None:
        """Open ports. Raises CortenError, and none is open then."""
        bindings = [forwarding.binding for forwarding in forwardings]
        self._forwardings.update(zip(bindings, forwardings, strict=True))
        try:
            self._change([one for table in self._tables() for one in _additions(table, forwardings)])
        except CortenError:
            self._forget(bindings)
            raise
        self._end_flows(bindings)

    def withdraw(self, bindings: Sequence[Binding]) -> None:
        """Close ports; connections already made go on until their container ends."""
        known = [binding for binding in bindings if binding in self._forwardings]
        self._forget(known)
        self._change([one for table in self._tables() for one in _removals(table, known)])
        self._end_flows(known)

    def remember(self, forwardings: Iterable[Forwarding]) -> None:
        """Ports that a container has from before this engine: opened by the next :meth:`set_networks`."""
        self._forwardings.update((forwarding.binding, forwarding) for forwarding in forwardings)

    def remove(self) -> None:
        """Delete the tables, unless they are gone."""
        tables = [nft.Table(self.table, family) for family in (nft.IPV4, nft.IPV6)]
        self._commit([nft.delete_table(table) for table in tables if self._is_there(table)])

    def strangers(self) -> list[str]:
        """The chains of other programs that drop what they do not know of what is forwarded: ``ip filter FORWARD``. By
        their policy, as ufw's, or by their last rule, as firewalld's."""
        kernel = self._socket()
        try:
            found = [chain for chain in map(nft.chain, kernel.dump(nft.list_chains())) if chain is not None]
            theirs = [one for one in found if one.hook == nft.FORWARD and one.table.partition(" ")[2] != self.table]
            return [
                f"{one.table} {one.name}"
                for one in theirs
                if one.drops or any(map(nft.refuses_all, kernel.dump(nft.list_rules(one))[-1:]))
            ]
        except OSError as error:
            raise self._refused(error) from error

    def close(self) -> None:
        """Close the socket; the table stays."""
        if self._kernel:
            self._kernel.close()
            self._kernel = None

    def _forget(self, bindings: Iterable[Binding]) -> None:
        for binding in bindings:
            self._forwardings.pop(binding, None)

    def _change(self, requests: Sequence[Request]) -> None:
        """Make a small change; when the table or an element is missing, make the table anew as it should
        be."""
        try:
            if requests:
                self._socket().transaction(nft.begin(), requests, nft.end())
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.EEXIST):
                raise self._refused(error) from error
            self.rebuild()

    def _commit(self, requests: Sequence[Request]) -> None:
        if not requests:
            return
        try:
            self._socket().transaction(nft.begin(), requests, nft.end())
        except OSError as error:
            raise self._refused(error) from error

    def _end_flows(self, bindings: Sequence[Binding]) -> None:
        """Let the next datagram to a port be looked at anew.

        Only a flow's first packet meets the maps. A client that keeps sending from one socket keeps its flow alive,
        to where it went before: to the host itself, or to the address of a container that is gone.
        """
        for family in (socket.AF_INET, socket.AF_INET6):
            datagrams = {
                (_packed(one.host_ip), one.host_port)
                for one in bindings
                if one.protocol == "udp" and family_of(one.host_ip) == family
            }
            if not datagrams:
                continue
            anywhere = {port for address, port in datagrams if not any(address)}
            for flow in map(conntrack.flow, self._socket().dump(conntrack.list_flows(family))):
                meant = (flow.destination, flow.port) in datagrams or flow.port in anywhere
                if meant and flow.protocol == socket.IPPROTO_UDP:
                    self._forget_flow(flow)

    def _forget_flow(self, flow: conntrack.Flow) -> None:
        try:
            self._socket().batch(conntrack.forget_flow(flow))
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise self._refused(error) from error

    def _socket(self) -> Netlink:
        if self._kernel is None:
            try:
                self._kernel = Netlink(NETLINK_NETFILTER)
            except OSError as error:
                raise self._refused(error) from error
        return self._kernel

    def _refused(self, error: OSError) -> CortenError:
        if error.errno in _NO_PERMISSION:
            return Unsupported(f"create firewall table {self.table}: this engine has no permission to use nf_tables")
        missing = {
            errno.ENOENT: ("a part of nf_tables (nat, masq, fib or ct)", _MODULES),
            **dict.fromkeys(_NO_NF_TABLES, ("nf_tables", "nf_tables")),
        }.get(error.errno or 0)
        if missing:
            return Unsupported(
                f"create firewall table {self.table}: this kernel lacks {missing[0]}",
                hint=f"modprobe {missing[1]}, or use --network host or --network none",
            )
        return CortenError(f"change firewall table {self.table}: {str(error.strerror or error).lower()}")


def _layout(table: nft.Table, every: Sequence[Inside]) -> Iterator[Request]:
    """The maps, the chains and their rules."""
    address = table.family.address
    address_and_port = (address, nft.INET_SERVICE)
    protocol_and_port = (nft.INET_PROTO, nft.INET_SERVICE)
    yield nft.new_map(table, _BY_ADDRESS, 1, (address, *protocol_and_port), address_and_port)
    yield nft.new_map(table, _BY_PORT, 2, protocol_and_port, address_and_port)
    networks = [network for network in every if network.of(table.family)]
    yield from _guard(table, networks)
    yield from _published(table)
    yield from _way_out(table, networks)
    yield from _walls(table, networks)


def _guard(table: nft.Table, networks: Sequence[Inside]) -> Iterator[Request]:
    """``route_localnet`` lets the host's own loopback clients reach containers; it would also let
    containers reach what listens on the host's 127.0.0.1 (CVE-2020-8558), but for this.

    Every packet comes by here, on the bridges as well where there is br_netfilter: what is not for the loopback is not
    held against each network's name.
    """
    yield nft.base_chain(table, "guard", "filter", nft.PREROUTING, nft.RAW)
    to_others = nft.destination(table.family, *_LOOPBACK[table.family], equal=False)
    yield nft.rule(table, "guard", to_others, nft.verdict(nft.ACCEPT))
    for network in networks:
        yield _guarded(table, network)


# A network's rules are made anew with each network that comes or goes: with a hundred, most of the time of that.
_remembered = functools.lru_cache(maxsize=2048)


@_remembered
def _guarded(table: nft.Table, network: Inside) -> Request:
    comes_from = nft.interface(nft.IIFNAME, network.bridge)
    to_loopback = nft.destination(table.family, *_LOOPBACK[table.family])
    return nft.rule(table, "guard", comes_from, to_loopback, nft.verdict(nft.DROP))


def _published(table: nft.Table) -> Iterator[Request]:
    """From other machines and containers, then from the host. A neighbour on the same wire can send to
    127.0.0.1: what is published there is translated for the host's own packets only."""
    yield nft.base_chain(table, "prerouting", "nat", nft.PREROUTING, nft.DSTNAT)
    yield nft.base_chain(table, "output", "nat", nft.OUTPUT, nft.DSTNAT)
    by_address = nft.translate_by(table.family, _BY_ADDRESS, by_address=True)
    by_port = nft.translate_by(table.family, _BY_PORT, by_address=False)
    not_loopback = nft.destination(table.family, *_LOOPBACK[table.family], equal=False)
    for translate in (by_address, by_port):
        yield nft.rule(table, "prerouting", nft.to_this_host(), not_loopback, translate)
        # IPv6 has no route_localnet: what is sent to ::1 cannot leave the host, and is left to who listens there.
        own = not_loopback if table.family is nft.IPV6 else b""
        yield nft.rule(table, "output", nft.to_this_host(), own, translate)


def _way_out(table: nft.Table, networks: Sequence[Inside]) -> Iterator[Request]:
    """Containers leave with the host's address. A container that reaches its own bridge's published port,
    and a client on the host's loopback, get the bridge's: the answer must come back by the host."""
    yield nft.base_chain(table, "postrouting", "nat", nft.POSTROUTING, nft.SRCNAT)
    for network in networks:
        yield from _masqueraded(table, network)


@_remembered
def _masqueraded(table: nft.Table, network: Inside) -> tuple[Request, ...]:
    family, subnet = table.family, network.of(table.family)
    if subnet is None:
        return ()
    inside = nft.source(family, subnet.network_address.packed, subnet.prefixlen)
    to_bridge = nft.interface(nft.OIFNAME, network.bridge)
    elsewhere = nft.interface(nft.OIFNAME, network.bridge, equal=False)
    from_loopback = nft.source(family, *_LOOPBACK[family])
    conditions = [(inside, to_bridge, nft.destination_translated()), (from_loopback, to_bridge)]
    if network.masquerade:
        conditions.insert(0, (inside, elsewhere))
    return tuple(nft.rule(table, "postrouting", *condition, nft.masquerade()) for condition in conditions)


def _walls(table: nft.Table, networks: Sequence[Inside]) -> Iterator[Request]:
    """Into a network: answers, published ports, and neighbours on the same bridge; nothing else.

    Of a connection, all packets but the first pass by one rule, however many networks there are. Out of an
    internal one nothing goes, not even what somebody began while these rules were not there.
    """
    yield nft.base_chain(table, "forward", "filter", nft.FORWARD, nft.FILTER)
    for network in networks:
        yield from _kept_inside(table, network)
    answer, accept = nft.connection_state(nft.ESTABLISHED | nft.RELATED), nft.verdict(nft.ACCEPT)
    yield nft.rule(table, "forward", answer, accept)
    yield nft.rule(table, "forward", nft.destination_translated(), accept)
    for network in networks:
        yield from _among(table, network)
    for network in networks:
        yield _walled(table, network)


@_remembered
def _kept_inside(table: nft.Table, network: Inside) -> tuple[Request, ...]:
    comes = nft.interface(nft.IIFNAME, network.bridge)
    elsewhere = nft.interface(nft.OIFNAME, network.bridge, equal=False)
    return (nft.rule(table, "forward", comes, elsewhere, nft.verdict(nft.DROP)),) if network.internal else ()


@_remembered
def _among(table: nft.Table, network: Inside) -> tuple[Request, ...]:
    comes, goes = (nft.interface(direction, network.bridge) for direction in (nft.IIFNAME, nft.OIFNAME))
    return (nft.rule(table, "forward", comes, goes, nft.verdict(nft.ACCEPT)),) if network.open else ()


@_remembered
def _walled(table: nft.Table, network: Inside) -> Request:
    return nft.rule(table, "forward", nft.interface(nft.OIFNAME, network.bridge), nft.verdict(nft.DROP))


Elements = dict[str, list[tuple[bytes, bytes]]]


def _additions(table: nft.Table, forwardings: Sequence[Forwarding]) -> list[Request]:
    pairs = _elements(table, forwardings)
    return [request for name, elements in pairs.items() for request in nft.add_elements(table, name, elements)]


def _removals(table: nft.Table, bindings: Sequence[Binding]) -> list[Request]:
    keys: dict[str, list[bytes]] = {_BY_ADDRESS: [], _BY_PORT: []}
    for binding in bindings:
        if _is_of(table, binding):
            name, key = _key(binding)
            keys[name].append(key)
    return [request for name, some in keys.items() for request in nft.delete_elements(table, name, some)]


def _elements(table: nft.Table, forwardings: Sequence[Forwarding]) -> Elements:
    pairs: Elements = {_BY_ADDRESS: [], _BY_PORT: []}
    for forwarding in forwardings:
        if _is_of(table, forwarding.binding):
            name, key = _key(forwarding.binding)
            port = forwarding.binding.container_port
            pairs[name].append((key, nft.address_and_port(_packed(forwarding.ip), port)))
    return pairs


def _is_of(table: nft.Table, binding: Binding) -> bool:
    """Whether a table has a binding: it is of the family of its host address."""
    return (family_of(binding.host_ip) == socket.AF_INET6) == (table.family is nft.IPV6)


def _key(binding: Binding) -> tuple[str, bytes]:
    """The map that a binding belongs in, and its key there."""
    key = nft.protocol_and_port(_PROTOCOLS[binding.protocol], binding.host_port)
    address = _packed(binding.host_ip)
    return (_BY_ADDRESS, address + key) if any(address) else (_BY_PORT, key)


@_remembered
def _packed(address: str) -> bytes:
    return socket.inet_pton(family_of(address), address)
