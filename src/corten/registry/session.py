"""Speaking to one repository of a registry: what pulling and pushing share."""

from __future__ import annotations

from collections.abc import Collection
from typing import Self

from corten.errors import CortenError
from corten.registry.auth import Authorizer
from corten.registry.credentials import Credentials
from corten.registry.transport import Transport, Wait, closing
from corten.spec.reference import DOCKER_HUB, Reference

_HUB_HOST = "registry-1.docker.io"


class Session:
    """A context manager. ``actions`` are what is to be allowed: ``pull``, or ``pull,push``. Methods may be called from
    several threads."""

    def __init__(
        self, reference: Reference, actions: str, credentials: Credentials | None = None, wait: Wait | None = None,
        further: Collection[str] = (), mirror: str = "", kind: str = "repository",
    ) -> None:  # fmt: skip
        """``further`` are repositories of the same registry that are to be read as well; ``mirror`` is the base URL of
        another registry that has the same; ``kind`` is what a token server calls it (distribution, "Token Scope
        Documentation": a resource may have a class, such as ``repository(plugin)``)."""
        self._reference = reference
        self._transport = Transport(mirror or hub_host(reference), wait)
        scopes = [f"{kind}:{reference.path}:{actions}", *(f"repository:{path}:pull" for path in further)]
        self._authorizer = Authorizer(self._transport, " ".join(scopes), credentials)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._transport.close()

    def ping(self) -> None:
        """Find the registry, and what it wants to see. Raises Unavailable, AccessDenied."""
        with closing(self._transport.probe()) as response:
            if response.status == 401:
                self._authorizer.answer(response, self._authorizer.headers)
            elif response.status != 200:
                raise CortenError(f"request {self._transport.base}/v2/: {response.status}: not a registry")


def hub_host(reference: Reference) -> str:
    """The host of a reference's registry: the hub's is not its name."""
    return _HUB_HOST if reference.domain == DOCKER_HUB else reference.domain
