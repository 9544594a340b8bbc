"""Containers join networks and leave them: at once where they run, else by their next start."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
from collections.abc import Iterator, Sequence

import msgspec

from corten.engine import hosts_edit
from corten.engine.clock import parse_time
from corten.engine.container_network import check_endpoint, joined, own_lines, wish, with_network
from corten.engine.lifecycle import Lifecycle
from corten.engine.live import Live, Run
from corten.engine.model import Container, EndpointRequest
from corten.engine.network_model import Network
from corten.engine.pipes import PipeReader
from corten.engine.spawning import Spawner
from corten.errors import AccessDenied, Conflict, CortenError, InvalidInput
from corten.network.endpoint import Binding, Endpoint
from corten.network.link import Reroute
from corten.spec.operation import Operation, encode

_log = logging.getLogger(__name__)
_SHARED = (
    "container sharing network namespace with another container or host cannot be connected to any other network"
)
_NONE = "container cannot be connected to multiple networks with one of the networks in private (none) mode"


@dataclasses.dataclass(frozen=True, slots=True)
class Connecting:
    """Changes the networks of one engine's containers."""

    lifecycle: Lifecycle
    spawner: Spawner

    async def connect(self, network: Network, container: Container, request: EndpointRequest | None) -> None:
        """Put a container into one more network. Raises InvalidInput, AccessDenied (it is there already, the address
        is used), Conflict, Unsupported, CortenError; nothing is changed then."""
        life, request = self.lifecycle, request or EndpointRequest()
        live = life.lives.of(container)
        async with live.lock:
            container = life.records.get(container.id)
            self._check(network, container, request)
            if live.run is None:
                life.networks.release(container.id)  # what a plan was shown with is not so any more
            changed = with_network(container, life.networks.ref_of(network.id), request)
            if live.run is not None:
                await self._plug(network, msgspec.structs.replace(container, networking=changed), request, live.run)
            life.records.change(container.id, networking=changed)

    def _check(self, network: Network, container: Container, request: EndpointRequest) -> None:
        _refuse_removed(container)
        if container.host.network_mode.startswith(("container:", "ns:")):
            raise InvalidInput(_SHARED)
        present = {self.lifecycle.networks.find(ref) for ref in joined(container)}
        if network.name in present:
            raise AccessDenied(f"endpoint with name {container.name} already exists in network {network.name}")
        if network.name == "host":
            raise InvalidInput(
                "cannot connect container to host network - container must be created in host network mode"
            )
        if "host" in present:
            raise InvalidInput(_SHARED)
        if "none" in present or (network.name == "none" and present):
            raise InvalidInput(_NONE)
        check_endpoint(network.name, request)
        wish(container, network, request)

    async def _plug(self, network: Network, container: Container, request: EndpointRequest, run: Run) -> None:
        networks = self.lifecycle.networks
        before = networks.endpoints_of(container.id)
        endpoints = networks.join(container, network, request)
        (new,) = (one for one in endpoints if one.network_id == network.id)
        try:
            with networks.ports.kept(_bindings(before)):
                try:
                    await self._rewire(container, run, (*new.plugged, *_rerouted(before, endpoints)))
                    endpoints = networks.move_ports(container)
                    await self._follow(container, before, endpoints, run)
                except CortenError:
                    with contextlib.suppress(CortenError):  # as far as it came; the first failure is the one to tell
                        await self._rewire(container, run, (new.unplugged, *_rerouted(endpoints, before)))
                    networks.leave(container.id, network.id)
                    self._let_ports_follow(container)
                    raise
        except CortenError:
            await self._let_all_follow(container, endpoints, run)
            raise
        self._note(container, endpoints)
        self._edit_hosts(container, added=own_lines(container, new))
        self.lifecycle.publish_network(new, "connect")

    async def _follow(
        self, container: Container, before: Sequence[Endpoint], after: Sequence[Endpoint], run: Run
    ) -> None:
        """Have carried ports and names follow. Raises CortenError when no resolver can be made."""
        life = self.lifecycle
        life.proxying.follow(before, after, run.monitor.pidfd)
        today = msgspec.structs.replace(life.records.get(container.id), networking=container.networking)
        if await life.resolution.follow(today, after, run.monitor.pidfd):
            self._show_resolver(container)

    async def _let_all_follow(self, container: Container, before: Sequence[Endpoint], run: Run) -> None:
        """Note where the container is now; what names and ports had ``before`` is no more."""
        after = self.lifecycle.networks.endpoints_of(container.id)
        self._note(container, after)
        try:
            await self._follow(container, before, after, run)
        except CortenError as error:
            _log.warning("container %s: its names stay as they were: %s", container.id[:12], error.message)

    def _show_resolver(self, container: Container) -> None:
        """As dockerd: a resolv.conf that the container, or who copied one into it, has changed is left alone."""
        life = self.lifecycle
        started = parse_time(life.records.get(container.id).state.started_at)
        try:
            if not life.planner.renew_resolv_conf(container, unchanged_since=started):
                _log.info("container %s: its resolv.conf was changed inside, and is left alone", container.id[:12])
        except CortenError as error:
            _log.warning("container %s: %s", container.id[:12], error.message)

    async def disconnect(self, network: Network, container: Container, *, force: bool = False) -> None:
        """Take a container out of a network; with ``force``, also when its interface cannot be removed. Raises
        InvalidInput, CortenError (it is not there, or the kernel refuses)."""
        life = self.lifecycle
        live = life.lives.of(container)
        async with live.lock:
            container = life.records.get(container.id)
            _refuse_removed(container)
            refs = [ref for ref in joined(container) if life.networks.find(ref) == network.name]
            if not refs:
                raise CortenError(f"container {container.id} is not connected to network {network.name}")
            if network.name == "host" and live.run is not None:
                raise InvalidInput(
                    "cannot disconnect container from host network - container was created in host network mode"
                )
            if live.run is None:
                life.networks.release(container.id)
            else:
                await self._unplug(network, container, live, force=force)
            life.records.change(container.id, networking=with_network(container, refs[0], None))

    async def _unplug(self, network: Network, container: Container, live: Live, *, force: bool) -> None:
        networks = self.lifecycle.networks
        before = networks.endpoints_of(container.id)
        gone = [one for one in before if one.network_id == network.id]
        for old in gone:
            remaining = networks.without(container.id, network.id)
            try:
                if live.run is not None:
                    steps = (old.unplugged, *_rerouted(before, remaining))
                    await self._rewire(container, live.run, steps)
            except CortenError:
                if not force:
                    raise
            with networks.ports.kept(_bindings(before)):
                networks.leave(container.id, network.id)
                self._let_ports_follow(container)
            if live.run is not None:
                await self._let_all_follow(container, before, live.run)
            self._edit_hosts(container, removed=own_lines(container, old))
            self.lifecycle.publish_network(old, "disconnect")

    def _let_ports_follow(self, container: Container) -> None:
        """Open the ports where the way out is now. What cannot be opened there is no reason to stay where it was."""
        try:
            self.lifecycle.networks.move_ports(container)
        except CortenError as error:
            _log.warning("container %s: its ports are closed: %s", container.id[:12], error.message)

    def _note(self, container: Container, endpoints: Sequence[Endpoint]) -> None:
        self.lifecycle.records.change(container.id, endpoints=[one.encode() for one in endpoints])

    async def _rewire(self, container: Container, run: Run, steps: Sequence[Operation]) -> None:
        """Have a worker of the spawner execute operations on a container that runs. Raises Conflict when it has ended,
        CortenError with what the kernel refused."""
        # The report is one write of a few bytes: it is read whole.
        reader, writer = os.pipe()
        try:
            try:
                args = {"operations": [encode(step) for step in steps]}
                message = {"do": "work", "work": "rewire", "args": args}
                answer = await self.spawner.request(message, [writer, run.monitor.pidfd])
            finally:
                os.close(writer)
            said = await PipeReader(reader).read()
        finally:
            os.close(reader)
        status = await self.spawner.status_of(int(answer["pid"]))
        if run.over.done() or (status and not said):
            raise Conflict(f"container {container.id} is not running")
        if error := json.loads(said).get("error"):
            raise CortenError(f"change the networks of {container.name}: {error}")

    def _edit_hosts(self, container: Container, *, added: str = "", removed: str = "") -> None:
        """Change the container's own lines of its /etc/hosts."""
        gone = removed.splitlines(keepends=True)
        path = self.lifecycle.planner.paths.container(container.id) / "hosts"
        try:
            hosts_edit.edit(path, drop=lambda line: line in gone, add=added)
        except CortenError as error:  # the network is as it should be: what the container did to its file is its own
            _log.warning("container %s: %s", container.id[:12], error.message)


def _bindings(endpoints: Sequence[Endpoint]) -> list[Binding]:
    return [binding for endpoint in endpoints for binding in endpoint.ports]


def _rerouted(before: Sequence[Endpoint], after: Sequence[Endpoint]) -> Iterator[Operation]:
    """The steps that move the way out, where it is another one."""
    for gateway in ("gateway", "gateway6"):
        old, new = (_way_out(endpoints, gateway) for endpoints in (before, after))
        if new and new != old:
            yield Reroute(new)


def _way_out(endpoints: Sequence[Endpoint], gateway: str) -> str:
    flag = "way_out6" if gateway == "gateway6" else "way_out"
    return next((str(getattr(one, gateway)) for one in endpoints if getattr(one, flag) and getattr(one, gateway)), "")


def _refuse_removed(container: Container) -> None:
    if container.state.status == "removing" or container.state.dead:
        raise Conflict(
            f"Container {container.id} is marked for removal and cannot be connected or disconnected to the network"
        )
