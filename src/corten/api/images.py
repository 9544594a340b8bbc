"""Routes of images."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec

from corten.api.message import Request, Response, reply
from corten.api.progress import Report, Told, progress, pruned
from corten.api.registry_auth import credentials
from corten.api.router import Router
from corten.api.shapes.descriptors import platform_shape
from corten.api.shapes.images import history_shape, image_inspect, image_summary
from corten.engine.commit import CommitOptions
from corten.engine.model import ContainerConfig
from corten.engine.volume_mounts import images_of
from corten.errors import AccessDenied, InvalidInput, NotFound, Unsupported
from corten.spec import platform as platforms
from corten.spec import reference as references
from corten.spec.image import Image
from corten.spec.platform import Platform
from corten.spec.reference import Reference

ROUTES = Router()
_route = ROUTES.route
_TAR = "application/x-tar"


@_route("GET", "/images/json")
async def list_all(request: Request) -> Response:
    services = request.services
    version, filters = request.version, request.filters()
    if version < (1, 41) and (pattern := request.text("filter")):
        filters = {**filters, "reference": [pattern]}
    images = await services.images.list(filters, all=request.flag("all"))
    shared: dict[str, int] = {}
    if request.flag("shared-size") and version >= (1, 42):
        shared = {image.id: size for image, size in services.images.shared()}
    manifests = request.flag("manifests") and version >= (1, 47)
    return reply([
        image_summary(image, services, version, shared=shared.get(image.id, -1), manifests=manifests)
        for image in images
    ])  # fmt: skip


@_route("POST", "/images/create", reads_body=True)
async def create(request: Request) -> Response:
    images = request.services.images
    platform = request.text("platform")
    if source := request.text("fromSrc"):
        content = _chunks(request) if source == "-" else _remote(source)
        repo, tag = request.text("repo"), request.text("tag")
        changes, message = list(request.query.get("changes", ())), request.text("message")

        async def work(report: Report) -> None:
            if source != "-":
                report({"status": f"Downloading from {source}"})
            image = await images.import_(content, repo, tag, changes, message or f"Imported from {source}", platform)
            report({"status": image.id})
    else:
        name, tag = request.text("fromImage"), request.text("tag")
        if not name:
            raise InvalidInput("invalid reference format: no image is named")
        reference = f"{name}@{tag}" if ":" in tag else f"{name}:{tag}" if tag else name
        auth = credentials(request)

        async def work(report: Report) -> None:
            for one in await images.offered(reference, auth):
                await images.pull(one, platform, auth, report, whole=request.flag("allPlatforms"))

    return Response(content=await progress(work))


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    async for chunk in request.body:
        yield chunk


def _remote(source: str) -> AsyncIterator[bytes]:
    from corten.engine import remote_source  # with urllib3: not what an engine imports to start

    return remote_source.chunks(source if "://" in source else f"http://{source}")


@_route("POST", "/images/load", reads_body=True)
async def load(request: Request) -> Response:
    platform = _one_platform(request)

    async def work(report: Report) -> None:
        await request.services.images.load(_chunks(request), report, platform)

    return Response(content=await progress(work, raises=False))


@_route("GET", "/images/get")
async def save_many(request: Request) -> Response:
    return await _saved(request, list(request.query.get("names", ())))


@_route("GET", "/images/{name:path}/get")
async def save_one(request: Request) -> Response:
    return await _saved(request, [request.params["name"]])


async def _saved(request: Request, names: list[str]) -> Response:
    """``since`` is Corten's own: the image that the receiver has."""
    images = request.services.images
    return Response(content=await images.save(names, _one_platform(request), request.text("since")), type=_TAR)


def _one_platform(request: Request) -> Platform | None:
    """The one of ``platform``, an OCI platform in JSON. Raises InvalidInput."""
    told = [text for text in request.query.get("platform", ()) if text]
    if not told or request.version < (1, 48):
        return None
    if len(told) > 1:
        raise InvalidInput("only one platform is accepted")
    return _platform(told[0])


@_route("POST", "/images/prune")
async def prune(request: Request) -> Response:
    services = request.services
    used = {container.image for container in services.containers.list(all=True)}

    async def work(told: Told) -> dict[str, Any]:
        deleted, reclaimed = await services.images.prune(request.filters(), used, told)
        return {"ImagesDeleted": deleted or None, "SpaceReclaimed": reclaimed}

    return await pruned(request, work)


@_route("GET", "/images/search")
async def search(request: Request) -> Response:
    limit = request.number("limit") or 25
    if not 1 <= limit <= 100:
        raise InvalidInput(f"limit {limit} is outside the range of [1, 100]")
    found = await request.services.registries.search(request.text("term"), limit, request.filters())
    return reply([
        {"name": one.name, "description": one.description, "star_count": one.stars, "is_official": one.official,
         "is_automated": False}
        for one in found
    ])  # fmt: skip


@_route("GET", "/images/{name:path}/json")
async def inspect(request: Request) -> Response:
    manifests = request.flag("manifests") and request.version >= (1, 48)
    if manifests and request.text("platform"):
        raise InvalidInput("conflicting options: manifests and platform options cannot both be set")
    image = await request.services.images.inspect(request.params["name"])
    _check_platform(request, image, since=(1, 49))
    return reply(image_inspect(image, request.services, request.version, manifests=manifests))


def _check_platform(request: Request, image: Image, *, since: tuple[int, int]) -> None:
    """``platform``: an OCI platform in JSON. Raises NotFound when the image is for another, InvalidInput."""
    text = request.text("platform")
    if not text or request.version < since:
        return
    wanted = _platform(text)
    if platforms.choose([image.platform], wanted) is None:
        raise NotFound(
            f"image with reference {request.params.get('name', image.id)} was found but does not provide the "
            f"specified platform ({wanted})"
        )


def _platform(text: str) -> Platform:
    try:
        told = msgspec.json.decode(text, type=_Platform)
    except msgspec.DecodeError as error:
        raise InvalidInput(f"failed to parse platform: {error}") from None
    if not told.os or not told.architecture:
        raise InvalidInput("both OS and Architecture must be provided")
    return Platform(told.os, told.architecture, told.variant, told.os_version)


class _Platform(msgspec.Struct, rename={"os_version": "os.version"}):
    """An OCI platform, as a query parameter has it."""

    os: str = ""
    architecture: str = ""
    variant: str = ""
    os_version: str = ""


@_route("GET", "/images/{name:path}/attestations")
async def attestations(request: Request) -> Response:
    if len(request.query.get("platform", ())) > 1:
        raise InvalidInput("only one platform is accepted")
    image = await request.services.images.inspect(request.params["name"])
    _check_platform(request, image, since=(1, 55))
    raise Unsupported("attestations: of an index only images are brought")


@_route("GET", "/images/{name:path}/history")
async def history(request: Request) -> Response:
    images = request.services.images
    image = await images.inspect(request.params["name"])
    _check_platform(request, image, since=(1, 48))
    return reply(history_shape(image, request.services))


@_route("POST", "/images/{name:path}/tag")
async def tag(request: Request) -> Response:
    repo, name = request.text("repo"), request.text("tag")
    await request.services.images.tag(request.params["name"], f"{repo}:{name}" if name else repo)
    return Response(201)


@_route("GET", "/corten/images/pinned")
async def pinned(request: Request) -> Response:
    found = request.services.images.upkeep.pinned()
    return reply([{"Id": image.id, "RepoTags": image.repo_tags} for image in found])


@_route("GET", "/corten/images/contents")
async def contents(request: Request) -> Response:
    """For a registry of this engine's images."""
    names = [name for name in request.query.get("names", ()) if name]
    return reply(await request.services.images.offerings.contents(names))


@_route("POST", "/corten/images/{name:path}/pack")
async def pack(request: Request) -> Response:
    images = request.services.images
    async with images.upkeep.adding():
        image = await images.offerings.pack(request.params["name"])
    return reply({"Id": image.id})


@_route("POST", "/corten/images/{name:path}/pin")
async def pin(request: Request) -> Response:
    """``pinned=0`` lets it go."""
    image = request.services.images.upkeep.pin(request.params["name"], request.flag("pinned", True))
    return reply({"Id": image.id})


@_route("POST", "/images/{name:path}/push")
async def push(request: Request) -> Response:
    images, name, tag = request.services.images, request.params["name"], request.text("tag")
    alone = bool(request.text("platform"))
    if alone:
        _check_platform(request, await images.inspect(f"{name}:{tag}" if tag else name), since=(1, 46))
    auth = credentials(request)

    async def work(report: Report) -> None:
        await images.push(name, tag, auth, report, alone=alone)

    return Response(content=await progress(work))


@_route("GET", "/distribution/{name:path}/json")
async def distribution(request: Request) -> Response:
    found = await request.services.registries.look(request.params["name"], credentials(request))
    descriptor = found.descriptor
    return reply({
        "Descriptor": {
            "mediaType": descriptor.media_type, "digest": descriptor.digest, "size": descriptor.size,
        },
        "Platforms": [platform_shape(platform) for platform in found.platforms],
    })  # fmt: skip


@_route("POST", "/commit")
async def commit(request: Request) -> Response:
    ref = request.text("container")
    if not ref:
        raise InvalidInput('invalid name or ID supplied: ""')
    container = request.services.containers.get(ref)
    body = await request.json(ContainerConfig, empty=ContainerConfig())
    options = CommitOptions(
        name=_name(request.text("repo"), request.text("tag")),
        author=request.text("author"),
        comment=request.text("comment"),
        changes=tuple(line for text in request.query.get("changes", ()) for line in text.split("\n") if line.strip()),
        pause=request.flag("pause", True),
    )
    return reply({"Id": await request.services.commits.commit(container, body, options)}, 201)


def _name(repo: str, tag: str) -> Reference | None:
    if not repo:
        return None
    return references.parse_tagged(f"{repo}:{tag}" if tag else repo)


@_route("DELETE", "/images/{name:path}")
async def remove(request: Request) -> Response:
    services = request.services
    if not request.params["name"].strip():
        raise InvalidInput("image name cannot be blank")
    everyone = services.containers.list(all=True)
    users = [(image, one.id, one.state.running) for one in everyone for image in images_of(one)]
    deleted = await services.images.remove(
        request.params["name"], force=request.flag("force"), noprune=request.flag("noprune"), users=users
    )
    return reply(deleted)


class _Login(msgspec.Struct, rename="lower"):
    """The body of ``POST /auth``."""

    username: str = ""
    password: str = ""
    serveraddress: str = ""
    identitytoken: str = ""


@_route("POST", "/auth")
async def login(request: Request) -> Response:
    asked = await request.json(_Login, empty=_Login())
    auth = {"username": asked.username, "password": asked.password, "identitytoken": asked.identitytoken}
    try:
        await request.services.registries.login(asked.serveraddress, auth)
    except AccessDenied as error:
        return reply({"message": error.message}, 401)
    return reply({"Status": "Login Succeeded", "IdentityToken": ""})
