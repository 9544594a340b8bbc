"""A container's side of its network: pure answers from its record and its endpoint."""

from __future__ import annotations

from collections.abc import Sequence

from corten.engine.model import Container, ContainerConfig, EndpointRequest, HostConfig, PortBinding
from corten.engine.network_model import EndpointSettings, Network, NetworkSettings
from corten.network import files
from corten.network.endpoint import LOOPBACK_ONLY, Endpoint
from corten.network.ports import PortRequest, container_port, port_requests
from corten.spec.operation import Operation

DEFAULT = "bridge"
"""The network that a container joins when it names none."""
PREDEFINED = {DEFAULT: "bridge", "host": "host", "none": "null"}
"""The networks that are always there, with their drivers."""


def joins_bridge(host_config: HostConfig) -> bool:
    """Whether a container has a place in a bridge network."""
    mode = host_config.network_mode
    return mode not in ("host", "none") and not mode.startswith(("container:", "ns:"))


def requested_ports(host_config: HostConfig, config: ContainerConfig) -> Sequence[PortRequest]:
    """The ports to publish: -p, and with -P every exposed one that -p leaves out. Raises InvalidInput,
    Unsupported."""
    asked = {
        target: [(binding.host_ip or "", binding.host_port or "") for binding in bindings or [PortBinding()]]
        for target, bindings in (host_config.port_bindings or {}).items()
    }
    if host_config.publish_all_ports:
        published = {container_port(target) for target in asked}
        exposed = [port for port in config.exposed_ports or {} if container_port(port) not in published]
        asked.update((port, [("", "")]) for port in exposed)
    return port_requests(asked)


def port_map(config: ContainerConfig, endpoint: Endpoint) -> dict[str, list[PortBinding] | None]:
    """Docker's port map: the published ports with their places, exposed ones that are not published with
    None."""
    ports: dict[str, list[PortBinding] | None] = dict.fromkeys(config.exposed_ports or {})
    for binding in endpoint.ports:
        key = f"{binding.container_port}/{binding.protocol}"
        ports[key] = [*(ports.get(key) or []), PortBinding(binding.host_ip, str(binding.host_port))]
    return ports


def endpoint_settings(container: Container, endpoint: Endpoint) -> EndpointSettings:
    """A running container's place in its network, in the API's form."""
    return EndpointSettings.asked(
        _request(container, endpoint.network),
        network_id=endpoint.network_id,
        endpoint_id=endpoint.endpoint_id,
        gateway=endpoint.gateway,
        ip_address=endpoint.ip,
        ip_prefix_len=endpoint.prefix,
        mac_address=endpoint.mac,
    )


def endpoint_request(container: Container, network: Network) -> EndpointRequest:
    """What the user asked of one network, by its name or ID."""
    return _request(container, network.name) or _request(container, network.id) or EndpointRequest()


def dns_names(container: Container, network: Network) -> tuple[str, ...]:
    """The names by which the others of a network know a container, its own first: name, aliases, short ID, host
    name. None on the default bridge, whose containers know each other by links only."""
    if network.name in PREDEFINED:
        return ()
    aliases = endpoint_request(container, network).aliases or ()
    names = (container.name, *aliases, container.id[:12], container.config.hostname)
    return tuple(dict.fromkeys(name for name in names if name))


def links(container: Container, network: Network) -> tuple[tuple[str, str], ...]:
    """The links of a container in one network, as (name or ID of the other container, the name that it has for this
    one alone): those of ``--link`` are the default bridge's, or of the network that the container was created in."""
    asked = list(endpoint_request(container, network).links or ())
    mode = container.host.network_mode
    if network.name in (mode, DEFAULT if mode in ("", "default") else mode):
        asked += container.host.links or ()
    return tuple(dict.fromkeys(parsed_link(text) for text in asked))


def parsed_link(text: str) -> tuple[str, str]:
    """``name:alias`` or ``name`` of --link, or ``/name:/container/alias`` as dockerd's inspect has it."""
    name, _, alias = text.partition(":")
    name = name.removeprefix("/")
    return name, alias.rpartition("/")[2] or name


def _request(container: Container, name: str) -> EndpointRequest | None:
    asked = container.networking.endpoints_config or {}
    return asked.get(name) or (asked.get("default") if name == DEFAULT else None)


def decoded_endpoints(container: Container) -> tuple[Endpoint, ...]:
    """The places that a container has while it runs, as its record keeps them."""
    return (Endpoint.decode(container.endpoint),) if container.endpoint else ()


def operations(container: Container, endpoint: Endpoint | None) -> tuple[Operation, ...]:
    """The steps of the container's plan that make its network."""
    if endpoint is not None:
        return endpoint.operations
    return LOOPBACK_ONLY if container.host.network_mode == "none" else ()


def network_settings(container: Container, network: str, endpoint: Endpoint | None) -> NetworkSettings:
    """``NetworkSettings`` of the container's inspect. ``network`` is the name of its network, ``endpoint``
    its place there while it runs."""
    if container.host.network_mode.startswith("container:"):
        return NetworkSettings()
    if endpoint is None:
        return NetworkSettings(networks={network: EndpointSettings.asked(_request(container, network))})
    own = endpoint_settings(container, endpoint)
    top = own if endpoint.network == DEFAULT else EndpointSettings()
    return NetworkSettings(
        sandbox_id=endpoint.endpoint_id,
        sandbox_key=f"/proc/{container.state.pid}/ns/net",
        ports=port_map(container.config, endpoint),
        endpoint_id=top.endpoint_id,
        gateway=top.gateway,
        ip_address=top.ip_address,
        ip_prefix_len=top.ip_prefix_len,
        mac_address=top.mac_address,
        networks={endpoint.network: own},
    )


def hosts_file(container: Container, endpoint: Endpoint | None, host_gateway: str) -> str:
    """The text of the container's /etc/hosts. Raises InvalidInput for a malformed --add-host."""
    extra = container.host.extra_hosts or ()
    if container.host.network_mode == "host":
        return files.hosts_file_of_host(_read("/etc/hosts"), extra=extra, gateway=host_gateway)
    return files.hosts_file(
        hostname=container.config.hostname,
        domainname=container.config.domainname,
        ip=endpoint.ip if endpoint else "",
        extra=extra,
        gateway=host_gateway,
    )


def resolver_options(container: Container) -> list[str]:
    """The options of the container's resolv.conf, of which the resolver has to know: its own, or the host's."""
    return container.host.dns_options or files.options(_read("/etc/resolv.conf"))


def resolv_conf(container: Container, *, resolver: bool = False) -> str:
    """The text of the container's /etc/resolv.conf; with ``resolver`` names are asked of the engine's own."""
    asked = container.host
    if resolver:
        return files.resolv_conf_of_resolver(
            _read("/etc/resolv.conf"), search=asked.dns_search or (), options=asked.dns_options or ()
        )
    own = asked.network_mode != "host"
    text = _read("/etc/resolv.conf")
    if own and files.resolver_is_stub(text):
        text = _read(files.RESOLVED_FILE)
    return files.resolv_conf(
        text,
        servers=asked.dns or (),
        search=asked.dns_search or (),
        options=asked.dns_options or (),
        own_namespace=own,
    )


def _read(path: str) -> str:
    """A file of the host's; empty when it has none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""
