"""Networks: the default three (bridge, host, none), those that users make, and the containers' places in
them.

Everything here is synchronous and is called from the event loop's thread.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network

import msgspec

from corten.engine.container_network import DEFAULT, PREDEFINED, endpoint_request, joins_bridge, requested_ports
from corten.engine.database import Database, Table
from corten.engine.means import NO_BRIDGES
from corten.engine.model import Container
from corten.engine.names import new_id
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
from corten.network.bridge import BridgeNetwork, BridgeSettings
from corten.network.endpoint import Endpoint
from corten.network.firewall import Firewall
from corten.network.pool import DEFAULT_POOLS, Pool, first_free
from corten.network.ports import HeldPorts

Filters = Mapping[str, Sequence[str]]
_BRIDGE_NAME_OPTION, _MTU_OPTION = "com.docker.network.bridge.name", "com.docker.network.driver.mtu"


class Networks:
    """The networks of one engine.

    A container's place is taken by :meth:`attach` before its plan is made, its ports are opened by
    :meth:`publish` before it starts, and both end with :meth:`release`. Its record keeps the endpoint
    (``Endpoint.encode()``), from which :meth:`start` rebuilds what was lost with an earlier engine.
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
    ) -> None:
        """``bridge`` names the default network's interface, ``table`` the firewall table; ``name_of`` tells a
        container's name from its ID; without ``privileged`` there are only host and none."""
        self._table = Table(database, "networks")
        self._pools = pools
        self._name_of = name_of
        self._privileged = privileged
        self._bridge = bridge
        self._firewall = Firewall(table)
        self._ports = HeldPorts()
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
            self._settle_subnets()
            notices = self._adopt()
            for bridge in self._bridges.values():
                bridge.ensure()
            self._firewall.set_networks(bridge.settings.inside for bridge in self._bridges.values())
            if host.set_switch("net/ipv4/ip_forward", "1"):
                notices.append("net.ipv4.ip_forward was 0 and is 1 now: this host forwards between its interfaces")
        self._ready = True
        return notices

    def _adopt(self) -> list[str]:
        notices: list[str] = []
        while self._adopting:
            endpoint = self._adopting.pop()
            if (network := self._bridges.get(endpoint.network_id)) is not None:
                notices += network.adopt(endpoint)
        return notices

    def _settle_subnets(self) -> None:
        """Give each bridge network its subnet: the one it had, unless it is the default one, has no
        containers, and the host has meanwhile a route of its own there."""
        for network in [network for network in self._networks.values() if network.driver == "bridge"]:
            if network.id in self._bridges:
                continue
            interface = self._interface(network)
            config = network.ipam.config[0] if network.ipam.config else None
            movable = network.name == DEFAULT and not any(
                endpoint.network_id == network.id for endpoint in self._adopting
            )
            if config is None or (movable and self._overlaps(config, interface)):
                config = self._free_subnet(interface)
                network = self._put(msgspec.structs.replace(network, ipam=Ipam(config=[config])))
            self._bridges[network.id] = BridgeNetwork(
                self._settings(network, config, interface), self._firewall, self._ports
            )

    def _overlaps(self, config: IpamConfig, interface: str) -> bool:
        subnet = IPv4Network(config.subnet)
        return any(subnet.overlaps(other) for other in host.taken_networks(interface))

    def _free_subnet(self, interface: str) -> IpamConfig:
        """The first subnet of the pools that no route and no other network has. Raises Conflict."""
        configs = [config for network in self._networks.values() for config in network.ipam.config]
        own = [IPv4Network(config.subnet) for config in configs if config.subnet]
        subnet = first_free(self._pools, [*host.taken_networks(interface), *own])
        return IpamConfig(str(subnet), str(subnet.network_address + 1))

    def _settings(self, network: Network, config: IpamConfig, interface: str) -> BridgeSettings:
        return BridgeSettings(
            name=network.name,
            network_id=network.id,
            bridge=interface,
            subnet=IPv4Network(config.subnet),
            gateway=IPv4Address(config.gateway),
            mtu=int(network.options.get(_MTU_OPTION, "0")) or host.outward_mtu(),
            internal=network.internal,
        )

    def _interface(self, network: Network) -> str:
        """The bridge's interface, Docker's ``br-`` and twelve digits of the ID unless an option names it."""
        default = self._bridge if network.name == DEFAULT else f"br-{network.id[:12]}"
        return network.options.get(_BRIDGE_NAME_OPTION, default)

    def close(self) -> None:
        """Let the ports and the socket go; bridges and table stay for the containers that run on."""
        self._ports.close()
        self._firewall.close()

    def remove_from_host(self) -> None:
        """Delete every bridge and the table: for an engine that leaves with nothing running."""
        for bridge in self._bridges.values():
            bridge.remove()
        if self._privileged:
            self._firewall.remove()
        self._ready = False

    # What users ask.

    def list(self, filters: Filters | None = None) -> list[Network]:
        """All networks that pass (name, id, driver, scope, type, label, dangling), by name."""
        chosen = [network for network in self._networks.values() if self._passes(network, filters or {})]
        return sorted(chosen, key=lambda network: network.name)

    def get(self, ref: str) -> Network:
        """By name, ID or a unique prefix of an ID. Raises NotFound, InvalidInput."""
        name = DEFAULT if ref == "default" else ref
        for network in self._networks.values():
            if name in (network.id, network.name):
                return network
        found = [network for id, network in self._networks.items() if ref and id.startswith(ref)]
        if len(found) > 1:
            raise InvalidInput(f"network {ref} is ambiguous ({len(found)} matches found on ID prefix)")
        if not found:
            raise NotFound(f"network {ref} not found")
        return found[0]

    def inspect(self, ref: str) -> NetworkInspect:
        """A network and its running containers. Raises as :meth:`get`."""
        network = self.get(ref)
        fields = {name: getattr(network, name) for name in Network.__struct_fields__}
        containers = {endpoint.container_id: self._resource(endpoint) for endpoint in self._endpoints(network)}
        return NetworkInspect(**fields, containers=containers)

    def allocations(self, network: Network) -> Sequence[tuple[str, int, int]]:
        """Of each subnet: its addresses in use (its own, the broadcast's and the gateway's among them), and those
        that may be given out yet."""
        taken = len(self._endpoints(network))
        found = []
        for config in network.ipam.config:
            subnet = IPv4Network(config.subnet)
            used = taken + min(subnet.num_addresses, 2) + (1 if config.gateway else 0)
            dynamic = IPv4Network(config.ip_range).num_addresses if config.ip_range else subnet.num_addresses - used
            found.append((config.subnet, used, max(0, dynamic)))
        return found

    def _resource(self, endpoint: Endpoint) -> EndpointResource:
        name = self._name_of(endpoint.container_id)
        return EndpointResource(name, endpoint.endpoint_id, endpoint.mac, f"{endpoint.ip}/{endpoint.prefix}")

    def create(self, request: NetworkCreate) -> Network:
        """Make a bridge network. Raises Conflict, InvalidInput, Unsupported, CortenError; nothing is left
        then."""
        self._check_new(request)
        network = Network(
            name=request.name,
            id=new_id(),
            created=_now(),
            driver="bridge",
            internal=request.internal,
            attachable=request.attachable,
            options=request.options or {},
            labels=request.labels or {},
        )
        interface = self._interface(network)
        self._require_bridges()
        with host.exclusive():
            config = self._chosen_subnet(request, interface)
            ipam = request.ipam or Ipam()
            network = msgspec.structs.replace(network, ipam=msgspec.structs.replace(ipam, config=[config]))
            bridge = BridgeNetwork(self._settings(network, config, interface), self._firewall, self._ports)
            self._open(bridge)
        self._bridges[network.id] = bridge
        return self._put(network)

    def _open(self, bridge: BridgeNetwork) -> None:
        """Make a bridge and the walls around it, or neither."""
        others = [other.settings.inside for other in self._bridges.values()]
        try:
            self._firewall.set_networks([*others, bridge.settings.inside])
            bridge.ensure()
        except CortenError:
            self._firewall.set_networks(others)
            bridge.remove()
            raise

    def _check_new(self, request: NetworkCreate) -> None:
        if not request.name or not request.name[0].isalnum():
            raise InvalidInput(f"invalid network name: {request.name!r}")
        if any(request.name == network.name for network in self._networks.values()) or request.name == "default":
            raise Conflict(f"network with name {request.name} already exists")
        if (request.driver or "bridge") != "bridge":
            raise Unsupported(f"create network {request.name}: driver {request.driver!r} is not supported, only bridge")
        if request.enable_ipv6:
            raise Unsupported(f"create network {request.name}: IPv6 is not supported on a bridge network")
        name = (request.options or {}).get(_BRIDGE_NAME_OPTION, "")
        if len(name) > 15 or "/" in name:
            raise InvalidInput(f"create network {request.name}: invalid interface name {name!r}")

    def _chosen_subnet(self, request: NetworkCreate, interface: str) -> IpamConfig:
        asked = request.ipam.config[0] if request.ipam and request.ipam.config else IpamConfig()
        if not asked.subnet:
            return self._free_subnet(interface)
        try:
            subnet = IPv4Network(asked.subnet)
            gateway = IPv4Address(asked.gateway) if asked.gateway else subnet.network_address + 1
        except ValueError as error:
            raise InvalidInput(f"create network {request.name}: {error}") from None
        if gateway not in subnet or not 8 <= subnet.prefixlen <= 30:
            raise InvalidInput(f"create network {request.name}: invalid subnet {subnet} or gateway {gateway}")
        if self._overlaps(asked, interface):
            raise AccessDenied("invalid pool request: Pool overlaps with other one on this address space")
        return IpamConfig(str(subnet), str(gateway))

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
            self._firewall.set_networks(other.settings.inside for other in self._bridges.values())
        del self._networks[network.id]
        self._table.delete(network.id)
        return network

    def prune(self, in_use: Iterable[str], filters: Filters | None = None) -> Sequence[Network]:
        """Delete every user's network that no container names in ``in_use`` (names and IDs); those
        deleted."""
        used = {self._id_of(ref) for ref in in_use}
        unused = [network for network in self.list(filters) if network.id not in used and not self._endpoints(network)]
        return [self.remove(network.id) for network in unused if network.name not in PREDEFINED]

    def _id_of(self, ref: str) -> str:
        try:
            return self.get(ref).id
        except (NotFound, InvalidInput):  # a container may name a network that is gone
            return ""

    def _passes(self, network: Network, filters: Filters) -> bool:
        facts: dict[str, Callable[[str], bool]] = {
            "id": lambda value: network.id.startswith(value),
            "name": lambda value: value in network.name,
            "driver": lambda value: value == network.driver,
            "scope": lambda value: value == network.scope,
            "type": lambda value: value == ("builtin" if network.name in PREDEFINED else "custom"),
            "label": lambda value: _has_label(network, value),
            "dangling": lambda value: (value in ("1", "true")) != bool(self._endpoints(network)),
        }
        if unknown := set(filters) - set(facts):
            raise InvalidInput(f"invalid filter '{min(unknown)}'")
        return all(
            (all if name == "label" else any)(facts[name](value) for value in values)
            for name, values in filters.items()
        )

    def _endpoints(self, network: Network) -> Sequence[Endpoint]:
        bridge = self._bridges.get(network.id)
        return list(bridge.endpoints.values()) if bridge else []

    def _put(self, network: Network) -> Network:
        self._networks[network.id] = network
        self._table.put(network.id, network, durable=True)
        return network

    # What a container needs.

    def attach(self, container: Container) -> Endpoint | None:
        """Take a place in the container's network; the one it has, when it has one. None when its network is
        the host's, another container's, or none.

        Raises NotFound (the network), Conflict (the address), InvalidInput, Unsupported (no bridges here).
        """
        if not joins_bridge(container.host):
            return None
        network = self.get(container.host.network_mode or DEFAULT)
        self._require_bridges()
        bridge = self._bridges[network.id]
        if (present := bridge.endpoints.get(container.id)) is not None:
            return present
        request = endpoint_request(container, network)
        address = str((request.ipam_config or {}).get("IPv4Address") or "")
        if address and network.name == DEFAULT:
            raise InvalidInput("user specified IP address is supported on user defined networks only")
        mac = request.mac_address or container.config.mac_address or ""
        return bridge.attach(container.id, ip=address, mac=mac)

    def publish(self, container: Container, endpoint: Endpoint) -> Endpoint:
        """Open the container's ports; the endpoint with its bindings. Raises Conflict (a port in use),
        InvalidInput, Unsupported, CortenError; no port is open then."""
        if endpoint.ports:
            return endpoint
        requests = requested_ports(container.host, container.config)
        return self._bridges[endpoint.network_id].publish(endpoint, requests, name=container.name)

    def release(self, container_id: str) -> None:
        """Close the container's ports and give its address back; nothing when it has no place."""
        for bridge in self._bridges.values():
            bridge.release(container_id)

    @property
    def host_gateway(self) -> str:
        """The default bridge's address, by which every container reaches the host; empty where there is
        none."""
        configs = self.get(DEFAULT).ipam.config
        return configs[0].gateway if configs else ""

    def name_of(self, container: Container) -> str:
        """The name of the network that a container's record asks for; what it says, when that is gone."""
        ref = container.host.network_mode or DEFAULT
        id = self._id_of(ref)
        return self._networks[id].name if id else ref

    def _require_bridges(self) -> None:
        """Raises Unsupported or CortenError when this machine has no bridge networks."""
        if not self._privileged:
            raise Unsupported(
                "use a bridge network: bridge networks need root",
                hint=NO_BRIDGES,
            )
        if not self._ready:
            self._prepare()


def _has_label(network: Network, wanted: str) -> bool:
    key, equals, value = wanted.partition("=")
    return key in network.labels and (not equals or network.labels[key] == value)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds").replace("+00:00", "000Z")
