"""Routes of networks."""

from __future__ import annotations

import ipaddress
from typing import Any

import msgspec

from corten.api.message import Request, Response, no_content, reply
from corten.api.progress import Told, pruned
from corten.api.router import Router
from corten.engine.container_network import joined
from corten.engine.network_creation import without_effect
from corten.engine.network_model import NetworkConnect, NetworkCreate, NetworkDisconnect

ROUTES = Router()
_route = ROUTES.route


@_route("GET", "/networks")
async def list_all(request: Request) -> Response:
    networks = request.services.networks
    found = networks.list(request.filters())
    # Before 1.28 a listing told of the containers, too.
    return reply(found if request.version >= (1, 28) else [networks.inspect(one.id) for one in found])


@_route("POST", "/networks/create")
async def create(request: Request) -> Response:
    networks = request.services.networks
    body = await request.json(NetworkCreate)
    unique = request.version >= (1, 44) or bool(body.check_duplicate)
    network = networks.create(_of_version(body, request.version), unique=unique)
    request.services.events.publish("network", "create", network.id, {"name": network.name, "type": network.driver})
    others = [
        f"Network with name {one.name} (id : {one.id}) already exists"
        for one in networks.list()
        if one.name == network.name and one.id != network.id
    ]
    warnings = [*others, *networks.warnings([network.id]), *filter(None, [without_effect(network)])]
    return reply({"Id": network.id, "Warning": "\n".join(warnings)}, 201)


def _of_version(body: NetworkCreate, version: tuple[int, int]) -> NetworkCreate:
    """Before 1.44 a subnet, or a part of it, might be told by any address in it."""
    if version >= (1, 44) or body.ipam is None or not body.ipam.config:
        return body
    configs = [
        msgspec.structs.replace(one, subnet=_network(one.subnet), ip_range=_network(one.ip_range))
        for one in body.ipam.config
    ]
    return msgspec.structs.replace(body, ipam=msgspec.structs.replace(body.ipam, config=configs))


def _network(subnet: str) -> str:
    """The subnet that an address is in; what is none stays, to be refused."""
    try:
        return str(ipaddress.ip_network(subnet, strict=False))
    except ValueError:
        return subnet


@_route("POST", "/networks/prune")
async def prune(request: Request) -> Response:
    services = request.services
    used = {ref for container in services.containers.list(all=True) for ref in joined(container)}

    async def work(told: Told) -> dict[str, Any]:
        found = services.networks.prune(used, request.filters())
        for network in found:
            told(network.name)
        services.events.publish("network", "prune", "", {"reclaimed": "0"})
        return {"NetworksDeleted": [network.name for network in found] or None}

    return await pruned(request, work)


@_route("GET", "/networks/{id}")
async def inspect(request: Request) -> Response:
    networks = request.services.networks
    found = networks.inspect(request.params["id"])
    if request.version < (1, 52):
        return reply(found)
    subnets = {
        subnet: {"IPsInUse": used, "DynamicIPsAvailable": free} for subnet, used, free in networks.allocations(found)
    }
    return reply({**msgspec.to_builtins(found), "Status": {"IPAM": {"Subnets": subnets}}})


@_route("GET", "/corten/networks/{id}/explanation")
async def explain(request: Request) -> Response:
    return reply(request.services.networks.explain(request.params["id"]))


@_route("DELETE", "/networks/{id}")
async def remove(request: Request) -> Response:
    network = request.services.networks.remove(request.params["id"])
    request.services.events.publish("network", "destroy", network.id, {"name": network.name, "type": network.driver})
    return no_content()


@_route("POST", "/networks/{id}/connect")
async def connect(request: Request) -> Response:
    asked = await request.json(NetworkConnect)
    network = request.services.networks.get(request.params["id"])
    await request.services.containers.connect(network, asked.container, asked.endpoint_config)
    return Response(200)


@_route("POST", "/networks/{id}/disconnect")
async def disconnect(request: Request) -> Response:
    asked = await request.json(NetworkDisconnect)
    network = request.services.networks.get(request.params["id"])
    await request.services.containers.disconnect(network, asked.container, force=asked.force)
    return Response(200)
