"""All routes of the API, in one router."""

from __future__ import annotations

from corten.api import (
    absent,
    archives,
    builds,
    containers,
    exec,
    images,
    manifests,
    networks,
    system,
    volumes,
    websocket,
)
from corten.api.router import Router


def router() -> Router:
    """The router of the whole API."""
    whole = Router()
    nouns = (containers, archives, exec, images, manifests, builds, volumes, networks, system, websocket, absent)
    for noun in nouns:
        whole.include(noun.ROUTES)
    return whole
