"""Routes of networks."""

from __future__ import annotations

from corten.api.message import Request, Response, no_content, reply
from corten.api.router import Router
from corten.engine.network_model import NetworkCreate
from corten.errors import Unsupported

ROUTES = Router()
_route = ROUTES.route


@_route("GET", "/networks")
async def list_all(request: Request) -> Response:
    return reply(request.services.networks.list(request.filters()))


@_route("POST", "/networks/create")
async def create(request: Request) -> Response:
    network = request.services.networks.create(await request.json(NetworkCreate))
    request.services.events.publish("network", "create", network.id, {"name": network.name, "type": network.driver})
    return reply({"Id": network.id, "Warning": ""}, 201)


@_route("POST", "/networks/prune")
async def prune(request: Request) -> Response:
    services = request.services
    used = {container.host.network_mode for container in services.containers.list(all=True)}
    pruned = services.networks.prune(used, request.filters())
    return reply({"NetworksDeleted": [network.name for network in pruned]})


@_route("GET", "/networks/{id}")
async def inspect(request: Request) -> Response:
    return reply(request.services.networks.inspect(request.params["id"]))


@_route("DELETE", "/networks/{id}")
async def remove(request: Request) -> Response:
    network = request.services.networks.remove(request.params["id"])
    request.services.events.publish("network", "destroy", network.id, {"name": network.name, "type": network.driver})
    return no_content()


@_route("POST", "/networks/{id}/{change}")
async def connect(request: Request) -> Response:
    raise Unsupported(
        f"{request.params['change']} network {request.params['id']}: a living container's networks cannot be changed",
        hint="create the container with --network",
    )
