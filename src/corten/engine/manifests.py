"""Manifests of registries, to the byte: looked at, and lists of several platforms put together there."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping, Sequence

from corten.engine.pull import credentials_of
from corten.engine.registries import platform_of
from corten.errors import CortenError, InvalidInput
from corten.registry.client import Repository
from corten.registry.upload import Uploads
from corten.spec import descriptor as descriptors
from corten.spec import digest as digests
from corten.spec import reference as references
from corten.spec.descriptor import MAX_MANIFEST, Descriptor, Index, Manifest
from corten.spec.digest import Digest
from corten.spec.reference import Reference

Auth = Mapping[str, str] | None


@dataclasses.dataclass(frozen=True, slots=True)
class Found:
    """What a registry has under a name; ``descriptor`` has the platform of an image's manifest."""

    reference: Reference
    descriptor: Descriptor
    content: bytes


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """A manifest of a list, and the repository of the same registry that has it with its blobs."""

    repository: str
    media_type: str
    content: bytes


async def look(name: str, auth: Auth) -> Found:
    """A manifest or index. Raises NotFound, AccessDenied, Unavailable, InvalidInput."""
    return await asyncio.to_thread(_look, references.parse(name).tagged(), auth)


async def put(name: str, auth: Auth, media_type: str, content: bytes, parts: Sequence[Part]) -> Digest:
    """Give a list its name, once its parts are in the repository, too. Raises AccessDenied, Unavailable,
    InvalidInput, CortenError."""
    reference = references.parse(name).tagged()
    if not isinstance(descriptors.decode(content, media_type), Index):
        raise InvalidInput(f"push {reference.familiar}: not a list of manifests")
    return await asyncio.to_thread(_put, reference, auth, media_type, content, parts)


# --- in a thread


def _look(reference: Reference, auth: Auth) -> Found:
    with Repository(reference, credentials_of(auth)) as repository:
        repository.ping()
        found = repository.manifest(str(reference.digest or reference.tag))
        value = descriptors.decode(found.content, found.media_type)
        platform = platform_of(repository, value) if isinstance(value, Manifest) else None
        return Found(
            reference, Descriptor(value.media_type, found.digest, len(found.content), platform), found.content
        )


def _put(reference: Reference, auth: Auth, media_type: str, content: bytes, parts: Sequence[Part]) -> Digest:
    others = sorted({part.repository for part in parts} - {reference.path})
    with Uploads(reference, credentials_of(auth), sources=others) as uploads:
        uploads.ping()
        for part in parts:
            if part.repository != reference.path:
                _bring(uploads, part)
        uploads.manifest(reference.tag, content, media_type)
    return digests.of(content)


def _bring(uploads: Uploads, part: Part) -> None:
    """Mount the blobs of a manifest, and put it beside the list."""
    if len(part.content) > MAX_MANIFEST:
        raise InvalidInput(f"push: a manifest of {len(part.content)} bytes is over the limit of {MAX_MANIFEST}")
    value = descriptors.decode(part.content, part.media_type)
    if not isinstance(value, Manifest):
        raise InvalidInput("push: a list inside a list")
    for blob in (*value.layers, value.config):
        if not uploads.has(blob) and not uploads.mount(blob, part.repository):
            raise CortenError(f"push: the registry does not mount {digests.short(blob.digest)} of {part.repository}")
    uploads.manifest(digests.of(part.content), part.content, part.media_type)
