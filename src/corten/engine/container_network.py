"""A container's side of its network: pure answers from its record and its endpoint."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from corten.engine.model import (
    Container,
    ContainerConfig,
    EndpointIpam,
    EndpointRequest,
    HostConfig,
    NetworkingConfig,
    PortBinding,
)
from corten.engine.network_model import EndpointSettings, Network, NetworkSettings
from corten.errors import InvalidInput, Unsupported
from corten.network import endpoint as places
from corten.network import files
from corten.network.bridge import Wish, is_mac
from corten.network.endpoint import LOOPBACK_ONLY, Endpoint
from corten.network.ports import PortRequest, container_port, port_requests
from corten.spec.operation import Operation

DEFAULT = "bridge"
"""The network that a container joins when it names none."""
PREDEFINED = {DEFAULT: "bridge", "host": "host", "none": "null"}
"""The networks that are always there, with their drivers."""


_DOCKERS = "com.docker.network."
"""What drivers that Docker has itself are told; a name of anybody else's is for a driver of theirs."""
_IFNAME, _SYSCTLS = "com.docker.network.endpoint.ifname", "com.docker.network.endpoint.sysctls"
_SYSCTL = re.compile(r"net\.(ipv4|ipv6|mpls)\.([a-z_]+)\.(?:IFNAME|ifname)\.([a-z0-9_]+)=([^\s,]+)")
_INTERFACE = re.compile(r"[^\s/:]{1,15}")


_NOTHING, _NO_ADDRESSES, _NO_WISH = EndpointRequest(), EndpointIpam(), Wish()


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


def port_map(config: ContainerConfig, endpoints: Sequence[Endpoint]) -> dict[str, list[PortBinding] | None]:
    """Docker's port map: the published ports with their places, exposed ones that are not published with
    None."""
    ports: dict[str, list[PortBinding] | None] = dict.fromkeys(config.exposed_ports or {})
    for endpoint in endpoints:
        for binding in endpoint.ports:
            key = f"{binding.container_port}/{binding.protocol}"
            ports[key] = [*(ports.get(key) or []), PortBinding(binding.host_ip, str(binding.host_port))]
    return ports


def settled_networking(
    host: HostConfig, asked: NetworkingConfig, name_of: Callable[[str], str] = str
) -> NetworkingConfig:
    """The networks that a new container is to join by their names, its network mode's first. As for dockerd, what is
    listed is all; nothing listed is the mode's own."""
    if _shares(host):
        return NetworkingConfig()
    mode = name_of(_mode(host))
    listed = {
        name_of(DEFAULT if ref == "default" else ref): one or EndpointRequest()
        for ref, one in (asked.endpoints_config or {}).items()
    }
    first = {mode: listed.pop(mode, EndpointRequest())} if mode in listed or not listed else {}
    return NetworkingConfig({**first, **listed})


def joined(container: Container) -> Mapping[str, EndpointRequest]:
    """The networks that a container is in, or will be when it starts, as it names them, with what it asks of each."""
    if _shares(container.host):
        return {}
    listed = container.networking.endpoints_config
    if listed is None:
        return {_mode(container.host): EndpointRequest()}
    return {name: one or EndpointRequest() for name, one in listed.items()}


def sole_network(host: HostConfig, asked: NetworkingConfig) -> str:
    """The one network that a container to be asks for, by the name that it uses; '' for none, several, or what is not
    its own."""
    listed = asked.endpoints_config or {_mode(host): None}
    return next(iter(listed)) if len(listed) == 1 and joins_bridge(host) else ""


def with_network(container: Container, name: str, request: EndpointRequest | None) -> NetworkingConfig:
    """A container's networks with one more; with None, without it."""
    others = {ref: one for ref, one in joined(container).items() if ref != name}
    return NetworkingConfig({**others, name: request} if request is not None else {**others})


def _shares(host: HostConfig) -> bool:
    return host.network_mode.startswith(("container:", "ns:"))


def _mode(host: HostConfig) -> str:
    return DEFAULT if host.network_mode in ("", "default") else host.network_mode


def wish(container: Container, network: Network, request: EndpointRequest) -> Wish:
    """What a container asks of its place in a network. Raises InvalidInput in dockerd's words, Unsupported for options
    that are not known."""
    if request == _NOTHING and not container.config.mac_address:
        return _NO_WISH
    ipam = request.ipam_config or _NO_ADDRESSES
    check_endpoint(network.name, request)
    is_own = _mode(container.host) in (network.name, network.id)
    mac = request.mac_address or (container.config.mac_address if is_own else "") or ""
    options = request.driver_opts or {}
    return Wish(
        ip=ipam.ipv4_address,
        ip6=ipam.ipv6_address,
        mac=mac,
        interface=options.get(_IFNAME, ""),
        priority=request.gw_priority,
        link_local=_link_local(ipam),
        switches=tuple(_switches(options.get(_SYSCTLS, ""))),
    )


def own_mac(container: Container) -> str:
    """The MAC address that was asked for in the network of a container's mode; '' for none."""
    place = joined(container).get(_mode(container.host))
    return (place.mac_address if place else "") or container.config.mac_address or ""


def check_endpoint(network: str, request: EndpointRequest) -> None:
    """Raises InvalidInput for what no place in a network can have, Unsupported for what Corten has none of."""
    ipam = request.ipam_config or _NO_ADDRESSES
    problems = []
    if network in PREDEFINED:
        if ipam.ipv4_address or ipam.ipv6_address:
            problems.append("user specified IP address is supported on user defined networks only")
        if request.aliases:
            problems.append("network-scoped alias is supported only for containers in user defined networks")
    for version, text in ((4, ipam.ipv4_address), (6, ipam.ipv6_address)):
        if text and not files.is_address(text, version):
            problems.append(f"invalid IPv{version} address: {text}")
    problems += [f"invalid link-local IP address: {one}" for one in _link_local(ipam) if not files.is_link_local(one)]
    if not is_mac(request.mac_address):
        problems.append(f"invalid MAC address: {request.mac_address}")
    if problems:
        raise InvalidInput("\n".join(["invalid endpoint settings:", *problems]))
    _check_driver_options(request.driver_opts or {})


def _link_local(ipam: EndpointIpam) -> tuple[str, ...]:
    return tuple(dict.fromkeys(ipam.link_local_ips or ()))


def without_effect(container: Container) -> Iterator[str]:
    """Warnings of driver options that are nobody's: dockerd keeps them, and so do their users."""
    for name, request in joined(container).items():
        if strays := sorted(option for option in request.driver_opts or {} if not option.startswith(_DOCKERS)):
            yield f"driver options without effect on network {name}: {', '.join(strays)}"


def _check_driver_options(options: Mapping[str, str]) -> None:
    if unknown := {option for option in options if option.startswith(_DOCKERS)} - {_IFNAME, _SYSCTLS}:
        raise Unsupported(f"use driver options {', '.join(sorted(unknown))} on a network: not supported")
    if (name := options.get(_IFNAME)) is not None and not (_INTERFACE.fullmatch(name) and name not in (".", "..")):
        raise InvalidInput(f"invalid endpoint settings:\ninvalid interface name {name!r}")
    list(_switches(options.get(_SYSCTLS, "")))


def _switches(text: str) -> Iterator[tuple[str, str]]:
    """(path below /proc/sys/net, value) of ``net.ipv4.conf.IFNAME.log_martians=1,…``."""
    for one in filter(None, text.split(",")):
        match = _SYSCTL.fullmatch(one)
        if match is None:
            raise InvalidInput(
                f"invalid endpoint settings:\nunrecognised network interface sysctl '{one}'; represent "
                "'net.X.Y.ethN.Z=V' as 'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'"
            )
        family, kind, name, value = match.groups()
        yield f"{family}/{kind}/IFNAME/{name}", value


def endpoint_settings(container: Container, endpoint: Endpoint) -> EndpointSettings:
    """A running container's place in a network, in the API's form."""
    network = Network(endpoint.network, endpoint.network_id, "", endpoint.driver)
    return EndpointSettings.asked(
        endpoint_request(container, network),
        network_id=endpoint.network_id,
        endpoint_id=endpoint.endpoint_id,
        gateway=endpoint.gateway,
        ip_address=endpoint.ip,
        ip_prefix_len=endpoint.prefix,
        mac_address=endpoint.mac,
        ipv6_gateway=endpoint.gateway6,
        global_ipv6_address=endpoint.ip6,
        global_ipv6_prefix_len=endpoint.prefix6 if endpoint.ip6 else 0,
        dns_names=list(dns_names(container, network)) or None,
    )


def endpoint_request(container: Container, network: Network) -> EndpointRequest:
    """What the user asked of one network, by its name or ID."""
    asked = joined(container)
    return asked.get(network.name) or asked.get(network.id) or EndpointRequest()


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


def operations(container: Container, endpoints: Sequence[Endpoint]) -> tuple[Operation, ...]:
    """The steps of the container's plan that make its network."""
    if endpoints:
        return places.operations(endpoints)
    mode = container.host.network_mode
    return () if mode == "host" or _shares(container.host) else LOOPBACK_ONLY


def network_settings(
    container: Container, networks: Mapping[str, EndpointRequest], endpoints: Sequence[Endpoint]
) -> NetworkSettings:
    """``NetworkSettings`` of the container's inspect. ``networks`` are its networks by name, ``endpoints`` its places
    there while it runs."""
    settings = {name: EndpointSettings.asked(request) for name, request in networks.items()}
    if not endpoints:
        return NetworkSettings(networks=settings)
    settings |= {endpoint.network: endpoint_settings(container, endpoint) for endpoint in endpoints}
    top = next((settings[one.network] for one in endpoints if one.network == DEFAULT), EndpointSettings())
    return NetworkSettings(
        sandbox_id=endpoints[0].endpoint_id,
        sandbox_key=f"/proc/{container.state.pid}/ns/net",
        ports=port_map(container.config, endpoints),
        endpoint_id=top.endpoint_id,
        gateway=top.gateway,
        ip_address=top.ip_address,
        ip_prefix_len=top.ip_prefix_len,
        mac_address=top.mac_address,
        ipv6_gateway=top.ipv6_gateway,
        global_ipv6_address=top.global_ipv6_address,
        global_ipv6_prefix_len=top.global_ipv6_prefix_len,
        networks=settings,
    )


def decoded_endpoints(container: Container, *, ports: bool = True) -> tuple[Endpoint, ...]:
    """The places that a container has while it runs, as its record keeps them; without their ``ports``, of which there
    may be thousands, for who asks only where it is."""
    return tuple(Endpoint.decode(value if ports else {**value, "ports": ()}) for value in container.endpoints)


def hosts_file(
    container: Container, endpoints: Sequence[Endpoint], host_gateway: str, linked: Sequence[str] = ()
) -> str:
    """The text of the container's /etc/hosts. ``linked`` are lines of the containers that it links to. Raises
    InvalidInput for a malformed --add-host."""
    extra = container.host.extra_hosts or ()
    if container.host.network_mode == "host":
        return files.hosts_file_of_host(_read("/etc/hosts"), extra=extra, gateway=host_gateway)
    text = files.hosts_file(extra=extra, gateway=host_gateway)
    return "".join((text, *linked, *(own_lines(container, one) for one in endpoints)))


def own_lines(container: Container, endpoint: Endpoint) -> str:
    """The lines of the container's /etc/hosts that are one place's."""
    names = {"hostname": container.config.hostname, "domainname": container.config.domainname}
    return "".join(files.own_entry(address, **names) for address in (endpoint.ip, endpoint.ip6))


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
