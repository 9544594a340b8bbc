"""Published ports by IPv6: what no rule of the kernel serves is carried by the network helper.

A port that is published on every address is one of ``[::]``, too, as with Docker, whether or not its container has
IPv6; and no rule translates ``[::1]``. The sockets are bound before the container starts, so that a port in use is
told, and handed over when it runs: the helper closes them when it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import errno
import logging
import socket
from collections.abc import Iterable, Iterator, Sequence

from corten.engine.channel import Message
from corten.engine.container_network import decoded_endpoints
from corten.engine.events import Event
from corten.engine.live import Lives
from corten.engine.model import Container
from corten.engine.network_helper import NetworkHelper
from corten.engine.records import Records
from corten.errors import Conflict, CortenError
from corten.network.endpoint import Binding, Endpoint

_log = logging.getLogger(__name__)
_EVERYWHERE, _EVERYWHERE6 = "0.0.0.0", "::"  # noqa: S104  what Docker publishes on
_TYPES = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
_NO_IPV6 = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


@dataclasses.dataclass(frozen=True, slots=True)
class Proxying:
    """The ports of one engine's containers that are carried."""

    helper: NetworkHelper
    records: Records
    lives: Lives
    _reserved: dict[str, dict[Binding, socket.socket]] = dataclasses.field(default_factory=dict)

    def reserve(self, container: Container, endpoints: Sequence[Endpoint]) -> None:
        """Bind the ports of a container that is about to run. Raises Conflict when one is in use; none is bound
        then."""
        try:
            for _, binding in _carried(endpoints):
                if (listener := _bound(binding)) is not None:
                    self._reserved.setdefault(container.id, {})[binding] = listener
        except CortenError:
            self.release(container.id)
            raise

    def open(self, container: Container, endpoints: Sequence[Endpoint], pidfd: int) -> None:
        """The container runs: carry what comes to its ports, until the process of ``pidfd`` ends."""
        reserved = self._reserved.pop(container.id, {})
        for endpoint, binding in _carried(endpoints):
            if (listener := reserved.pop(binding, None)) is not None:
                with listener:
                    self._carry(endpoint, binding, listener, pidfd)

    def release(self, container_id: str) -> None:
        """Let go of the ports of a container that does not run."""
        for listener in self._reserved.pop(container_id, {}).values():
            listener.close()
        self.helper.drop_ports(container_id)

    def renewed(self, hello: Message) -> None:
        """Another helper: it may have some of the ports, the others are bound anew."""
        present = frozenset(hello.get("proxies", ()))
        for container in self.records:
            self._complete(container, present)

    def heard(self, event: Event) -> None:
        """An event of the engine's: a container's ports may be those of another of its networks now."""
        if event.type == "network" and event.action in ("connect", "disconnect"):
            asyncio.get_running_loop().call_soon(self._moved, event.attributes["container"])

    def _moved(self, id: str) -> None:
        if id not in self.records:
            return
        container = self.records.get(id)
        present = self.helper.ports_of(id)
        wanted = {_key(*one) for one in _carried(decoded_endpoints(container))}
        if self.lives.of(container).run is not None and present != wanted:
            self.helper.drop_ports(id)
            self._complete(container, frozenset())

    def _complete(self, container: Container, present: frozenset[str]) -> None:
        """Have all ports of a container that runs carried; ``present`` are."""
        run = self.lives.of(container).run
        if run is None:
            return
        for endpoint, binding in _carried(decoded_endpoints(container)):
            if (key := _key(endpoint, binding)) in present:
                self.helper.has_port(container.id, key)
                continue
            try:
                listener = _bound(binding)
            except CortenError as error:
                _log.warning("container %s: %s", container.id[:12], error)
                continue
            if listener is not None:
                with listener:
                    self._carry(endpoint, binding, listener, run.monitor.pidfd)

    def _carry(self, endpoint: Endpoint, binding: Binding, listener: socket.socket, pidfd: int) -> None:
        message: Message = {
            "do": "proxy", "key": _key(endpoint, binding), "ip": endpoint.ip, "port": binding.container_port,
        }  # fmt: skip
        try:
            self.helper.carry(endpoint.container_id, message, [listener.fileno(), pidfd])
        except CortenError as error:  # the container runs, and is reached by IPv4
            _log.error("container %s: carry port %d: %s", endpoint.container_id[:12], binding.host_port, error)


def _carried(endpoints: Iterable[Endpoint]) -> Iterator[tuple[Endpoint, Binding]]:
    """The places of a container that have ports to carry, and these: not those that are published by IPv6 already."""
    for endpoint in endpoints:
        for binding in endpoint.ports:
            twin = dataclasses.replace(binding, host_ip=_EVERYWHERE6)
            if binding.host_ip == _EVERYWHERE and binding.protocol in _TYPES and twin not in endpoint.ports:
                yield endpoint, twin


def _key(endpoint: Endpoint, binding: Binding) -> str:
    return f"{endpoint.endpoint_id}/{binding.protocol}/{binding.host_ip}/{binding.host_port}"


def _bound(binding: Binding) -> socket.socket | None:
    """A socket at the port; None where the host has no IPv6. Raises Conflict when it is in use.

    SO_REUSEPORT: the helper may not yet have closed the port of a container that ended just now. Of who else binds
    the port without it, the kernel tells.
    """
    place = f"[{binding.host_ip}]:{binding.host_port}/{binding.protocol}"
    with contextlib.ExitStack() as failing:
        try:
            made = failing.enter_context(socket.socket(socket.AF_INET6, _TYPES[binding.protocol]))
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if binding.protocol == "tcp":
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((binding.host_ip, binding.host_port))
        except OSError as error:
            if error.errno in _NO_IPV6:
                return None
            if error.errno == errno.EADDRINUSE:
                flag = "-ltnp" if binding.protocol == "tcp" else "-lunp"
                raise Conflict(
                    f"failed to bind host port {place}: address already in use",
                    hint=f"another process has it: ss -6 {flag} sport = :{binding.host_port}",
                ) from None
            raise CortenError.from_os("bind host port", place, error) from error
        failing.pop_all()
        return made
