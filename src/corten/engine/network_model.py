"""The values of networks, as the Docker Engine API shapes them and the engine records them."""

from __future__ import annotations

from msgspec import field

from corten.engine.model import EndpointIpam, EndpointRequest, PortBinding, Strings, Value


class IpamConfig(Value, frozen=True, omit_defaults=True):
    """One subnet of a network."""

    subnet: str = ""
    gateway: str = ""
    ip_range: str = field(default="", name="IPRange")
    auxiliary_addresses: Strings | None = None


class Ipam(Value, frozen=True):
    """How a network's addresses are given out."""

    driver: str = "default"
    options: Strings | None = None
    config: list[IpamConfig] = field(default_factory=list)


class ConfigReference(Value, frozen=True):
    """The network that another takes its configuration from: never used here."""

    network: str = ""


class Network(Value, frozen=True):
    """A network, as ``docker network ls`` has it."""

    name: str
    id: str
    created: str
    driver: str
    scope: str = "local"
    enable_ipv4: bool = field(default=True, name="EnableIPv4")
    enable_ipv6: bool = field(default=False, name="EnableIPv6")
    ipam: Ipam = field(default=Ipam(), name="IPAM")
    internal: bool = False
    attachable: bool = False
    ingress: bool = False
    config_from: ConfigReference = ConfigReference()
    config_only: bool = False
    options: Strings = field(default_factory=dict)
    labels: Strings = field(default_factory=dict)


class EndpointResource(Value, frozen=True):
    """One container of a network."""

    name: str
    endpoint_id: str = field(name="EndpointID")
    mac_address: str
    ipv4_address: str = field(name="IPv4Address")
    ipv6_address: str = field(default="", name="IPv6Address")


class NetworkInspect(Network, frozen=True):
    """A network and the running containers in it, by ID."""

    containers: dict[str, EndpointResource] = field(default_factory=dict)


class NetworkCreate(Value, frozen=True):
    """The body of ``POST /networks/create``."""

    name: str
    driver: str = "bridge"
    scope: str = ""
    internal: bool = False
    attachable: bool = False
    ingress: bool = False
    config_only: bool = False
    config_from: ConfigReference | None = None
    check_duplicate: bool | None = None
    """Before API 1.44: whether another network of the same name is an error."""
    enable_ipv4: bool | None = field(default=None, name="EnableIPv4")
    enable_ipv6: bool | None = field(default=None, name="EnableIPv6")
    ipam: Ipam | None = field(default=None, name="IPAM")
    options: Strings | None = None
    labels: Strings | None = None


class NetworkConnect(Value, frozen=True):
    """The body of ``POST /networks/{id}/connect``."""

    container: str = ""
    endpoint_config: EndpointRequest | None = None


class NetworkDisconnect(Value, frozen=True):
    """The body of ``POST /networks/{id}/disconnect``."""

    container: str = ""
    force: bool = False


class EndpointSettings(Value, frozen=True):
    """A container's place in one network, as its inspect has it; empty strings while it does not run."""

    ipam_config: EndpointIpam | None = field(default=None, name="IPAMConfig")
    links: list[str] | None = None
    aliases: list[str] | None = None
    driver_opts: Strings | None = None
    gw_priority: int = 0
    network_id: str = field(default="", name="NetworkID")
    endpoint_id: str = field(default="", name="EndpointID")
    gateway: str = ""
    ip_address: str = field(default="", name="IPAddress")
    mac_address: str = ""
    ip_prefix_len: int = field(default=0, name="IPPrefixLen")
    ipv6_gateway: str = field(default="", name="IPv6Gateway")
    global_ipv6_address: str = field(default="", name="GlobalIPv6Address")
    global_ipv6_prefix_len: int = field(default=0, name="GlobalIPv6PrefixLen")
    dns_names: list[str] | None = field(default=None, name="DNSNames")

    @classmethod
    def asked(cls, request: EndpointRequest | None, **fields: object) -> EndpointSettings:
        """With what the user asked for, and the rest as given."""
        request = request or EndpointRequest()
        asked = ("ipam_config", "links", "aliases", "driver_opts", "mac_address")
        kept = {name: getattr(request, name) for name in asked}
        return cls(**{**kept, "gw_priority": request.gw_priority, **fields})


class NetworkSettings(Value, frozen=True):
    """``NetworkSettings`` of a container's inspect. The address fields at this level are those of the default
    bridge: the API dropped them in 1.52, clients and courses still read them."""

    bridge: str = ""
    sandbox_id: str = field(default="", name="SandboxID")
    sandbox_key: str = ""
    ports: dict[str, list[PortBinding] | None] = field(default_factory=dict)
    endpoint_id: str = field(default="", name="EndpointID")
    gateway: str = ""
    ip_address: str = field(default="", name="IPAddress")
    ip_prefix_len: int = field(default=0, name="IPPrefixLen")
    mac_address: str = ""
    ipv6_gateway: str = field(default="", name="IPv6Gateway")
    global_ipv6_address: str = field(default="", name="GlobalIPv6Address")
    global_ipv6_prefix_len: int = field(default=0, name="GlobalIPv6PrefixLen")
    networks: dict[str, EndpointSettings] = field(default_factory=dict)
