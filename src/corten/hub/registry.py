"""The registry's answers, without HTTP: from what the engine offers and what was pushed."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from corten.errors import DataCorrupt, InvalidInput
from corten.hub.catalog import Catalog
from corten.hub.delivery import Delivery
from corten.hub.errors import Refusal, blob_unknown, manifest_unknown
from corten.hub.storage import Storage, sha256
from corten.spec import digest as digests
from corten.spec.descriptor import INDEXES, MANIFESTS, MAX_MANIFEST, OCI_INDEX
from corten.spec.digest import Digest
from corten.spec.document import Document
from corten.spec.reference import Reference

_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}", re.ASCII)
_IMAGE_CONFIGS = ("application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json")


@dataclasses.dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest to the byte."""

    content: bytes
    media_type: str
    digest: Digest


@dataclasses.dataclass(frozen=True, slots=True)
class Put:
    """A manifest that was taken; ``subject`` is what it refers to, ``told`` why the engine has not taken it."""

    digest: Digest
    subject: str
    told: str


class Registry:
    """Everything but access. Methods may be called from several threads. ``domain`` is what images that are pushed are
    called after in the engine."""

    def __init__(self, catalog: Catalog, storage: Storage, delivery: Delivery, domain: str) -> None:
        self._catalog, self.storage, self._delivery, self._domain = catalog, storage, delivery, domain

    # --- content

    def manifest(self, repository: str, name: str) -> Manifest:
        """By tag or digest. Raises Refusal."""
        if pushed := self.storage.manifest(repository, _checked_name(name)):
            digest, media_type = pushed
            return self._read(str(self.storage.path(digest)), media_type, digest, name)
        if ":" in name:
            found = self._by_digest(repository, digests.parse(name))
        else:
            offer = self._catalog.packed(repository, name)
            found = offer.top if offer else None
        if found is None:
            raise manifest_unknown(name)
        path = self._catalog.offers().path(found.digest)
        return self._read(path, found.media_type, found.digest, name)

    def _by_digest(self, repository: str, digest: Digest) -> Any:
        found = self._catalog.offers().manifest(repository, digest)
        return found or self._catalog.offers(fresh=True).manifest(repository, digest)

    def _read(self, path: str, media_type: str, digest: Digest, name: str) -> Manifest:
        try:
            with open(path, "rb") as file:
                return Manifest(file.read(MAX_MANIFEST + 1), media_type, digest)
        except FileNotFoundError:
            raise manifest_unknown(name) from None

    def blob(self, digest: Digest) -> str:
        """The file of a blob. Raises Refusal."""
        if self.storage.has(digest):
            return str(self.storage.path(digest))
        offers = self._catalog.offers()
        if not offers.has_blob(digest):
            offers = self._catalog.offers(fresh=True)
            if not offers.has_blob(digest):
                raise blob_unknown(digest)
        return offers.path(digest)

    def has_blob(self, digest: Digest) -> bool:
        """Whether :meth:`blob` finds it. Raises Refusal where the engine does not answer."""
        try:
            self.blob(digest)
        except Refusal as refusal:
            if refusal.status == 404:
                return False
            raise
        return True

    # --- lists

    def tags(self, repository: str) -> list[str]:
        """All tags, in the order of their bytes. Raises Refusal."""
        offered = self._catalog.offers(fresh=True).tags.get(repository, {})
        found = sorted({*offered, *self.storage.tags(repository)})
        if not found and repository not in self.storage.repositories():
            raise Refusal(404, "NAME_UNKNOWN", f"repository {repository} is not known here")
        return found

    def repositories(self) -> list[str]:
        """All repositories."""
        return sorted({*self._catalog.offers(fresh=True).shown, *self.storage.repositories()})

    def referrers(self, repository: str, digest: Digest, kind: str) -> bytes:
        """The index of the manifests that refer to one, of a ``kind`` if there is one (OCI distribution-spec, "Listing
        Referrers")."""
        found = []
        for own, media_type, content in self.storage.manifests(repository):
            value = _object(content)
            if (value.get("subject") or {}).get("digest") == digest:
                config = value.get("config") or {}
                described = {"mediaType": media_type, "digest": own, "size": len(content),
                             "artifactType": value.get("artifactType") or config.get("mediaType", ""),
                             "annotations": value.get("annotations") or {}}  # fmt: skip
                if not kind or described["artifactType"] == kind:
                    found.append({name: member for name, member in described.items() if member})
        return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": found}).encode()

    # --- changes

    def put(self, repository: str, name: str, media_type: str, content: bytes) -> Put:
        """Take a manifest. Raises Refusal."""
        digest = sha256(content)
        if ":" in _checked_name(name):
            digest = _digest(name)
            hashed = digests.hasher(digest)
            hashed.update(content)
            if not digests.matches(digest, hashed):
                raise Refusal(400, "DIGEST_INVALID", f"the content is not that of {name}")
        value = _manifest(content, media_type)
        self._check_content(repository, value)
        tag = "" if ":" in name else name
        self.storage.add_manifest(repository, content, digest, media_type, tag)
        subject = (value.get("subject") or {}).get("digest", "")
        told = ""
        if tag and not subject and _is_image(value, media_type):
            told = self._delivery.deliver(repository, digest, media_type, Reference(self._domain, repository, tag))
            self._catalog.offers(fresh=True)
        return Put(digest, subject, told)

    def _check_content(self, repository: str, value: dict[str, Any]) -> None:
        for member in (value.get("config"), *(value.get("layers") or ())):
            # What is not distributed may be elsewhere.
            if member and not member.get("urls") and not self.has_blob(_digest(str(member.get("digest")))):
                raise Refusal(404, "MANIFEST_BLOB_UNKNOWN", f"blob {member['digest']} is not known here")
        for entry in value.get("manifests") or ():
            self.manifest(repository, str(_digest(str(entry.get("digest")))))

    def delete(self, repository: str, name: str) -> None:
        """Forget a tag or a manifest. Raises Refusal."""
        is_gone = self.storage.delete(repository, _checked_name(name))
        for tag, offer in list(self._catalog.offers(fresh=True).tags.get(repository, {}).items()):
            if name in (tag, offer.top.digest):
                self._catalog.untag(offer, repository, tag)
                is_gone = True
        if not is_gone:
            raise manifest_unknown(name)

    def delete_blob(self, digest: Digest) -> None:
        """Forget a blob that was pushed. Raises Refusal."""
        if not self.storage.has(digest) and self.has_blob(digest):
            raise Refusal(405, "UNSUPPORTED", "blobs of the engine's images go with these")
        self.storage.delete_blob(digest)


def _checked_name(name: str) -> str:
    if ":" in name:
        return _digest(name)
    if not _TAG.fullmatch(name):
        raise manifest_unknown(name)
    return name


def _digest(text: str) -> Digest:
    try:
        return digests.parse(text)
    except InvalidInput as error:
        raise Refusal(400, "DIGEST_INVALID", error.message) from None


def _object(content: bytes) -> dict[str, Any]:
    try:
        return dict(Document.parse(content, "manifest").members)
    except DataCorrupt:
        return {}


def _manifest(content: bytes, media_type: str) -> dict[str, Any]:
    """What a manifest says, its members of the right kind. Raises Refusal."""
    try:
        document = Document.parse(content, "manifest")
        stated = document.text("mediaType")
        if stated and media_type and stated != media_type:
            raise DataCorrupt(f"its media type is told to be {media_type[:200]}, it says {stated[:200]}")
        for name in ("config", "subject"):
            document.child(name)
        for name in ("layers", "manifests"):
            document.children(name)
    except DataCorrupt as error:
        raise Refusal(400, "MANIFEST_INVALID", error.message) from None
    return dict(document.members)


def _is_image(value: dict[str, Any], media_type: str) -> bool:
    kind = str(value.get("mediaType") or media_type)
    return kind in INDEXES or (kind in MANIFESTS and (value.get("config") or {}).get("mediaType") in _IMAGE_CONFIGS)


def page(names: Iterable[str], count: str, last: str, link: Callable[[str], str]) -> tuple[list[str], str]:
    """At most ``count`` of some sorted names, after ``last``; and the link to those that follow, '' for none. Raises
    Refusal."""
    rest = [name for name in names if name > last] if last else list(names)
    if not count:
        return rest, ""
    if not count.isdigit():
        raise Refusal(400, "PAGINATION_NUMBER_INVALID", f"n={count[:20]} is not a number")
    most = int(count)
    shown = rest[:most]
    return shown, link(shown[-1]) if shown and len(rest) > most else ""
