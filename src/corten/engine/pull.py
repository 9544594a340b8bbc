"""Pulling: what a registry has under a name, and the image that becomes of it."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
import urllib.parse
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from corten.engine.delivery import Delivery, Wanted
from corten.engine.ingest import Report
from corten.errors import CortenError, DataCorrupt, InvalidInput, NotFound
from corten.registry.credentials import Credentials
from corten.spec import descriptor as descriptors
from corten.spec import digest as digests
from corten.spec import image as image_spec
from corten.spec import nesting
from corten.spec import platform as platforms
from corten.spec.descriptor import MAX_CONFIG, Descriptor, Index, Manifest
from corten.spec.image import Image, ImageDocument
from corten.spec.platform import Platform
from corten.spec.reference import DOCKER_HUB, Reference
from corten.store import indexes
from corten.store.blobs import BlobStore
from corten.store.images import ImageStore
from corten.store.layers import Layer

if TYPE_CHECKING:
    from corten.registry.client import Fetched, Repository

Mirrors = Mapping[str, Sequence[str]]
"""By a registry's host, the base URLs of others that have the same and are asked first."""


def mirrors(texts: Iterable[str]) -> Mirrors:
    """From options: ``URL`` for Docker's hub, ``HOST=URL`` for another registry. Raises InvalidInput."""
    found: dict[str, list[str]] = {}
    for text in texts:
        host, equals, url = text.rpartition("=")
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.query:
            raise InvalidInput(f"invalid mirror: {text}: [HOST=]https://MIRROR[:PORT] is wanted")
        found.setdefault(host if equals else DOCKER_HUB, []).append(f"{parts.scheme}://{parts.netloc}")
    return found


@dataclasses.dataclass(frozen=True, slots=True)
class _Found:
    """What the registry has under a name: the manifest for the platform, and the digest that was asked for."""

    manifest: Manifest
    descriptor: Descriptor
    named: Fetched
    content: bytes

    @property
    def index(self) -> Descriptor | None:
        """The index that the manifest was chosen from."""
        named = self.named
        is_own = named.digest == self.descriptor.digest
        return None if is_own else Descriptor(named.media_type, named.digest, len(named.content))


@dataclasses.dataclass(frozen=True, slots=True)
class _Asked:
    """What is to be pulled: for a platform, and of an index the ``whole``, if that is asked."""

    reference: Reference
    platform: Platform
    whole: bool


class Puller:
    """Pulls images into one store."""

    def __init__(self, store: ImageStore, mirrors: Mirrors | None = None) -> None:
        self._store, self._mirrors = store, mirrors or {}

    async def pull(
        self, reference: Reference, platform: Platform, auth: Mapping[str, str] | None, report: Report,
        *, whole: bool = False,
    ) -> Image:  # fmt: skip
        """Bring an image and give it its names; the ``whole`` of an index, or what it has for a platform. Nothing is
        visible of one that failed.

        Raises NotFound, AccessDenied, Unavailable, DataCorrupt.
        """
        cancelled = threading.Event()
        try:
            found, layers, config = await asyncio.to_thread(
                self._fetch, _Asked(reference, platform, whole), credentials_of(auth), report, cancelled
            )
        finally:
            cancelled.set()
        return self._record(reference, found, layers, config, report)

    async def tags(self, reference: Reference, auth: Mapping[str, str] | None) -> Sequence[str]:
        """The tags that a repository has. Raises as :meth:`pull`."""
        return await asyncio.to_thread(self._tags, reference, credentials_of(auth))

    def _tags(self, reference: Reference, credentials: Credentials | None) -> Sequence[str]:
        from corten.registry.client import Repository

        with Repository(reference, credentials) as repository:
            repository.ping()
            return repository.tags()

    def _record(
        self, reference: Reference, found: _Found, layers: Sequence[tuple[Descriptor, Layer]], config: bytes,
        report: Report,
    ) -> Image:  # fmt: skip
        before = self._store.by_reference(reference)
        names = [reference.with_digest(found.named.digest)]
        if reference.tag:
            names.append(reference.with_tag(reference.tag))
        image = self._store.add(found.descriptor, config, layers, names, index=found.index)
        report({"status": f"Digest: {found.named.digest}"})
        is_new = before is None or before.id != image.id
        word = "Downloaded newer image" if is_new else "Image is up to date"
        report({"status": f"Status: {word} for {reference.familiar}"})
        return image

    # --- in a thread

    def _fetch(
        self, asked: _Asked, credentials: Credentials | None, report: Report, cancelled: threading.Event
    ) -> tuple[_Found, list[tuple[Descriptor, Layer]], bytes]:  # fmt: skip
        """From the first mirror that has it, else from the registry itself. Mirrors are shown no credentials."""
        from corten.registry.client import Repository  # with urllib3, a sixth of what an engine would import to start

        for mirror in self._mirrors.get(asked.reference.domain, ()):
            try:
                with Repository(asked.reference, mirror=mirror) as repository:
                    return self._from(repository, asked, report, cancelled)
            except CortenError as error:
                report({"status": f"Mirror {mirror}: {error.message}"})
        with Repository(asked.reference, credentials) as repository:
            return self._from(repository, asked, report, cancelled)

    def _from(
        self, repository: Repository, asked: _Asked, report: Report, cancelled: threading.Event
    ) -> tuple[_Found, list[tuple[Descriptor, Layer]], bytes]:
        repository.ping()
        reference = asked.reference
        found = _manifest(self._store.blobs, repository, reference, asked.platform)
        shown = reference.digest or reference.tag
        report({"status": f"Pulling from {reference.path}", "id": shown})
        config = self._config(repository, found.manifest)
        document = image_spec.decode(config)
        if len(document.diff_ids) != len(found.manifest.layers):
            raise DataCorrupt(
                f"pull {reference.familiar}: {len(found.manifest.layers)} layers, {len(document.diff_ids)} diff IDs"
            )
        layers = self._layers(repository, found.manifest, document, report, cancelled)
        named = descriptors.decode(found.named.content, found.named.media_type)
        if asked.whole and isinstance(named, Index):
            from corten.engine import other_platforms

            other_platforms.bring(self._store.blobs, repository, named, report, cancelled)
        self._store.blobs.put(found.content)
        self._store.blobs.put(found.named.content)
        self._store.layers.sync()
        return found, layers, config

    def _config(self, repository: Repository, manifest: Manifest) -> bytes:
        blob = manifest.config
        if blob.size > MAX_CONFIG:
            raise DataCorrupt(f"image config {blob.digest}: {blob.size} bytes are over the limit of {MAX_CONFIG}")
        if not self._store.blobs.has(blob.digest):
            with self._store.blobs.writer(blob.digest, blob.size) as writer:
                repository.blob(blob, writer, lambda _: None)
                writer.commit()
        return self._store.blobs.read(blob.digest, limit=MAX_CONFIG)

    def _layers(
        self, repository: Repository, manifest: Manifest, document: ImageDocument, report: Report,
        cancelled: threading.Event,
    ) -> list[tuple[Descriptor, Layer]]:  # fmt: skip
        """Bring the layers side by side, the largest first; give them their names in their order."""
        chain = digests.chain_ids(document.diff_ids)
        wanted = [Wanted(*one) for one in zip(manifest.layers, document.diff_ids, chain, strict=True)]
        layers: list[tuple[Descriptor, Layer]] = []
        parent: Layer | None = None
        with Delivery(self._store, repository, report, cancelled) as delivery:
            here = {one.chain_id for one in wanted if delivery.is_here(one)}
            for one in wanted:
                _tell(report, "Already exists" if one.chain_id in here else "Pulling fs layer", one)
            try:
                for one, arrived in zip(wanted, delivery.order(wanted), strict=True):
                    parent = arrived.result()(parent)
                    if one.chain_id not in here:
                        _tell(report, "Pull complete", one)
                    layers.append((one.blob, parent))
            except BaseException:
                cancelled.set()
                raise
        return layers


def _tell(report: Report, status: str, one: Wanted) -> None:
    report({"status": status, "id": digests.short(one.blob.digest), "progressDetail": {}})


def _manifest(blobs: BlobStore, repository: Repository, reference: Reference, platform: Platform) -> _Found:
    named = repository.manifest(str(reference.digest or reference.tag))
    value, content, digest = descriptors.decode(named.content, named.media_type), named.content, named.digest
    if isinstance(value, Index):
        chosen = _choose(blobs, repository, value, platform, reference)
        inner = repository.manifest(chosen.digest)
        value, content, digest = descriptors.decode(inner.content, inner.media_type), inner.content, inner.digest
    if isinstance(value, Index):
        raise DataCorrupt(f"pull {reference.familiar}: index {digest} is called something else by the one around it")
    return _Found(value, Descriptor(value.media_type, digest, len(content)), named, content)


def bring_index(blobs: BlobStore, repository: Repository, entry: Descriptor) -> Index:
    """An index that another one names, to the byte; from the registry where it is not here. Raises NotFound,
    DataCorrupt, Unavailable."""
    if not blobs.has(entry.digest):
        blobs.put(repository.manifest(entry.digest).content)
    return indexes.read(blobs, entry)[1]


def _choose(
    blobs: BlobStore, repository: Repository, index: Index, platform: Platform, reference: Reference
) -> Descriptor:
    """Of all that an index and those in it offer; those of other platforms are not asked for."""

    def look(entry: Descriptor) -> Index | None:
        is_other = entry.platform and platforms.choose([entry.platform], platform) is None
        return None if is_other else bring_index(blobs, repository, entry)

    images = nesting.images(index, look)
    place = platforms.choose([one.platform for one in images], platform)
    if place is None:
        offered = ", ".join(str(one.platform) for one in images if one.platform) or "none"
        raise NotFound(
            f"no matching manifest for {platform} in the manifest list entries of {reference.familiar}",
            hint=f"it is offered for {offered}",
        )
    return images[place]


def credentials_of(auth: Mapping[str, str] | None) -> Credentials | None:
    """What a client showed of ``X-Registry-Auth``; None for nothing."""
    if not auth:
        return None
    names = ("username", "password", "identitytoken", "registrytoken")
    found = Credentials(*(auth.get(name, "") for name in names))
    return found if found != Credentials() else None
