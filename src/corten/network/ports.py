"""Ports of the host: what was asked for, and the sockets that keep other processes off what was given.

Traffic to a published port is translated before it would reach a socket. The socket only occupies the port:
it is bound and does not listen, so that a connection that no rule translates is refused rather than left
hanging. Where the network helper carries a port, it is this very socket that it listens on.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import errno
import ipaddress
import os
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence

from corten.errors import Conflict, CortenError, InvalidInput, Unsupported
from corten.network.endpoint import Binding

ANY, ANY6 = "0.0.0.0", "::"  # noqa: S104 -- Docker's default for a published port
_TYPES = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM, "sctp": socket.SOCK_STREAM}
_LISTEN = "0A"
"""TCP_LISTEN, in /proc/net/tcp."""
_BACKLOG = 128
_MOST_SPARE = 32
"""Sockets of a protocol and family that are kept ready."""
_Kind = tuple[str, socket.AddressFamily]
_LETTERS = {"tcp": "t", "udp": "u", "sctp": "S"}


@dataclasses.dataclass(frozen=True, slots=True)
class PortRequest:
    """One port to publish. ``first`` to ``last`` are the host's ports that will do; 0 and 0: any ephemeral
    one."""

    protocol: str
    container_port: int
    host_ip: str = ""
    """Empty: every address of the host, of the families that the container has."""
    first: int = 0
    last: int = 0


def container_port(text: str) -> tuple[int, str]:
    """``80/tcp`` or ``80``: number and protocol. Raises InvalidInput, and Unsupported for another
    protocol."""
    number, _, protocol = text.partition("/")
    protocol = protocol.lower() or "tcp"
    if protocol not in _TYPES:
        raise Unsupported(f"publish port {text}: protocol {protocol} is not supported", hint="use tcp, udp or sctp")
    return _number(number, text), protocol


def port_requests(bindings: Mapping[str, Iterable[tuple[str, str]]]) -> list[PortRequest]:
    """Docker's port map, ``{"80/tcp": [(host IP, host port or range or ""), …]}``. Raises InvalidInput,
    Unsupported."""
    requests = []
    for target, places in bindings.items():
        port, protocol = container_port(target)
        for host_ip, host_port in places:
            low, dash, high = host_port.partition("-")
            first = _number(low, host_port) if host_port else 0
            last = _number(high, host_port) if dash else first
            if last < first:
                raise InvalidInput(f"publish port {host_port}: invalid range")
            requests.append(PortRequest(protocol, port, _host_address(host_ip), first, last))
    # Whoever takes any port is not to take one that another asks for.
    return sorted(requests, key=lambda request: (not request.first, request.last - request.first))


def requests_again(bindings: Sequence[Binding]) -> Iterator[PortRequest]:
    """The requests that bindings would have come from; one of both families comes from one."""
    for one in bindings:
        if one.host_ip != ANY6 or dataclasses.replace(one, host_ip=ANY) not in bindings:
            place = "" if one.host_ip == ANY else one.host_ip
            yield PortRequest(one.protocol, one.container_port, place, one.host_port, one.host_port)


def _number(text: str, whole: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 65536):
        raise InvalidInput(f'invalid port specification: "{whole}": {text!r} is no port number')
    return int(text)


def _host_address(text: str) -> str:
    plain = text.removeprefix("[").removesuffix("]")
    try:
        return str(ipaddress.ip_address(plain)) if plain else ""
    except ValueError:
        raise InvalidInput(f"publish on {text}: invalid IP address") from None


def family_of(address: str) -> socket.AddressFamily:
    """Of an address as text."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


class HeldPorts:
    """The ports of the host that this engine has given out, each held by a bound socket: the engine's, or one that the
    network helper has from an earlier engine."""

    def __init__(self) -> None:
        self._held: dict[Binding, socket.socket | None] = {}
        self._keeping: set[Binding] = set()
        self._kept: dict[Binding, socket.socket | None] = {}
        self._spare: dict[_Kind, list[socket.socket]] = {}
        self._next = 0

    def expect(self, requests: Sequence[PortRequest]) -> None:
        """Have the sockets ready, bound to nothing, that the ports of a start will take. To make them is two thirds of
        what a port costs, and they occupy none."""
        protocols = collections.Counter(request.protocol for request in requests if not request.host_ip)
        for protocol, count in protocols.items():
            for family in (socket.AF_INET, socket.AF_INET6):
                spare = self._spare.setdefault((protocol, family), [])
                with contextlib.suppress(OSError):  # whoever takes the port will be told
                    while len(spare) < min(count, _MOST_SPARE):
                        spare.append(_socket(protocol, family))

    def take(self, wanted: Iterable[tuple[PortRequest, Sequence[str]]]) -> list[Binding]:
        """Occupy a port of each request, the same on each of its addresses; all or none. Raises Conflict when none is
        free, CortenError when it cannot be bound."""
        taken: list[Binding] = []
        ephemeral: tuple[int, int] | None = None
        try:
            for request, addresses in wanted:
                if not request.first:
                    ephemeral = ephemeral or _ephemeral_range()
                taken += self._take(request, addresses, self._candidates(request, ephemeral))
        except CortenError:
            self.give_back(taken)
            raise
        return taken

    def _take(self, request: PortRequest, addresses: Sequence[str], candidates: Iterable[int]) -> list[Binding]:
        failure: CortenError | None = None
        for port in candidates:
            bindings = [Binding(request.protocol, address, port, request.container_port) for address in addresses]
            try:
                self._hold_all(bindings)
            except Conflict as error:
                failure = failure or error
            else:
                return bindings
        raise failure or Conflict("publish port: all ports of the ephemeral range are in use")

    def _hold_all(self, bindings: Sequence[Binding]) -> None:
        held: list[Binding] = []
        try:
            for binding in bindings:
                self.hold(binding)
                held.append(binding)
        except CortenError:
            self.give_back(held)
            raise

    def _candidates(self, request: PortRequest, ephemeral: tuple[int, int] | None) -> Iterator[int]:
        if ephemeral is None or request.first:
            yield from range(request.first, request.last + 1)
            return
        low, high = ephemeral
        span = high - low + 1
        for _ in range(span):
            port = low + self._next % span
            self._next += 1
            yield port

    def hold(self, binding: Binding) -> socket.socket | None:
        """Occupy one port; its socket. Raises Conflict when it is in use, CortenError when it cannot be bound."""
        if binding in self._kept:
            self._held[binding] = self._kept.pop(binding)
        else:
            self._held[binding] = self._bound(binding)
        return self._held[binding]

    def _bound(self, binding: Binding) -> socket.socket:
        kind = binding.protocol, family_of(binding.host_ip)
        try:
            holder = spare.pop() if (spare := self._spare.get(kind)) else _socket(*kind)
        except OSError as error:
            raise _no_protocol(binding, error) from None
        try:
            _occupy(holder, binding)
        except OSError as error:
            holder.close()
            raise self._refusal(binding, error) from None
        return holder

    def holder(self, binding: Binding) -> socket.socket | None:
        """The engine's socket of a port."""
        return self._held.get(binding)

    def listen(self, binding: Binding) -> None:
        """Let connections to a port queue up: the network helper, who is to carry them, has not come yet."""
        holder = self._held.get(binding)
        if holder is not None and binding.protocol == "tcp":
            # What an earlier server's connections in TIME_WAIT ask for; now there is one who listens.
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            holder.listen(_BACKLOG)

    def lend(self, binding: Binding) -> None:
        """The network helper has the socket of a port."""
        self._held.setdefault(binding, None)

    @contextlib.contextmanager
    def kept(self, bindings: Iterable[Binding]) -> Iterator[None]:
        """Meanwhile these ports stay occupied when they are given back, and who takes one gets its very socket: a
        container's ports move from one network to another, and nobody comes in between."""
        mine = set(bindings)
        self._keeping |= mine
        try:
            yield
        finally:
            self._keeping -= mine
            for binding in mine:
                _close(self._kept.pop(binding, None))

    def _refusal(self, binding: Binding, error: OSError) -> CortenError:
        place = f"{bracketed(binding.host_ip)}:{binding.host_port}"
        if error.errno != errno.EADDRINUSE:
            return CortenError.from_os("bind host port", f"{place}/{binding.protocol}", error)
        if any(_same_port(binding, other) for other in self._held):
            return Conflict(f"Bind for {place} failed: port is already allocated")
        holders = owners(binding)
        look = f"ss -ln{_LETTERS[binding.protocol]}p sport = :{binding.host_port}"
        return Conflict(
            f"failed to bind host port {place}/{binding.protocol}: address already in use",
            hint=f"{', '.join(holders)} has it" if holders else f"another process has it: {look}",
        )

    def give_back(self, bindings: Iterable[Binding]) -> None:
        """Free the ports; those not held are passed over."""
        for binding in bindings:
            if binding not in self._held:
                continue
            holder = self._held.pop(binding)
            if binding in self._keeping:
                self._kept[binding] = holder
            else:
                _close(holder)

    def close(self) -> None:
        """Free all."""
        self.give_back(list(self._held))
        for spare in self._spare.values():
            while spare:
                spare.pop().close()


def _close(holder: socket.socket | None) -> None:
    if holder is not None:
        holder.close()


def bracketed(address: str) -> str:
    """An address as it stands before a colon and a port."""
    return f"[{address}]" if ":" in address else address


def _socket(protocol: str, family: socket.AddressFamily) -> socket.socket:
    number = socket.IPPROTO_SCTP if protocol == "sctp" else 0
    made = socket.socket(family, _TYPES[protocol] | socket.SOCK_CLOEXEC, number)
    try:
        if family == socket.AF_INET6:
            # The same port of IPv4 is another's, or ours by another socket.
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if protocol != "tcp":
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)
    except BaseException:
        made.close()
        raise
    return made


def _no_protocol(binding: Binding, error: OSError) -> CortenError:
    if error.errno in (errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT, errno.EAFNOSUPPORT):
        what = binding.protocol.upper() if binding.protocol == "sctp" else "IPv6"
        return Unsupported(
            f"publish port {binding.host_port}/{binding.protocol} on {binding.host_ip}: this kernel has no {what}",
            hint="modprobe sctp" if binding.protocol == "sctp" else "",
        )
    return CortenError.from_os("bind host port", f"{binding.host_port}/{binding.protocol}", error)


def _occupy(holder: socket.socket, binding: Binding) -> None:
    """Bind so that nobody else can."""
    place = (binding.host_ip, binding.host_port)
    try:
        holder.bind(place)
    except OSError as error:
        if error.errno != errno.EADDRINUSE or binding.protocol != "tcp":
            raise
        _occupy_again(holder, place)


def _occupy_again(holder: socket.socket, place: tuple[str, int]) -> None:
    """Bind where connections of an earlier server in TIME_WAIT may be what hinders.

    They ask for SO_REUSEADDR; but sockets that all have it may share a port until one listens. So it listens for a
    moment, which makes the bind exclusive, and falls back to bound and closed (shutdown(2) of a listening socket keeps
    the port), without SO_REUSEADDR, which keeps it exclusive.
    """
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(place)
    holder.listen(0)
    holder.shutdown(socket.SHUT_RD)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)


def _same_port(one: Binding, other: Binding) -> bool:
    if (one.protocol, one.host_port) != (other.protocol, other.host_port):
        return False
    if family_of(one.host_ip) != family_of(other.host_ip):
        return False
    return one.host_ip == other.host_ip or bool({ANY, ANY6} & {one.host_ip, other.host_ip})


def owners(binding: Binding) -> list[str]:
    """The processes, as ``nginx (812)``, whose socket has a port of the host; none where that cannot be seen."""
    inodes = set(_inodes(binding))
    if not inodes:
        return []
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):  # it ended meanwhile, or is not ours to look at
            links = {os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")}
            if links & inodes:
                with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
                    found.append(f"{file.read().strip()} ({pid})")
    return found


def _inodes(binding: Binding) -> Iterator[str]:
    """``socket:[inode]`` of the sockets of the port: that listen, for TCP; IPv6 ones may have the IPv4 port, too."""
    if binding.protocol == "sctp":
        return
    for name in (binding.protocol, f"{binding.protocol}6"):
        with contextlib.suppress(FileNotFoundError), open(f"/proc/net/{name}", encoding="ascii") as file:
            for words in map(str.split, list(file)[1:]):
                listens = binding.protocol == "udp" or words[3] == _LISTEN
                if listens and int(words[1].rpartition(":")[2], 16) == binding.host_port:
                    yield f"socket:[{words[9]}]"


def _ephemeral_range() -> tuple[int, int]:
    """The kernel's range for ports that nobody chose."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", "rb", buffering=0) as file:
        low, high = file.read(64).split()
    return int(low), int(high)
