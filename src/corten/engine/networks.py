"""Networks: the default three (bridge, host, none), those that users make, and the containers' places in
them.

Everything here is synchronous and is called from the event loop's thread.
"""

from __future__ import annotations

import datetime
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import ip_network
from typing import Any

import msgspec

from corten.engine import network_creation, network_explain
from corten.engine.container_network import DEFAULT, PREDEFINED, joined, joins_bridge, requested_ports, wish
from corten.engine.database import Database, Table
from corten.engine.filters import Filters
from corten.engine.means import NO_BRIDGES
from corten.engine.model import Container, EndpointRequest
from corten.engine.names import new_id
from corten.engine.network_creation import BRIDGE_NAME, LINK_DRIVERS, PARENT, asked_subnets, settled
from corten.engine.network_filters import is_prunable, passes
from corten.engine.network_lookup import look_up, named
from corten.engine.network_model import (
    EndpointResource,
    Ipam,
    IpamConfig,
    Network,
    NetworkCreate,
    NetworkInspect,
)
from corten.errors import AccessDenied, Conflict, CortenError, InvalidInput, NotFound, Unsupported
from corten.network import host
from corten.network.barrier import Barrier, choose, forward, surround
from corten.network.bridge import BridgeNetwork
from corten.network.endpoint import Endpoint, with_way_out
from corten.network.firewall import Firewall, Inside
from corten.network.pool import DEFAULT_POOLS, Pool, Subnet, first_free, overlaps, ula_pool
from corten.network.ports import HeldPorts, PortRequest, requests_again

_log = logging.getLogger(__name__)


class Networks:
    """The networks of one engine.

    A container's places are taken by :meth:`attach` before its plan is made, its ports are opened by
    :meth:`publish` before it starts, and both end with :meth:`release`; :meth:`join` and :meth:`leave` change the
    places of one that runs. Its record keeps the endpoints (``Endpoint.encode()``), from which :meth:`start` rebuilds
    what was lost with an earlier engine.
    """

    def __init__(
        self,
        database: Database,
        *,
        bridge: str,
        table: str,
        pools: Sequence[Pool] = DEFAULT_POOLS,
        name_of: Callable[[str], str],
        privileged: bool = True,
        ipv6: bool = False,
        firewall: str = "auto",
    ) -> None:
        """``bridge`` names the default network's interface, ``table`` the firewall table; ``name_of`` tells a
        container's name from its ID; without ``privileged`` there are only host and none; with ``ipv6`` the default
        network has it; ``firewall`` is one of :data:`~corten.network.barrier.MODES`."""
        self._table = Table(database, "networks")
        self._pools = pools
        self._name_of = name_of
        self._privileged, self._ipv6 = privileged, ipv6
        self._bridge = bridge
        self._names = table, firewall
        self.firewall: Barrier = Firewall(table)
        """The rules of all networks; whose they are, asks :class:`~corten.engine.network_watch.NetworkWatch`."""
        self.lacking = ""
        """Why there is no firewall; '' where there is one."""
        self.ports = HeldPorts()
        """The host's ports that were given out; some are carried by :class:`~corten.engine.proxying.Proxying`."""
        self._networks = {network.id: network for network in self._table.load(Network)}
        self._bridges: dict[str, BridgeNetwork] = {}
        self._adopting: list[Endpoint] = []
        self._ready = False
        for name, driver in PREDEFINED.items():
            if not any(network.name == name for network in self._networks.values()):
                self._put(Network(name, new_id(), _now(), driver))

    def start(self, endpoints: Iterable[Endpoint] = ()) -> Sequence[str]:
        """Make bridges and firewall, with the endpoints of the containers that are running. Returns notices
        for the engine's log; where this machine has no bridges or no firewall, that is one, and
        :meth:`attach` will raise it."""
        self._adopting = list(endpoints)
        if not self._privileged:
            return []
        try:
            return self._prepare()
        except CortenError as error:
            return [f"bridge networks are not available: {error.message}"]

    def _prepare(self) -> Sequence[str]:
        """Subnets and what is taken of them; bridges, table and forwarding, in the order in which nothing is
        ever forwarded unguarded. Raises CortenError; may be tried again."""
        with host.exclusive():
            if not self._bridges:
                self.firewall, self.lacking = choose(self._names[1], self._names[0])
            self._settle_subnets()
            notices = self._adopt()
            for bridge in self._bridges.values():
                bridge.ensure()
            surround(self.firewall, self._insides())
            notices += self._overlaps()
            notices += forward(self.firewall, self._insides())
        notices += network_explain.lacking(self.lacking)
        self._ready = True
        return notices

    def _adopt(self) -> list[str]:
        notices: list[str] = []
        while self._adopting:
            endpoint = self._adopting.pop()
            if (network := self._bridges.get(endpoint.network_id)) is not None:
                notices += network.adopt(endpoint)
        return notices

    def _overlaps(self) -> Iterable[str]:
        """What to say of the host's routes that have come into the networks' subnets."""
        for bridge in self._bridges.values():
            for other in host.overlapping(bridge.settings.subnet, bridge.settings.bridge) if bridge.is_bridge else ():
                yield f"network {bridge.settings.name} ({bridge.settings.subnet}) overlaps the host's route {other}"

    def _insides(self) -> list[Inside]:
        return [bridge.settings.inside for bridge in self._bridges.values() if bridge.is_bridge]

    def _settle_subnets(self) -> None:
        """Give each network its subnets: those that it had, unless it is the default one, has no containers, and the
        host has meanwhile a route of its own there."""
        for network in [network for network in self._networks.values() if network.driver not in ("host", "null")]:
            if network.id in self._bridges:
                continue
            if network.name == DEFAULT and not any(one.network_id == network.id for one in self._adopting):
                network = self._settled_default(network)
            self._bridges[network.id] = self._bridge_network(network)

    def _settled_default(self, network: Network) -> Network:
        """The default network, idle, with the subnets that the engine's options ask for and no route of the host's
        has meanwhile."""
        interface = self._interface(network)
        present = {ip_network(config.subnet).version: config for config in network.ipam.config}
        configs = []
        for version in (4, 6) if self._ipv6 else (4,):
            config = present.get(version)
            if config is None or host.overlapping(ip_network(config.subnet), interface):
                config = self._free_subnet(interface, version)
            configs.append(config)
        if configs == network.ipam.config and network.enable_ipv6 == self._ipv6:
            return network
        return self._put(msgspec.structs.replace(network, ipam=Ipam(config=configs), enable_ipv6=self._ipv6))

    def _bridge_network(self, network: Network) -> BridgeNetwork:
        settings = network_creation.settings(network, self._interface(network), host.outward_mtu())
        return BridgeNetwork(settings, self.firewall, self.ports)

    def _free_subnet(self, interface: str, version: int = 4) -> IpamConfig:
        """The first subnet of the pools that no route and no other network has. Raises Conflict."""
        pools = list(self._pools)
        if not any(pool.base.version == version for pool in pools):
            pools.append(ula_pool(host.machine_id() + self._names[0]))
        subnet = first_free(pools, [*host.taken_networks(interface), *self._own_subnets()], version)
        return settled(IpamConfig(str(subnet)))

    def _interface(self, network: Network) -> str:
        """The bridge's name, ``br-`` and twelve digits of the ID unless an option names it; of a link, its parent's."""
        if network.driver in LINK_DRIVERS:
            return network.options[PARENT]
        default = self._bridge if network.name == DEFAULT else f"br-{network.id[:12]}"
        return network.options.get(BRIDGE_NAME, default)

    def bridge(self, network_id: str) -> BridgeNetwork | None:
        """A network that containers can be plugged into, by its whole ID."""
        return self._bridges.get(network_id)

    def restore_rules(self, *, whole: bool) -> bool:
        """Make the firewall's tables anew: with ``whole`` in any case, else where one is missing. Whether that was
        done. Raises CortenError."""
        if not self._ready:
            return False
        if whole:
            self.firewall.rebuild()
        return whole or self.firewall.ensure()

    def overlapped(self, route: Subnet, interface: str) -> Sequence[tuple[str, Subnet]]:
        """The networks, with their subnets, that a route by another interface than theirs overlaps."""
        found: list[tuple[str, Subnet]] = []
        for settings in (bridge.settings for bridge in self._bridges.values() if bridge.is_bridge):
            subnets: tuple[Subnet | None, ...] = (settings.subnet, settings.subnet6)
            if settings.bridge != interface:
                found += [(settings.name, one) for one in subnets if one and overlaps(route, one)]
        return found

    def close(self) -> None:
        """Let the ports and the socket go; bridges and table stay for the containers that run on."""
        self.ports.close()
        self.firewall.close()

    def remove_from_host(self) -> None:
        """Delete every bridge and the table: for an engine that leaves with nothing running."""
        for bridge in self._bridges.values():
            bridge.remove()
        if self._privileged:
            self.firewall.remove()
        self._ready = False

    # What users ask.

    def list(self, filters: Filters | None = None) -> list[Network]:
        """All networks that pass (name, id, driver, scope, type, label, dangling), by name."""
        every = sorted(self._networks.values(), key=lambda network: network.name)
        return [one for one in every if passes(one, filters or {}, in_use=bool(self._endpoints(one)))]

    def get(self, ref: str) -> Network:
        """By name, ID or a unique prefix of an ID. Raises NotFound, InvalidInput."""
        return look_up(self._networks, ref)

    def inspect(self, ref: str) -> NetworkInspect:
        """A network and its running containers. Raises as :meth:`get`."""
        network = self.get(ref)
        fields = {name: getattr(network, name) for name in Network.__struct_fields__}
        containers = {endpoint.container_id: self._resource(endpoint) for endpoint in self._endpoints(network)}
        return NetworkInspect(**fields, containers=containers)

    def explain(self, ref: str) -> dict[str, Any]:
        """Who reaches whom by a network, in words. Raises as :meth:`get`, and CortenError."""
        network = self.get(ref)
        bridge = self._bridges.get(network.id)
        places = [(self._name_of(one.container_id), one) for one in self._endpoints(network)]
        strangers = self.firewall.strangers() if self._ready else []
        settings = bridge.settings if bridge else None
        return network_explain.explain(network, settings, places, strangers, self.lacking)

    def warnings(self, networks: Iterable[str]) -> Sequence[str]:
        """What whoever makes these networks, or a container in them, has to know of them."""
        bridges = (self._bridges.get(self.id_of(ref)) for ref in networks)
        return network_explain.warnings(self.lacking, [bridge.settings for bridge in bridges if bridge])

    def allocations(self, network: Network) -> Sequence[tuple[str, int, int]]:
        """Of each subnet: its addresses in use (its own, the broadcast's and the gateway's among them), and those
        that may be given out yet."""
        return network_explain.allocations(network, len(self._endpoints(network)))

    def _resource(self, endpoint: Endpoint) -> EndpointResource:
        name = self._name_of(endpoint.container_id)
        ip6 = f"{endpoint.ip6}/{endpoint.prefix6}" if endpoint.ip6 else ""
        return EndpointResource(name, endpoint.endpoint_id, endpoint.mac, f"{endpoint.ip}/{endpoint.prefix}", ip6)

    def create(self, request: NetworkCreate, *, unique: bool = True) -> Network:
        """Make a network, with ``unique`` only where none has its name. Raises Conflict, AccessDenied, NotFound,
        InvalidInput, Unsupported, CortenError; nothing is left then."""
        driver = network_creation.check(request)
        if unique and named(self._networks, request.name):
            raise Conflict(f"network with name {request.name} already exists")
        asked = asked_subnets(request)
        network = Network(
            name=request.name,
            id=new_id(),
            created=_now(),
            driver=driver,
            internal=request.internal,
            attachable=request.attachable,
            enable_ipv6=bool(request.enable_ipv6) or 6 in asked,
            options=request.options or {},
            labels=request.labels or {},
        )
        self._require_bridges()
        network_creation.check_way_out(network, self.lacking)
        self._check_interface(network)
        with host.exclusive():
            configs = self._chosen_subnets(network, asked)
            ipam = request.ipam or Ipam()
            network = msgspec.structs.replace(network, ipam=msgspec.structs.replace(ipam, config=[*configs]))
            bridge = self._bridge_network(network)
            if bridge.is_bridge:
                self._open(bridge)
        self._bridges[network.id] = bridge
        return self._put(network)

    def _check_interface(self, network: Network) -> None:
        """Raises AccessDenied and Conflict when somebody has the bridge, InvalidInput and Unsupported for a link
        driver."""
        interface = self._interface(network)
        if network.driver not in LINK_DRIVERS:
            if any(bridge.settings.bridge == interface for bridge in self._bridges.values()):
                raise AccessDenied(f"create network {network.name}: networks have same bridge name {interface}")
            if host.link_exists(interface):  # its addresses would be taken away, and it would go with the network
                raise Conflict(f"create network {network.name}: the host has an interface {interface} of its own")
        elif not host.link_exists(interface):
            raise InvalidInput(f"create network {network.name}: the host has no interface {interface}")
        elif not host.has_driver(network.driver, interface):
            raise network_creation.no_driver(network.driver, network.name)

    def _open(self, bridge: BridgeNetwork) -> None:
        """Make a bridge and the walls around it, or neither."""
        others = self._insides()
        try:
            self.firewall.set_networks([*others, bridge.settings.inside])
            bridge.ensure()
            for notice in forward(self.firewall, [bridge.settings.inside]):
                _log.warning("%s", notice)
        except CortenError:
            self.firewall.set_networks(others)
            bridge.remove()
            raise

    def _chosen_subnets(self, network: Network, asked: Mapping[int, IpamConfig]) -> Sequence[IpamConfig]:
        interface = self._interface(network)
        chosen = []
        for version in (4, 6) if network.enable_ipv6 else (4,):
            config = asked.get(version)
            if config is None:
                chosen.append(self._free_subnet(interface, version))
                continue
            # A macvlan's subnet is, by its nature, one that the host has a route to by the same interface.
            if host.overlapping(ip_network(config.subnet), interface) or self._is_ours(config):
                raise AccessDenied("invalid pool request: Pool overlaps with other one on this address space")
            chosen.append(settled(config))
        return chosen

    def _is_ours(self, asked: IpamConfig) -> bool:
        """Whether another network has a subnet's addresses, where the host's routes do not show it."""
        return any(overlaps(ip_network(asked.subnet), own) for own in self._own_subnets())

    def _own_subnets(self) -> Sequence[Subnet]:
        configs = [config for network in self._networks.values() for config in network.ipam.config]
        return [ip_network(config.subnet) for config in configs if config.subnet]

    def remove(self, ref: str) -> Network:
        """Delete a network. Raises AccessDenied for a predefined one and while containers are in it."""
        network = self.get(ref)
        if network.name in PREDEFINED:
            raise AccessDenied(f"{network.name} is a pre-defined network and cannot be removed")
        if self._endpoints(network):
            raise AccessDenied(
                f"error while removing network: network {network.name} id {network.id} has active endpoints"
            )
        if (bridge := self._bridges.get(network.id)) is not None:
            bridge.remove()
            del self._bridges[network.id]
            if bridge.is_bridge:
                self.firewall.set_networks(self._insides())
        del self._networks[network.id]
        self._table.delete(network.id)
        return network

    def prune(self, in_use: Iterable[str], filters: Filters | None = None) -> Sequence[Network]:
        """Delete every user's network that no container names in ``in_use`` (names and IDs); those deleted."""
        used = {ref for one in in_use for ref in (one, self.id_of(one))}  # by a name that two have, both are
        chosen = [
            one for one in self._networks.values() if is_prunable(one, filters or {}) and not used & {one.id, one.name}
        ]
        return [self.remove(one.id) for one in chosen if one.name not in PREDEFINED and not self._endpoints(one)]

    def id_of(self, ref: str) -> str:
        """By whatever names a network; '' when there is none."""
        try:
            return self.get(ref).id
        except (NotFound, InvalidInput):  # a container may name a network that is gone
            return ""

    def _endpoints(self, network: Network) -> Sequence[Endpoint]:
        return [*bridge.endpoints.values()] if (bridge := self._bridges.get(network.id)) else []

    def _put(self, network: Network) -> Network:
        self._networks[network.id] = network
        self._table.put(network.id, network, durable=True)
        return network

    # What a container needs.

    def attach(self, container: Container) -> tuple[Endpoint, ...]:
        """Take a place in each of the container's networks; those it has, when it has them. None when its network is
        the host's, another container's, or none.

        Raises NotFound (a network), AccessDenied (an address), InvalidInput, Unsupported (no bridges here).
        """
        if not joins_bridge(container.host):
            return ()
        if present := self.endpoints_of(container.id):
            return present
        try:
            for ref, request in joined(container).items():
                self._join(container, self.get(ref), request)
        except CortenError:
            self.release(container.id)
            raise
        return self._settle_way_out(container.id)

    def endpoints_of(self, container_id: str) -> tuple[Endpoint, ...]:
        """The places of a container, by the order of their interfaces."""
        found = (bridge.endpoints.get(container_id) for bridge in self._bridges.values())
        return tuple(sorted(filter(None, found), key=lambda endpoint: (len(endpoint.interface), endpoint.interface)))

    def join(self, container: Container, network: Network, request: EndpointRequest) -> tuple[Endpoint, ...]:
        """Give a container that runs one more place; its places then. Raises as :meth:`attach`."""
        self._join(container, network, request)
        return self._settle_way_out(container.id)

    def leave(self, container_id: str, network_id: str) -> tuple[Endpoint, ...]:
        """Take one place from a container that runs, with its ports; its places then."""
        self._bridges[network_id].release(container_id)
        return self._settle_way_out(container_id)

    def without(self, container_id: str, network_id: str) -> tuple[Endpoint, ...]:
        """The places that a container would have after :meth:`leave`."""
        return with_way_out([one for one in self.endpoints_of(container_id) if one.network_id != network_id])

    def _join(self, container: Container, network: Network, request: EndpointRequest) -> Endpoint:
        self._require_bridges()
        bridge = self._bridges.get(network.id)
        if bridge is None:
            raise InvalidInput(
                "container cannot be connected to multiple networks with one of the networks in private (none) mode"
            )
        taken = {endpoint.interface for endpoint in self.endpoints_of(container.id)}
        prefix = bridge.settings.prefix
        interface = next(name for name in (f"{prefix}{n}" for n in range(len(taken) + 1)) if name not in taken)
        return bridge.attach(container.id, interface, wish(container, network, request))

    def _settle_way_out(self, container_id: str) -> tuple[Endpoint, ...]:
        endpoints = with_way_out(self.endpoints_of(container_id))
        for endpoint in endpoints:
            self._bridges[endpoint.network_id].update(endpoint)
        return endpoints

    def publish(self, container: Container, endpoints: tuple[Endpoint, ...]) -> tuple[Endpoint, ...]:
        """Open the container's ports where its way out is; the endpoints with their bindings. Raises Conflict (a port
        in use), InvalidInput, Unsupported, CortenError; no port is open then."""
        if any(endpoint.ports for endpoint in endpoints):
            return endpoints
        return self._publish(container, endpoints, requested_ports(container.host, container.config))

    def _publish(
        self, container: Container, endpoints: tuple[Endpoint, ...], requests: Sequence[PortRequest]
    ) -> tuple[Endpoint, ...]:
        """A network without a gateway has no published ports, as dockerd's."""
        for endpoint in endpoints:
            if endpoint.way_out and endpoint.gateway:
                self._bridges[endpoint.network_id].publish(endpoint, requests, name=container.name)
        return self.endpoints_of(container.id) if requests else endpoints

    def move_ports(self, container: Container) -> tuple[Endpoint, ...]:
        """Open the container's ports where its way out is now: those that were open somewhere else, on the same ports
        of the host; when none were, those that it asks for. Raises as :meth:`publish`."""
        endpoints = self.endpoints_of(container.id)
        misplaced = [endpoint for endpoint in endpoints if endpoint.ports and not endpoint.way_out]
        requests: list[PortRequest] = []
        for endpoint in misplaced:
            requests += requests_again(endpoint.ports)
            self._bridges[endpoint.network_id].withdraw(container.id)
        endpoints = self.endpoints_of(container.id)
        return self._publish(container, endpoints, requests) if misplaced else self.publish(container, endpoints)

    def release(self, container_id: str) -> None:
        """Close the container's ports and give its addresses back; nothing when it has no place."""
        for bridge in self._bridges.values():
            bridge.release(container_id)

    @property
    def host_gateway(self) -> str:
        """The default bridge's address, by which every container reaches the host; empty where there is none."""
        configs = self.get(DEFAULT).ipam.config
        return configs[0].gateway if configs else ""

    def names_of(self, container: Container) -> dict[str, EndpointRequest]:
        """The networks of a container's record, by name; by what it says, when one is gone."""
        return {self.find(ref): request for ref, request in joined(container).items()}

    def find(self, ref: str) -> str:
        """The name of a network that a container names; what it says, when that is gone."""
        id = self.id_of(ref)
        return self._networks[id].name if id else ref

    def ref_of(self, ref: str) -> str:
        """What a container is to call a network: its name, or its ID where another has that, too."""
        id, name = self.id_of(ref), self.find(ref)
        return id if id and len(named(self._networks, name)) > 1 else name

    def _require_bridges(self) -> None:
        """Raises Unsupported or CortenError when this machine has no bridge networks."""
        if not self._privileged:
            raise Unsupported("use a bridge network: bridge networks need root", hint=NO_BRIDGES)
        if not self._ready:
            self._prepare()


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds").replace("+00:00", "000Z")
