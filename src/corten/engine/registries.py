"""Registries, asked without bringing anything here: what is under a name, what a hub finds, whether one may log in."""

from __future__ import annotations

import asyncio
import dataclasses
import io
from collections.abc import Mapping, Sequence

from corten.engine.filters import Filters, check_filters, is_true
from corten.engine.pull import credentials_of
from corten.errors import DataCorrupt, InvalidInput
from corten.registry import search as hub
from corten.registry.client import Repository
from corten.registry.credentials import Credentials
from corten.registry.search import Hit
from corten.registry.session import hub_host
from corten.registry.upload import check_login
from corten.spec import descriptor as descriptors
from corten.spec import digest as digests
from corten.spec import image as image_spec
from corten.spec import reference as references
from corten.spec.descriptor import MAX_CONFIG, Descriptor, Index, Manifest
from corten.spec.platform import Platform
from corten.spec.reference import DOCKER_HUB, Reference


@dataclasses.dataclass(frozen=True, slots=True)
class Remote:
    """What a registry has under a name."""

    descriptor: Descriptor
    platforms: tuple[Platform, ...]


class Registries:
    """Questions to registries. Credentials are those of ``X-Registry-Auth``, or none."""

    async def look(self, name: str, auth: Mapping[str, str] | None) -> Remote:
        """What a registry has under a name. Raises NotFound, AccessDenied, Unavailable, InvalidInput."""
        return await asyncio.to_thread(_look, references.parse(name).tagged(), auth)

    async def search(self, term: str, limit: int, filters: Filters) -> Sequence[Hit]:
        """Repositories of a hub. Raises Unavailable, InvalidInput."""
        wanted = check_filters(filters, ("stars", "is-official", "is-automated"))
        if not term:
            raise InvalidInput("invalid search term: it is empty")
        stars = max((_number(value) for value in wanted.get("stars") or ()), default=0)
        official = is_true(wanted, "is-official") if "is-official" in wanted else None
        if is_true(wanted, "is-automated"):  # no hub marks any as such
            return []
        found = await asyncio.to_thread(hub.search, term, limit)
        return [hit for hit in found if hit.stars >= stars and official in (None, hit.official)]

    async def login(self, server: str, auth: Mapping[str, str]) -> None:
        """Try credentials at a registry, the hub for ''. Raises AccessDenied, Unavailable."""
        host = server.removeprefix("https://").removeprefix("http://").partition("/")[0]
        if host in ("", DOCKER_HUB, "index.docker.io"):
            host = hub_host(Reference(DOCKER_HUB, ""))
        await asyncio.to_thread(check_login, host, credentials_of(auth) or Credentials())


def _number(text: str) -> int:
    if not text.isdigit():
        raise InvalidInput(f"invalid filter 'stars={text}'")
    return int(text)


class _Memory:
    """A sink for one small blob, verified at its end."""

    def __init__(self, blob: Descriptor) -> None:
        self._blob = blob
        self._content = io.BytesIO()
        self.written = 0

    def write(self, data: bytes) -> None:
        """Append. Raises DataCorrupt beyond the largest configuration."""
        self.written += len(data)
        if self.written > MAX_CONFIG:
            raise DataCorrupt(f"config {self._blob.digest}: over the limit of {MAX_CONFIG} bytes")
        self._content.write(data)

    def restart(self) -> None:
        """Forget what was written."""
        self._content = io.BytesIO()
        self.written = 0

    def verified(self) -> bytes:
        """All of it. Raises DataCorrupt."""
        content = self._content.getvalue()
        hashed = digests.hasher(self._blob.digest)
        hashed.update(content)
        if not digests.matches(self._blob.digest, hashed):
            raise DataCorrupt(f"config {self._blob.digest}: digest mismatch")
        return content


def _look(reference: Reference, auth: Mapping[str, str] | None) -> Remote:
    with Repository(reference, credentials_of(auth)) as repository:
        repository.ping()
        found = repository.manifest(str(reference.digest or reference.tag))
        value = descriptors.decode(found.content, found.media_type)
        descriptor = Descriptor(value.media_type, found.digest, len(found.content))
        if isinstance(value, Index):
            return Remote(descriptor, tuple(one.platform for one in value.manifests if one.platform))
        return Remote(descriptor, (platform_of(repository, value),))


def platform_of(repository: Repository, manifest: Manifest) -> Platform:
    """What an image of a registry runs on, by its configuration. Raises NotFound, Unavailable, DataCorrupt."""
    return image_spec.decode(config_of(repository, manifest.config)).platform


def config_of(repository: Repository, config: Descriptor) -> bytes:
    """The configuration that a manifest names. Raises NotFound, Unavailable, DataCorrupt."""
    sink = _Memory(config)
    repository.blob(config, sink, lambda _: None)
    return sink.verified()
