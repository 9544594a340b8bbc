"""Names in users' networks: what the network helper is told of a container, and how the container comes to ask it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import os
from collections.abc import Iterator, Mapping, Sequence

from corten.engine import container_network
from corten.engine.channel import Message
from corten.engine.container_network import DEFAULT, decoded_endpoints
from corten.engine.events import Event
from corten.engine.live import Lives
from corten.engine.model import Container
from corten.engine.network_helper import NetworkHelper
from corten.engine.networks import Networks
from corten.engine.paths import Paths
from corten.engine.records import Records
from corten.engine.spawning import Spawner
from corten.errors import CortenError, InvalidInput, NotFound
from corten.network.endpoint import Endpoint
from corten.network.files import has_ndots
from corten.network.resolver import ResolverSockets
from corten.spec.names import Membership, NameRecord
from corten.spec.operation import Operation

_log = logging.getLogger(__name__)
_LONGEST_FILE = 1 << 16


def has_resolver(endpoints: Sequence[Endpoint]) -> bool:
    """Whether a container with these places has a resolver of ours: the default network knows links and /etc/hosts
    only."""
    return any(endpoint.network != DEFAULT for endpoint in endpoints)


def operations(container: Container, endpoints: Sequence[Endpoint], door: str) -> tuple[Operation, ...]:
    """The steps of a plan that give a container its resolver."""
    if not has_resolver(endpoints):
        return ()
    return (ResolverSockets(container.id, _run(endpoints), door),)


def _run(endpoints: Sequence[Endpoint]) -> str:
    """What tells this run from others: a place is a new one at every start."""
    return endpoints[0].endpoint_id


@dataclasses.dataclass(frozen=True, slots=True)
class Resolution:
    """Keeps the helper's table as it should be. It hears the engine's events for new names and networks."""

    helper: NetworkHelper
    networks: Networks
    records: Records
    lives: Lives
    spawner: Spawner
    paths: Paths

    def publish(self, container: Container, endpoints: Sequence[Endpoint]) -> None:
        """A container is about to run. Raises CortenError."""
        if has_resolver(endpoints):
            self.helper.put(self._record(container, endpoints, _run(endpoints)))

    def forget(self, container_id: str) -> None:
        """A container does not run any more."""
        self.helper.drop(container_id)

    def heard(self, event: Event) -> None:
        """An event of the engine's: a container has another name, or joined or left a network. What the record says
        of it may be written just after."""
        if event.type == "container" and event.action == "rename":
            asyncio.get_running_loop().call_soon(self._changed, event.actor)
        elif event.type == "network" and event.action in ("connect", "disconnect"):
            asyncio.get_running_loop().call_soon(self._changed, event.attributes["container"])

    def _changed(self, id: str) -> None:
        if id not in self.records:
            return
        container = self.records.get(id)
        endpoints = decoded_endpoints(container)
        run = self.lives.of(container).run
        if run is None or not endpoints:
            return
        known = self.helper.run_of(id)
        if not known and not has_resolver(endpoints):
            return
        record = self._record(container, endpoints, known or _run(endpoints))
        try:
            self.helper.put(record)
        except CortenError as error:
            _log.error("container %s: tell its names: %s", id[:12], error)
        if not known:
            self._restore(record, run.monitor.pidfd)
            self._switch_over(container)

    def _switch_over(self, container: Container) -> None:
        """Have a container that was on the default network alone ask the resolver, unless its resolv.conf is not ours
        any more."""
        ours = container_network.resolv_conf(container).encode()
        path = self.paths.container(container.id) / "resolv.conf"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if os.pread(descriptor, _LONGEST_FILE, 0) == ours:
                    os.ftruncate(descriptor, 0)
                    os.pwrite(descriptor, container_network.resolv_conf(container, resolver=True).encode(), 0)
            finally:
                os.close(descriptor)
        except OSError as error:
            _log.warning("container %s: change its resolv.conf: %s", container.id[:12], error)

    async def adopt(self) -> None:
        """Take over the helper of an earlier engine, with the containers that run."""
        await self.helper.adopt(lambda runs: list(self._running(runs)))

    def _running(self, runs: Mapping[str, str]) -> Iterator[NameRecord]:
        """``runs``: those that the helper knows."""
        for container in self.records:
            endpoints = decoded_endpoints(container) if container.state.running else ()
            if endpoints and (container.id in runs or has_resolver(endpoints)):
                yield self._record(container, endpoints, runs.get(container.id) or _run(endpoints))

    def renewed(self, hello: Message) -> None:
        """Another helper, or one that was found: what it lacks is made again."""
        sandboxes = hello.get("sandboxes", {})
        for record in self.helper.records:
            run = self.lives.of(self.records.get(record.container_id)).run
            if record.container_id not in sandboxes and run is not None:
                self._restore(record, run.monitor.pidfd)

    def _restore(self, record: NameRecord, pidfd: int) -> None:
        """Make the sockets of a container that runs: it had none, or those of a helper that died."""
        args = {"door": self.helper.door, "id": record.container_id, "run": record.run}
        try:
            self.spawner.tell({"do": "work", "work": "resolver", "args": args}, [pidfd])
        except CortenError as error:
            _log.error("container %s: restore its resolver: %s", record.container_id[:12], error)

    def _record(self, container: Container, endpoints: Sequence[Endpoint], run: str) -> NameRecord:
        return NameRecord(
            container_id=container.id,
            run=run,
            memberships=tuple(self._membership(container, endpoint) for endpoint in endpoints),
            servers=tuple(container.host.dns or ()),
            ndots=has_ndots(container_network.resolver_options(container)),
        )

    def _membership(self, container: Container, endpoint: Endpoint) -> Membership:
        network = self.networks.get(endpoint.network_id)
        return Membership(
            network_id=network.id,
            network=network.name,
            names=container_network.dns_names(container, network),
            addresses=(endpoint.ip,),
            links=tuple((alias, self._lasting(ref)) for ref, alias in container_network.links(container, network)),
            internal=network.internal,
        )

    def _lasting(self, ref: str) -> str:
        """The name of a linked container that no rename changes: its short ID."""
        with contextlib.suppress(NotFound, InvalidInput):
            return self.records.find(ref).id[:12]
        return ref
