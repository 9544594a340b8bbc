"""Routes of what Corten does not have: the answers of an engine that is in no swarm and has no plugins."""

from __future__ import annotations

from corten.api.message import Request, Response, reply
from corten.api.registry_auth import credentials
from corten.api.router import Router
from corten.errors import InvalidInput, NotFound, Unavailable, Unsupported

ROUTES = Router()
_route = ROUTES.route
NO_MANAGER = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm '
    "and try again."
)
_NO_SWARMS = "many machines are the work of Kubernetes"


async def _no_manager(request: Request) -> Response:
    raise Unavailable(NO_MANAGER)


@_route("POST", "/swarm/leave")
async def leave(request: Request) -> Response:
    raise Unavailable("This node is not part of a swarm")


@_route("POST", "/swarm/init")
async def init(request: Request) -> Response:
    raise Unsupported("initialize a swarm: Corten runs containers on one machine", hint=_NO_SWARMS)


@_route("POST", "/swarm/join")
async def join(request: Request) -> Response:
    raise Unsupported("join a swarm: Corten runs containers on one machine", hint=_NO_SWARMS)


for _noun in ("swarm", "nodes", "services", "tasks", "secrets", "configs"):
    for _method in ("GET", "POST", "DELETE"):
        for _path in (f"/{_noun}", f"/{_noun}/{{rest:path}}"):
            _route(_method, _path)(_no_manager)


@_route("PUT", "/volumes/{name}")
async def update_volume(request: Request) -> Response:
    """Only a swarm's cluster volumes can be updated."""
    raise Unavailable(NO_MANAGER)


# --- plugins


@_route("GET", "/plugins")
async def plugins(request: Request) -> Response:
    return reply([])


@_route("GET", "/plugins/{name:path}/json")
@_route("POST", "/plugins/{name:path}/enable")
@_route("POST", "/plugins/{name:path}/disable")
@_route("POST", "/plugins/{name:path}/upgrade")
@_route("POST", "/plugins/{name:path}/push")
@_route("POST", "/plugins/{name:path}/set")
@_route("DELETE", "/plugins/{name:path}")
async def plugin(request: Request) -> Response:
    raise NotFound(f'plugin "{request.params["name"]}" not found')


@_route("GET", "/plugins/privileges")
async def privileges(request: Request) -> Response:
    from corten.engine import plugins

    asked = await plugins.privileges(request.text("remote"), credentials(request))
    return reply([{"Name": one.name, "Description": one.description, "Value": one.value} for one in asked])


@_route("POST", "/plugins/pull")
@_route("POST", "/plugins/create", reads_body=True)
async def no_plugins(request: Request) -> Response:
    raise Unsupported("install a plugin: Corten has no plugins")


# --- builds by another protocol


@_route("POST", "/session")
async def session(request: Request) -> Response:
    if not request.headers.get("upgrade"):
        raise InvalidInput("no upgrade proto in request")
    if request.headers["upgrade"].lower() != "h2c":
        raise InvalidInput(f"protocol {request.headers['upgrade']} not supported")
    raise Unsupported("open a build session: Corten speaks the classic builder's protocol (DOCKER_BUILDKIT=0)")


@_route("POST", "/grpc")
async def grpc(request: Request) -> Response:
    raise Unsupported("open a build session: Corten speaks the classic builder's protocol (DOCKER_BUILDKIT=0)")


@_route("POST", "/build/cancel")
async def cancel_build(request: Request) -> Response:
    raise Unsupported("cancel a build: a build ends when its client hangs up")
