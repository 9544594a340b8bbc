"""Published ports that no rule of the kernel serves: they are carried by the network helper.

A port that is published on every address is one of ``[::]``, too, as with Docker, whether or not its container has
IPv6; and no rule translates ``[::1]``. Without a firewall that is every port. The sockets are those that hold the ports
for the engine (:class:`~corten.network.ports.HeldPorts`). They are handed over when the container runs; when it ends,
helper and engine both let go of them.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import socket
from collections.abc import Iterator, Sequence

from corten.engine.channel import Message
from corten.engine.clock import TOLD
from corten.engine.container_network import decoded_endpoints
from corten.engine.live import Lives
from corten.engine.model import Container
from corten.engine.network_helper import NetworkHelper
from corten.engine.records import Records
from corten.errors import CortenError
from corten.network.endpoint import Binding, Endpoint
from corten.network.ports import HeldPorts

_log = logging.getLogger(__name__)
_Place = tuple[Endpoint, Binding]


@dataclasses.dataclass(frozen=True, slots=True)
class Proxying:
    """The ports of one engine's containers that are carried."""

    helper: NetworkHelper
    ports: HeldPorts
    records: Records
    lives: Lives

    async def settle(self, container: Container) -> None:
        """Before a container's ports are taken: wait until the helper has let go of those of containers that ended."""
        if container.host.port_bindings or container.host.publish_all_ports:
            await self.helper.settled()

    def open(self, container: Container) -> None:
        """The container runs: carry what comes to its ports until it ends, as soon as its starter has been told. What
        comes before that waits."""
        if any(value["ports"] for value in container.endpoints):
            for _, binding in _carried(decoded_endpoints(container)):
                self.ports.listen(binding)
            asyncio.get_running_loop().call_later(TOLD, self._open, container)

    def _open(self, container: Container) -> None:
        run = self.lives.of(container).run if container.id in self.records else None
        if run is not None:
            for place in _carried(decoded_endpoints(container)):
                self._carry(*place, run.monitor.pidfd)

    def follow(self, before: Sequence[Endpoint], after: Sequence[Endpoint], pidfd: int) -> None:
        """A container that runs has other networks than before: its ports lead there."""
        old = {binding: endpoint for endpoint, binding in _carried(before)}
        for endpoint, binding in _carried(after):
            earlier = old.pop(binding, None)
            if earlier is None:
                self._carry(endpoint, binding, pidfd)
            elif _key(earlier, binding) != _key(endpoint, binding):
                self.helper.move_port(endpoint.container_id, _key(earlier, binding), _message(endpoint, binding))
        for binding, endpoint in old.items():
            self.helper.drop_port(endpoint.container_id, _key(endpoint, binding))

    def release(self, container_id: str) -> None:
        """Carry no port of a container any more."""
        self.helper.drop_ports(container_id)

    def renewed(self, hello: Message) -> None:
        """Another helper: it may have some of the ports, the others it gets."""
        present = frozenset(hello.get("proxies", ()))
        for container in self.records:
            run = self.lives.of(container).run
            for endpoint, binding in _carried(decoded_endpoints(container)) if run is not None else ():
                if (key := _key(endpoint, binding)) in present:
                    self.helper.has_port(container.id, key)
                    self.ports.lend(binding)
                elif run is not None:
                    self._carry(endpoint, binding, run.monitor.pidfd)

    def _carry(self, endpoint: Endpoint, binding: Binding, pidfd: int) -> None:
        try:
            listener = self._listener(binding)
            self.helper.carry(endpoint.container_id, _message(endpoint, binding), [listener.fileno(), pidfd])
        except CortenError as error:  # the container runs, and other ports of its may be reached
            _log.error("container %s: carry port %d: %s", endpoint.container_id[:12], binding.host_port, error)

    def _listener(self, binding: Binding) -> socket.socket:
        """The socket that holds a port; another one where an earlier helper had it. Raises CortenError."""
        if (held := self.ports.holder(binding)) is None:
            held = self.ports.hold(binding)
        assert held is not None  # such a one is kept for nobody
        return held


def _carried(endpoints: Sequence[Endpoint]) -> Iterator[_Place]:
    return ((endpoint, binding) for endpoint in endpoints for binding in endpoint.ports if endpoint.carries(binding))


def _message(endpoint: Endpoint, binding: Binding) -> Message:
    address = (endpoint.ip6 if ":" in binding.host_ip else "") or endpoint.ip
    return {"do": "proxy", "key": _key(endpoint, binding), "ip": address, "port": binding.container_port}


def _key(endpoint: Endpoint, binding: Binding) -> str:
    return f"{endpoint.endpoint_id}/{binding.protocol}/{binding.host_ip}/{binding.host_port}"
