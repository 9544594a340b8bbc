"""Names in users' networks: what the network helper is told of a container, and the container of its resolver."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Iterator

from corten.engine.channel import Message
from corten.engine.container_network import DEFAULT, dns_names, links, resolver_options
from corten.engine.events import Event
from corten.engine.live import Lives
from corten.engine.model import Container
from corten.engine.network_helper import NetworkHelper
from corten.engine.networks import Networks
from corten.engine.records import Records
from corten.engine.spawning import Spawner
from corten.errors import CortenError, InvalidInput, NotFound
from corten.network.endpoint import Endpoint
from corten.network.files import has_ndots
from corten.network.resolver import ResolverSockets
from corten.spec.names import Membership, NameRecord
from corten.spec.operation import Operation

_log = logging.getLogger(__name__)


def has_resolver(endpoint: Endpoint | None) -> bool:
    """Whether a container with that place has a resolver of ours: the default network knows links and /etc/hosts
    only."""
    return endpoint is not None and endpoint.network != DEFAULT


def operations(container: Container, endpoint: Endpoint | None, door: str) -> tuple[Operation, ...]:
    """The steps of a plan that give a container its resolver."""
    if endpoint is None or not has_resolver(endpoint):
        return ()
    return (ResolverSockets(container.id, endpoint.endpoint_id, door),)


@dataclasses.dataclass(frozen=True, slots=True)
class Resolution:
    """Keeps the helper's table as it should be. It hears the engine's events for new names."""

    helper: NetworkHelper
    networks: Networks
    records: Records
    lives: Lives
    spawner: Spawner

    def publish(self, container: Container, endpoint: Endpoint | None) -> None:
        """A container is about to run, or has other names or networks than before. Raises CortenError."""
        if (record := self._record(container, endpoint)) is not None:
            self.helper.put(record)

    def forget(self, container_id: str) -> None:
        """A container does not run any more."""
        self.helper.drop(container_id)

    def heard(self, event: Event) -> None:
        """An event of the engine's: names change in an instant."""
        if event.type == "container" and event.action == "rename":
            container = self.records.get(event.actor)
            if container.state.running and container.endpoint:
                self.publish(container, Endpoint.decode(container.endpoint))

    async def adopt(self) -> None:
        """Take over the helper of an earlier engine, with the containers that run."""
        records = {record.container_id: record for record in self._running()}
        await self.helper.adopt(records)

    def _running(self) -> Iterator[NameRecord]:
        for container in self.records:
            if container.state.running and container.endpoint:
                record = self._record(container, Endpoint.decode(container.endpoint))
                if record is not None:
                    yield record

    def renewed(self, hello: Message) -> None:
        """Another helper, or one that was found: what it lacks is made again."""
        sandboxes = hello.get("sandboxes", {})
        for record in self._running():
            run = self.lives.of(self.records.get(record.container_id)).run
            if sandboxes.get(record.container_id) != record.run and run is not None:
                self._restore(record, run.monitor.pidfd)

    def _restore(self, record: NameRecord, pidfd: int) -> None:
        """Make a container's sockets once more: those of a helper that died are no more."""
        args = {"door": self.helper.door, "id": record.container_id, "run": record.run}
        try:
            self.spawner.tell({"do": "work", "work": "resolver", "args": args}, [pidfd])
        except CortenError as error:
            _log.error("container %s: restore its resolver: %s", record.container_id[:12], error)

    def _record(self, container: Container, endpoint: Endpoint | None) -> NameRecord | None:
        if endpoint is None or not has_resolver(endpoint):
            return None
        return NameRecord(
            container_id=container.id,
            run=endpoint.endpoint_id,
            memberships=(self._membership(container, endpoint),),
            servers=tuple(container.host.dns or ()),
            ndots=has_ndots(resolver_options(container)),
        )

    def _membership(self, container: Container, endpoint: Endpoint) -> Membership:
        network = self.networks.get(endpoint.network_id)
        return Membership(
            network_id=network.id,
            network=network.name,
            names=dns_names(container, network),
            addresses=(endpoint.ip,),
            links=tuple((alias, self._name(ref)) for ref, alias in links(container, network)),
            internal=network.internal,
        )

    def _name(self, ref: str) -> str:
        """The name of a linked container, which may be told by its ID."""
        with contextlib.suppress(NotFound, InvalidInput):
            return self.records.find(ref).name
        return ref
