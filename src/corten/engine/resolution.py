"""Names in users' networks: what the network helper is told of a container, and the container of its resolver."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Iterator, Sequence

from corten.engine.channel import Message
from corten.engine.container_network import DEFAULT, decoded_endpoints, dns_names, links, resolver_options
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


def has_resolver(endpoints: Sequence[Endpoint]) -> bool:
    """Whether a container with those places has a resolver of ours: the default network knows links and /etc/hosts
    only."""
    return any(endpoint.network != DEFAULT for endpoint in endpoints)


def operations(container: Container, endpoints: Sequence[Endpoint], door: str) -> tuple[Operation, ...]:
    """The steps of a plan that give a container its resolver."""
    if not has_resolver(endpoints):
        return ()
    return (ResolverSockets(container.id, _run_key(endpoints), door),)


def _run_key(endpoints: Sequence[Endpoint]) -> str:
    """Of a run that has these places when its resolver is made: no other run had any of them."""
    return endpoints[0].endpoint_id


@dataclasses.dataclass(frozen=True, slots=True)
class Resolution:
    """Keeps the helper's table as it should be. It hears the engine's events for new names."""

    helper: NetworkHelper
    networks: Networks
    records: Records
    lives: Lives
    spawner: Spawner

    def publish(self, container: Container, endpoints: Sequence[Endpoint]) -> str:
        """A container is about to run; the key of its run, '' where it has no resolver. Raises CortenError."""
        if not has_resolver(endpoints):
            return ""
        record = self._record(container, endpoints, _run_key(endpoints))
        self.helper.put(record)
        return record.run

    async def follow(self, container: Container, endpoints: Sequence[Endpoint], pidfd: int) -> bool:
        """A container that runs has other networks than before: its names follow at once. Whether it has a resolver
        from now on and had none; that stays, also when the last of its users' networks is left. Raises CortenError,
        and it has none then."""
        if container.sandbox:
            self.helper.put(self._record(container, endpoints, container.sandbox))
            return False
        if not has_resolver(endpoints):
            return False
        record = self._record(container, endpoints, _run_key(endpoints))
        self.helper.put(record)
        try:
            await self._make(record, pidfd)
        except CortenError:
            self.helper.drop(container.id)
            raise
        self.records.change(container.id, sandbox=record.run)
        return True

    async def _make(self, record: NameRecord, pidfd: int) -> None:
        answer = await self.spawner.request(self._work(record), [pidfd])
        if status := await self.spawner.status_of(int(answer["pid"])):
            raise CortenError(f"make the resolver of container {record.container_id[:12]}: worker ended with {status}")

    def _work(self, record: NameRecord) -> Message:
        args = {"door": self.helper.door, "id": record.container_id, "run": record.run}
        return {"do": "work", "work": "resolver", "args": args}

    def forget(self, container_id: str) -> None:
        """A container does not run any more."""
        self.helper.drop(container_id)

    def heard(self, event: Event) -> None:
        """An event of the engine's: names change in an instant."""
        if event.type == "container" and event.action == "rename":
            for record in self._running():
                if record.container_id == event.actor:
                    self.helper.put(record)

    async def adopt(self) -> None:
        """Take over the helper of an earlier engine, with the containers that run."""
        records = {record.container_id: record for record in self._running()}
        await self.helper.adopt(records)

    def _running(self) -> Iterator[NameRecord]:
        for container in self.records:
            if container.state.running and container.sandbox:
                yield self._record(container, decoded_endpoints(container), container.sandbox)

    def renewed(self, hello: Message) -> None:
        """Another helper, or one that was found: what it lacks is made again."""
        sandboxes = hello.get("sandboxes", {})
        for record in self._running():
            run = self.lives.of(self.records.get(record.container_id)).run
            if sandboxes.get(record.container_id) != record.run and run is not None:
                self._restore(record, run.monitor.pidfd)

    def _restore(self, record: NameRecord, pidfd: int) -> None:
        """Make a container's sockets once more: those of a helper that died are no more."""
        try:
            self.spawner.tell(self._work(record), [pidfd])
        except CortenError as error:
            _log.error("container %s: restore its resolver: %s", record.container_id[:12], error)

    def _record(self, container: Container, endpoints: Sequence[Endpoint], run: str) -> NameRecord:
        """A name is looked for in the network of the way out first, then by their ranks, as dockerd does."""
        ranked = sorted(endpoints, key=lambda one: (not (one.way_out and one.gateway), -one.priority, one.network))
        return NameRecord(
            container_id=container.id,
            run=run,
            memberships=tuple(self._membership(container, endpoint) for endpoint in ranked),
            servers=tuple(container.host.dns or ()),
            ndots=has_ndots(resolver_options(container)),
        )

    def _membership(self, container: Container, endpoint: Endpoint) -> Membership:
        network = self.networks.get(endpoint.network_id)
        names = dns_names(container, network)  # none on the default one, whose links are lines of /etc/hosts
        return Membership(
            network_id=network.id,
            network=network.name,
            names=names,
            addresses=tuple(filter(None, (endpoint.ip, endpoint.ip6))),
            links=tuple((alias, self._lasting(ref)) for ref, alias in links(container, network) if names),
            internal=network.internal,
        )

    def _lasting(self, ref: str) -> str:
        """The name of a linked container that no rename changes: its short ID."""
        with contextlib.suppress(NotFound, InvalidInput):
            return self.records.find(ref).id[:12]
        return ref
