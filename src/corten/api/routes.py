"""All routes of the API, in one router."""

from __future__ import annotations

from corten.api import absent, archives, containers, exec, images, manifests, networks, system, volumes, websocket
from corten.api.router import Router


def router() -> Router:
    """The router of the whole API."""
    whole = Router()
    for noun in (containers, archives, exec, images, manifests, volumes, networks, system, websocket, absent):
        whole.include(noun.ROUTES)
    return whole
