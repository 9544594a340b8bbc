"""From the request for a network to what it is made of: drivers, options and subnets, checked. Pure answers.

The sentences are dockerd's where it has one, for tools that look for them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from corten.engine.container_network import PREDEFINED
from corten.engine.network_model import IpamConfig, Network, NetworkCreate
from corten.errors import AccessDenied, CortenError, InvalidInput, NotFound, Unsupported
from corten.network.bridge import BridgeSettings
from corten.network.pool import Address, Subnet

LINK_DRIVERS = {"macvlan": "bridge", "ipvlan": "l2"}
"""Drivers without a bridge, and their usual modes."""
BRIDGE_NAME, MTU = "com.docker.network.bridge.name", "com.docker.network.driver.mtu"
PARENT = "parent"
_OF_DOCKER = "com.docker.network."
_BRIDGE = f"{_OF_DOCKER}bridge."
_ICC, _MASQUERADE = f"{_BRIDGE}enable_icc", f"{_BRIDGE}enable_ip_masquerade"
_HOST_IP, _PREFIX = f"{_BRIDGE}host_binding_ipv4", "com.docker.network.container_iface_prefix"
_MODES = {
    "macvlan": ("private", "vepa", "bridge", "passthru"),
    "ipvlan": ("l2", "l3", "l3s"),
}
_TRUE, _FALSE = ("1", "t", "T", "TRUE", "true", "True"), ("0", "f", "F", "FALSE", "false", "False")
_INTERFACE = re.compile(r"[a-zA-Z][a-zA-Z0-9_.-]{0,14}")
_LONGEST_PREFIX = 10
Option = Callable[[str], object]


def _flag(text: str) -> bool:
    if text not in (*_TRUE, *_FALSE):
        raise ValueError(f"{text!r} is neither true nor false")
    return text in _TRUE


def _number(text: str) -> int:
    number = int(text)
    if not 68 <= number <= 65535:
        raise ValueError(f"{number} is not between 68 and 65535")
    return number


def _name(text: str) -> str:
    if not _INTERFACE.fullmatch(text):
        raise ValueError(f"invalid interface name {text!r}")
    return text


def _interface_prefix(text: str) -> str:
    if len(text) > _LONGEST_PREFIX:
        raise ValueError(f"{text!r} leaves no room for a number")
    return _name(text)


def _only(*allowed: str) -> Option:
    def check(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"{text!r} is not supported, only {', '.join(allowed)}")
        return text

    return check


_COMMON: Mapping[str, Option] = {MTU: _number, _PREFIX: _interface_prefix}
_OPTIONS: Mapping[str, Mapping[str, Option]] = {
    "bridge": {
        **_COMMON,
        BRIDGE_NAME: _name,
        _ICC: _flag,
        _MASQUERADE: _flag,
        _HOST_IP: lambda text: str(IPv4Address(text)),
        f"{_BRIDGE}default_bridge": _flag,
        f"{_BRIDGE}gateway_mode_ipv4": _only("nat"),
        f"{_BRIDGE}gateway_mode_ipv6": _only("nat"),
    },
    "macvlan": {**_COMMON, PARENT: _name, "macvlan_mode": _only(*_MODES["macvlan"])},
    "ipvlan": {**_COMMON, PARENT: _name, "ipvlan_mode": _only(*_MODES["ipvlan"]), "ipvlan_flag": _only("bridge")},
}


def check(request: NetworkCreate) -> str:
    """The driver of a network that can be made. Raises InvalidInput, AccessDenied, NotFound, Unsupported."""
    if request.name in (*PREDEFINED, "default"):
        raise AccessDenied(f"operation is not permitted on predefined {request.name} network ")
    if not request.name or not request.name[0].isalnum() or "/" in request.name:
        raise InvalidInput(f"invalid network name: {request.name!r}")
    configured = request.config_only or (request.config_from is not None and request.config_from.network)
    if configured or request.ingress or request.scope not in ("", "local"):
        raise Unsupported(f"create network {request.name}: networks of a swarm and of configuration are not supported")
    if request.enable_ipv4 is False:
        raise Unsupported(f"create network {request.name}: a network without IPv4 is not supported")
    driver = {"none": "null", "": "bridge"}.get(request.driver, request.driver)
    if driver in ("host", "null"):
        raise AccessDenied(f'only one instance of "{driver}" network is allowed')
    if driver == "overlay":
        raise Unsupported(
            f"create network {request.name}: the driver overlay belongs to a swarm", hint="use the driver bridge"
        )
    if driver not in _OPTIONS:
        raise NotFound(f'plugin "{driver}" not found')
    if request.ipam and request.ipam.driver not in ("", "default"):
        raise NotFound(f'plugin "{request.ipam.driver}" not found')
    _check_options(request.name, driver, request.options or {})
    return driver


def _check_options(name: str, driver: str, options: Mapping[str, str]) -> None:
    known = _OPTIONS[driver]
    for option, value in options.items():
        if option not in known and not option.startswith(_OF_DOCKER):
            continue  # see ``without_effect``
        if option not in known:
            raise InvalidInput(
                f"create network {name}: unknown option {option}", hint=f"{driver} has {', '.join(sorted(known))}"
            )
        try:
            known[option](value)
        except ValueError as error:
            raise InvalidInput(f"create network {name}: option {option}: {error}") from None
    if driver in LINK_DRIVERS and not options.get(PARENT):
        raise InvalidInput(
            f"create network {name}: the driver {driver} needs an interface of the host's",
            hint="give it: -o parent=eth0",
        )


def without_effect(network: Network) -> str:
    """A warning of options that are nobody's: dockerd keeps them, and so do their users."""
    known = _OPTIONS[network.driver]
    names = sorted(option for option in network.options if option not in known)
    return f"options without effect on a network of the driver {network.driver}: {', '.join(names)}" if names else ""


def check_way_out(network: Network, reason: str) -> None:
    """Raises Unsupported when a network is to lead out without a firewall, which there is none of for that reason: it
    would be open to all, for a wall that lets answers in has to know them."""
    if reason and network.driver == "bridge" and not _flag(network.options.get(_MASQUERADE, "true")):
        raise Unsupported(
            f"create network {network.name}: option {_MASQUERADE}: a network with a way out takes a firewall "
            f"({reason})",
            hint="without the option its containers reach this host and each other; macvlan has a way out of its own",
        )


def asked_subnets(request: NetworkCreate) -> dict[int, IpamConfig]:
    """By IP version, the subnet that is asked for; one of version 6 asks for IPv6, where nothing else is said. Raises
    InvalidInput, AccessDenied."""
    found: dict[int, IpamConfig] = {}
    problems = []
    for config in (request.ipam.config if request.ipam else None) or ():
        if config == IpamConfig():
            continue
        try:
            subnet = _subnet(config)
            _check_inside(config, subnet)
        except ValueError as error:
            problems.append(str(error))
            continue
        if subnet.version in found:
            raise AccessDenied(f"{request.driver or 'bridge'} driver does not support multiple subnets")
        found[subnet.version] = config
    if problems:
        raise InvalidInput("\n".join(["invalid network config:", *problems]))
    if 6 in found and request.enable_ipv6 is False:
        raise InvalidInput(
            f"invalid network config:\ninvalid subnet {found[6].subnet}: the network has no IPv6", hint="add --ipv6"
        )
    return found


def _subnet(config: IpamConfig) -> Subnet:
    """Raises ValueError with dockerd's sentence."""
    try:
        subnet = ip_network(config.subnet, strict=False)
    except ValueError:
        raise ValueError(f"invalid subnet {config.subnet}: invalid CIDR block notation") from None
    if str(subnet.network_address) != config.subnet.partition("/")[0]:
        raise ValueError(f"invalid subnet {config.subnet}: it should be {subnet}")
    if subnet.prefixlen > subnet.max_prefixlen - 2 or (subnet.version == 4 and subnet.prefixlen < 8):
        raise ValueError(f"invalid subnet {config.subnet}: it has no room for a network")
    return subnet


def _check_inside(config: IpamConfig, subnet: Subnet) -> None:
    """Raises ValueError for a range or an address that is not the subnet's."""
    if config.ip_range:
        try:
            within = ip_network(config.ip_range, strict=False)
        except ValueError:
            raise ValueError(f"invalid ip-range {config.ip_range}: invalid CIDR block notation") from None
        if within.version != subnet.version:
            raise ValueError(f"invalid ip-range {within}: parent subnet is an IPv{subnet.version} block")
        if within.prefixlen < subnet.prefixlen:
            raise ValueError(f"invalid ip-range {within}: CIDR block is bigger than its parent subnet {subnet}")
        if str(within.network_address) != config.ip_range.partition("/")[0]:
            raise ValueError(f"invalid ip-range {config.ip_range}: it should be {within}")
        if within.network_address not in subnet:
            raise ValueError(f"invalid ip-range {within}: parent subnet {subnet} doesn't contain ip-range")
    own = [("gateway", config.gateway)] if config.gateway else []
    others = [("auxiliary address", one) for one in (config.auxiliary_addresses or {}).values()]
    for kind, text in (*own, *others):
        _check_address(kind, text, subnet)


def _check_address(kind: str, text: str, subnet: Subnet) -> None:
    try:
        address = ip_address(text)
    except ValueError:
        raise ValueError(f"invalid {kind} {text}: invalid address") from None
    if address.version != subnet.version:
        raise ValueError(f"invalid {kind} {address}: parent subnet is an IPv{subnet.version} block")
    edge = (subnet.network_address, subnet.broadcast_address) if subnet.version == 4 else (subnet.network_address,)
    if address not in subnet or address in edge:
        raise ValueError(f"invalid {kind} {address}: parent subnet {subnet} doesn't contain this address")


def settled(config: IpamConfig) -> IpamConfig:
    """With a gateway: the first address of the subnet that is not an auxiliary one."""
    if config.gateway:
        return config
    subnet = ip_network(config.subnet)
    taken = {ip_address(text) for text in (config.auxiliary_addresses or {}).values()}
    gateway = next(address for address in _hosts(subnet) if address not in taken)
    return IpamConfig(config.subnet, str(gateway), config.ip_range, config.auxiliary_addresses)


def _hosts(subnet: Subnet) -> list[Address]:
    return [subnet.network_address + number for number in range(1, min(subnet.num_addresses, 1 << 12))]


def settings(network: Network, interface: str, mtu: int) -> BridgeSettings:
    """What the engine makes of a network's record; ``mtu`` is what it has unless it says otherwise."""
    options = network.options
    by_version = {ip_network(config.subnet).version: config for config in network.ipam.config}
    v4, v6 = by_version[4], by_version.get(6)
    driver = network.driver
    mode = options.get(f"{driver}_mode", LINK_DRIVERS[driver]) if driver in LINK_DRIVERS else ""
    return BridgeSettings(
        name=network.name,
        network_id=network.id,
        bridge=interface,
        subnet=IPv4Network(v4.subnet),
        gateway=IPv4Address(v4.gateway),
        mtu=int(options.get(MTU, "0")) or mtu,
        internal=network.internal,
        subnet6=IPv6Network(v6.subnet) if v6 else None,
        gateway6=IPv6Address(v6.gateway) if v6 else None,
        range=IPv4Network(v4.ip_range) if v4.ip_range else None,
        range6=IPv6Network(v6.ip_range) if v6 and v6.ip_range else None,
        reserved=tuple(
            address for config in network.ipam.config for address in (config.auxiliary_addresses or {}).values()
        ),
        open=_flag(options.get(_ICC, "true")),
        masquerade=_flag(options.get(_MASQUERADE, "true")),
        host_ip=_host_ip(options.get(_HOST_IP, "")),
        driver=driver,
        mode=mode,
        prefix=options.get(_PREFIX, "eth"),
    )


def _host_ip(text: str) -> str:
    """0.0.0.0 is what there is without the option: both families."""
    return "" if text == "0.0.0.0" else text  # noqa: S104  it is only compared


def no_driver(driver: str, name: str) -> CortenError:
    """The kernel has no such links."""
    return Unsupported(
        f"create network {name}: this kernel has no {driver}", hint=f"modprobe {driver}, or use the driver bridge"
    )
