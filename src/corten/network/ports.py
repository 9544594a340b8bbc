"""Ports of the host: what was asked for, and the sockets that keep other processes off what was given.

Traffic to a published port is translated before it would reach a socket. The socket only occupies the port:
it is bound and never listens, so that a connection that no rule translates is refused rather than left
hanging.
"""

from __future__ import annotations

import dataclasses
import errno
import socket
from collections.abc import Iterable, Iterator, Mapping

from corten.errors import Conflict, CortenError, InvalidInput, Unsupported
from corten.network.endpoint import Binding

_ANY = "0.0.0.0"  # noqa: S104 -- Docker's default for a published port
_TYPES = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


@dataclasses.dataclass(frozen=True, slots=True)
class PortRequest:
    """One port to publish. ``first`` to ``last`` are the host's ports that will do; 0 and 0: any ephemeral
    one."""

    protocol: str
    container_port: int
    host_ip: str = _ANY
    first: int = 0
    last: int = 0


def container_port(text: str) -> tuple[int, str]:
    """``80/tcp`` or ``80``: number and protocol. Raises InvalidInput, and Unsupported for another
    protocol."""
    number, _, protocol = text.partition("/")
    protocol = protocol.lower() or "tcp"
    if protocol not in _TYPES:
        raise Unsupported(f"publish port {text}: protocol {protocol} is not supported", hint="use tcp or udp")
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
    return requests


def _number(text: str, whole: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 65536):
        raise InvalidInput(f'invalid port specification: "{whole}": {text!r} is no port number')
    return int(text)


def _host_address(text: str) -> str:
    if ":" in text:
        raise Unsupported(
            f"publish on {text}: IPv6 is not supported on a bridge network",
            hint="give an IPv4 address, or none",
        )
    try:
        return socket.inet_ntoa(socket.inet_aton(text or _ANY))
    except OSError:
        raise InvalidInput(f"publish on {text}: invalid IP address") from None


class HeldPorts:
    """The ports of the host that this engine has given out, each held by a bound socket."""

    def __init__(self) -> None:
        self._held: dict[Binding, socket.socket] = {}
        self._next = 0

    def take(self, request: PortRequest) -> Binding:
        """Occupy a port of those requested. Raises Conflict when none is free, CortenError when it cannot be
        bound."""
        failure: CortenError | None = None
        for port in self._candidates(request):
            binding = Binding(request.protocol, request.host_ip, port, request.container_port)
            try:
                self.hold(binding)
            except Conflict as error:
                failure = failure or error
            else:
                return binding
        raise failure or Conflict("publish port: all ports of the ephemeral range are in use")

    def _candidates(self, request: PortRequest) -> Iterator[int]:
        if request.first:
            yield from range(request.first, request.last + 1)
            return
        low, high = _ephemeral_range()
        span = high - low + 1
        for _ in range(span):
            port = low + self._next % span
            self._next += 1
            yield port

    def hold(self, binding: Binding) -> None:
        """Occupy one port. Raises Conflict when it is in use, CortenError when it cannot be bound."""
        holder = socket.socket(socket.AF_INET, _TYPES[binding.protocol] | socket.SOCK_CLOEXEC)
        try:
            _occupy(holder, binding.host_ip, binding.host_port)
        except OSError as error:
            holder.close()
            raise self._refusal(binding, error) from None
        self._held[binding] = holder

    def _refusal(self, binding: Binding, error: OSError) -> CortenError:
        place = f"{binding.host_ip}:{binding.host_port}"
        if error.errno != errno.EADDRINUSE:
            return CortenError.from_os("bind host port", f"{place}/{binding.protocol}", error)
        if any(_same_port(binding, other) for other in self._held):
            return Conflict(f"Bind for {place} failed: port is already allocated")
        flag = "-ltnp" if binding.protocol == "tcp" else "-lunp"
        return Conflict(
            f"failed to bind host port {place}/{binding.protocol}: address already in use",
            hint=f"another process has it: ss {flag} sport = :{binding.host_port}",
        )

    def give_back(self, bindings: Iterable[Binding]) -> None:
        """Free the ports; those not held are passed over."""
        for binding in bindings:
            if holder := self._held.pop(binding, None):
                holder.close()

    def close(self) -> None:
        """Free all."""
        self.give_back(list(self._held))


def _occupy(holder: socket.socket, address: str, port: int) -> None:
    """Bind so that nobody else can, and so that connections of an earlier server in TIME_WAIT do not hinder.

    TIME_WAIT asks for SO_REUSEADDR; but sockets that all have it may share a port until one listens. So it
    listens for a moment, which makes the bind exclusive, and falls back to bound and closed (shutdown(2) of a
    listening socket keeps the port), without SO_REUSEADDR, which keeps it exclusive.
    """
    if holder.type == socket.SOCK_DGRAM:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)
        holder.bind((address, port))
        return
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind((address, port))
    holder.listen(0)
    holder.shutdown(socket.SHUT_RD)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)


def _same_port(one: Binding, other: Binding) -> bool:
    if (one.protocol, one.host_port) != (other.protocol, other.host_port):
        return False
    return one.host_ip == other.host_ip or _ANY in (one.host_ip, other.host_ip)


def _ephemeral_range() -> tuple[int, int]:
    """The kernel's range for ports that nobody chose."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", "rb", buffering=0) as file:
        low, high = file.read(64).split()
    return int(low), int(high)
