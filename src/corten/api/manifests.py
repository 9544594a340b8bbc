"""Routes of manifests at registries: Corten's own, for the command line's ``manifest``."""

from __future__ import annotations

import base64
import binascii

import msgspec

from corten.api.message import Request, Response, reply
from corten.api.registry_auth import credentials
from corten.api.router import Router
from corten.api.shapes.descriptors import platform_shape
from corten.errors import InvalidInput

ROUTES = Router()
_route = ROUTES.route


class _Part(msgspec.Struct, rename="pascal"):
    """A manifest of a list, in base64, and the repository that has it."""

    repository: str
    media_type: str
    raw: str


class _List(msgspec.Struct, rename="pascal"):
    """A list of manifests in base64, and what it lists."""

    media_type: str
    raw: str
    parts: list[_Part] = []


@_route("GET", "/corten/manifests/{name:path}")
async def look(request: Request) -> Response:
    from corten.engine import manifests

    found = await manifests.look(request.params["name"], credentials(request))
    descriptor = found.descriptor
    shape = {"mediaType": descriptor.media_type, "digest": descriptor.digest, "size": descriptor.size}
    if descriptor.platform:
        shape["platform"] = platform_shape(descriptor.platform)
    return reply(
        {"Ref": str(found.reference), "Descriptor": shape, "Raw": base64.b64encode(found.content).decode()}
    )


@_route("PUT", "/corten/manifests/{name:path}")
async def put(request: Request) -> Response:
    from corten.engine import manifests

    told = await request.json(_List)
    parts = [manifests.Part(one.repository, one.media_type, _raw(one.raw)) for one in told.parts]
    name = request.params["name"]
    digest = await manifests.put(name, credentials(request), told.media_type, _raw(told.raw), parts)
    return reply({"Digest": digest}, 201)


def _raw(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise InvalidInput("Raw is not base64") from None
