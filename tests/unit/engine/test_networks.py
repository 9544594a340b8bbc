"""Networks as users see them, where nothing of the host is touched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from corten.engine.container_network import (
    decoded_endpoints,
    dns_names,
    joined,
    links,
    network_settings,
    operations,
    port_map,
    requested_ports,
    settled_networking,
    with_network,
)
from corten.engine.database import Database
from corten.engine.model import (
    Container,
    ContainerConfig,
    EndpointRequest,
    HostConfig,
    NetworkingConfig,
    PortBinding,
    as_json,
)
from corten.engine.network_model import Network, NetworkCreate
from corten.engine.networks import Networks
from corten.engine.records import Records
from corten.errors import AccessDenied, InvalidInput, NotFound, Unsupported
from corten.network.endpoint import LOOPBACK_ONLY, Binding
from tests.unit.network.test_endpoint import ENDPOINT


@pytest.fixture
def networks(tmp_path: Path) -> Iterator[Networks]:
    """Those of an ordinary user."""
    database = Database(tmp_path / "test.db")
    yield Networks(database, bridge="corten0", table="corten", name_of=lambda id: "web", privileged=False)
    database.close()


OLD_FIELDS = (
    "network", "network_id", "endpoint_id", "container_id", "bridge", "host_interface", "interface", "ip", "prefix",
    "gateway", "mac", "mtu", "ports",
)  # fmt: skip


def _container(**host: object) -> Container:
    return Container(
        id="3" * 64,
        name="web",
        created="",
        image="",
        config=ContainerConfig(exposed_ports={"80/tcp": {}, "53/udp": {}}),
        host=HostConfig(**host),  # type: ignore[arg-type]
        path="",
        args=[],
        layers=[],
    )


def test_the_default_three(networks: Networks) -> None:
    assert [(network.name, network.driver) for network in networks.list()] == [
        ("bridge", "bridge"),
        ("host", "host"),
        ("none", "null"),
    ]
    assert networks.start() == []


def test_networks_are_found_by_name_id_and_prefix(networks: Networks) -> None:
    bridge = networks.get("bridge")
    assert networks.get("default") == networks.get(bridge.id) == networks.get(bridge.id[:12]) == bridge
    with pytest.raises(NotFound, match="network x not found"):
        networks.get("x")
    with pytest.raises(NotFound):
        networks.get("")


def test_ids_are_kept(networks: Networks, tmp_path: Path) -> None:
    database = Database(tmp_path / "test.db")
    again = Networks(database, bridge="corten0", table="corten", name_of=str, privileged=False)
    assert again.list() == networks.list()
    database.close()


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({"name": ["o"]}, ["host", "none"]),
        ({"driver": ["null", "host"]}, ["host", "none"]),
        ({"type": ["custom"]}, []),
        ({"type": ["builtin"], "name": ["host"]}, ["host"]),
        ({"label": ["a"]}, []),
        ({"scope": ["local"], "dangling": ["true"]}, []),
        ({"dangling": ["false"]}, ["bridge", "host", "none"]),
    ],
)
def test_filters(networks: Networks, filters: dict[str, list[str]], names: list[str]) -> None:
    assert [network.name for network in networks.list(filters)] == names


def test_an_unknown_filter(networks: Networks) -> None:
    with pytest.raises(InvalidInput, match="invalid filter 'colour'"):
        networks.list({"colour": ["red"]})


def test_inspect_has_the_apis_names(networks: Networks) -> None:
    shown = msgspec.json.decode(as_json(networks.inspect("none")))
    names = "Name Id Created Scope Driver EnableIPv4 EnableIPv6 IPAM Internal Attachable Ingress ConfigFrom"
    assert set(shown) == {*names.split(), "ConfigOnly", "Options", "Labels", "Containers"}


def test_an_ordinary_user_has_no_bridges(networks: Networks) -> None:
    with pytest.raises(Unsupported, match="bridge networks need root"):
        networks.attach(_container())
    with pytest.raises(Unsupported, match="bridge networks need root"):
        networks.create(NetworkCreate("mine"))
    for mode in ("host", "none", "container:x"):
        assert networks.attach(_container(network_mode=mode)) == ()
    networks.release("3" * 64)


def test_predefined_networks_stay(networks: Networks) -> None:
    with pytest.raises(AccessDenied, match="bridge is a pre-defined network and cannot be removed"):
        networks.remove("bridge")
    assert networks.prune([]) == []


def test_operations_by_mode() -> None:
    assert operations(_container(network_mode="none"), ()) == LOOPBACK_ONLY
    assert operations(_container(network_mode="host"), ()) == ()
    assert operations(_container(), (ENDPOINT,)) == ENDPOINT.operations


def test_ports_asked_for() -> None:
    asked = _container(port_bindings={"80/tcp": [PortBinding("", "8080")]}, publish_all_ports=True)
    found = [(port.protocol, port.container_port, port.first) for port in requested_ports(asked.host, asked.config)]
    assert found == [("tcp", 80, 8080), ("udp", 53, 0)]
    bare = _container(port_bindings={"80/tcp": None})
    assert [port.first for port in requested_ports(bare.host, bare.config)] == [0]


def test_the_port_map_shows_what_is_exposed_too() -> None:
    ports = port_map(_container().config, (ENDPOINT,))
    assert ports == {"80/tcp": [PortBinding("0.0.0.0", "8080")], "53/udp": None}
    assert Binding("tcp", "0.0.0.0", 8080, 80) in ENDPOINT.ports


def test_settings_of_an_inspect() -> None:
    networks = {"bridge": EndpointRequest()}
    running = network_settings(_container(), networks, (ENDPOINT,))
    assert (running.ip_address, running.networks["bridge"].ip_address) == ("172.17.0.2", "172.17.0.2")
    stopped = network_settings(_container(), networks, ())
    assert (stopped.ip_address, stopped.networks["bridge"].ip_address, stopped.ports) == ("", "", {})
    assert network_settings(_container(network_mode="container:x"), {}, ()).networks == {}


def test_names_in_a_network_of_a_users() -> None:
    network = Network("back", "f" * 64, "", "bridge")
    asked = EndpointRequest(aliases=["db", "web"], links=["/store:/web/shop", "cache"])
    container = msgspec.structs.replace(
        _container(network_mode="back", links=["old:older"]), networking=NetworkingConfig({"back": asked})
    )
    assert dns_names(container, network) == ("web", "db", "333333333333")
    assert links(container, network) == (("store", "shop"), ("cache", "cache"), ("old", "older"))


def test_the_default_bridge_has_links_only() -> None:
    network = Network("bridge", "f" * 64, "", "bridge")
    container = _container(links=["db:store"])
    assert (dns_names(container, network), links(container, network)) == ((), (("db", "store"),))


@pytest.mark.parametrize(
    ("mode", "listed", "names"),
    [
        ("default", None, ["bridge"]),
        ("", {}, ["bridge"]),
        ("default", {"default": {}}, ["bridge"]),
        ("back", {"front": {}, "back": {}}, ["back", "front"]),
        ("default", {"front": {}}, ["front"]),
        ("none", None, ["none"]),
        ("container:x", {"front": {}}, []),
    ],
)
def test_the_networks_of_a_new_container(mode: str, listed: dict[str, Any] | None, names: list[str]) -> None:
    """What is listed is all, as for dockerd; the mode's own is first, and has eth0."""
    asked = NetworkingConfig({name: EndpointRequest() for name in listed} if listed is not None else None)
    settled = settled_networking(HostConfig(network_mode=mode), asked)
    container = msgspec.structs.replace(_container(network_mode=mode), networking=settled)
    assert list(joined(container)) == names


def test_networks_come_and_go() -> None:
    container = msgspec.structs.replace(_container(), networking=NetworkingConfig({"bridge": None}))
    more = msgspec.structs.replace(container, networking=with_network(container, "back", EndpointRequest()))
    assert list(joined(more)) == ["bridge", "back"]
    none = msgspec.structs.replace(container, networking=with_network(container, "bridge", None))
    assert joined(none) == {}
    assert joined(msgspec.structs.replace(container, networking=NetworkingConfig())) == {"bridge": EndpointRequest()}


def test_the_record_of_an_older_engine(tmp_path: Path) -> None:
    """It had one network a container, and knew nothing of IPv6; what it started goes on."""
    old = {name: value for name, value in ENDPOINT.encode().items() if name in OLD_FIELDS}
    database = Database(tmp_path / "old.db")
    Records(database).put(msgspec.structs.replace(_container(), endpoint=old))
    (container,) = Records(database)
    assert decoded_endpoints(container) == (ENDPOINT,)
    database.close()
