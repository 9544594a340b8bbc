"""What of the engine is offered: repositories, their tags and manifests, and the files of their blobs."""

from __future__ import annotations

import dataclasses
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from corten.client import Client
from corten.errors import CortenError
from corten.hub.errors import Refusal
from corten.spec import digest as digests
from corten.spec import reference as references
from corten.spec.descriptor import Descriptor
from corten.spec.digest import Digest
from corten.spec.reference import DOCKER_HUB, Reference

_FRESH = 1.0
"""Seconds for which what the engine said is taken as it is."""


@dataclasses.dataclass(frozen=True, slots=True)
class Offer:
    """An image of the engine. ``packed`` is False where blobs must be made first."""

    id: str
    names: tuple[Reference, ...]
    manifests: Mapping[Digest, Descriptor]
    top: Descriptor
    blobs: frozenset[Digest]
    packed: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Offers:
    """All offers at one time."""

    directory: str
    """Where the engine has its blobs."""
    tags: Mapping[str, Mapping[str, Offer]]
    """By repository, by tag."""
    shown: tuple[str, ...]
    """The repositories under the names that are listed."""

    def manifest(self, repository: str, digest: Digest) -> Descriptor | None:
        """A manifest of a repository by its digest."""
        for offer in self.tags.get(repository, {}).values():
            if digest in offer.manifests:
                return offer.manifests[digest]
        return None

    def has_blob(self, digest: Digest) -> bool:
        """Whether a blob belongs to what is offered."""
        return any(digest in offer.blobs for tags in self.tags.values() for offer in tags.values())

    def path(self, digest: Digest) -> str:
        """The file of a blob."""
        return os.path.join(self.directory, *digests.split(digest))


class Catalog:
    """Asks the engine. ``only`` are the names of images that are offered; none is all. Methods may be called from
    several threads."""

    def __init__(self, connect: Callable[[], Client], only: Sequence[str] = ()) -> None:
        self._connect, self._only = connect, only
        self._lock = threading.Lock()
        self._known: tuple[float, Offers] | None = None

    def offers(self, *, fresh: bool = False) -> Offers:
        """What there is now. Raises Refusal when the engine does not answer."""
        with self._lock:
            if not fresh and self._known and time.monotonic() - self._known[0] < _FRESH:
                return self._known[1]
            try:
                with self._connect() as client:
                    told = client.get("/corten/images/contents", {"names": tuple(self._only)})
            except CortenError as error:
                raise Refusal(503, "UNAVAILABLE", f"the engine does not answer: {error.message}") from error
            found = _offers(told)
            self._known = (time.monotonic(), found)
            return found

    def packed(self, repository: str, tag: str) -> Offer | None:
        """The image of a tag, all of whose blobs are there. Raises Refusal."""
        offer = self.offers().tags.get(repository, {}).get(tag)
        if offer is None:
            offer = self.offers(fresh=True).tags.get(repository, {}).get(tag)
        if offer is None or offer.packed:
            return offer
        try:
            with self._connect() as client:
                client.post(f"/corten/images/{offer.id}/pack")
        except CortenError as error:
            raise Refusal(503, "UNAVAILABLE", error.message) from error
        return self.offers(fresh=True).tags.get(repository, {}).get(tag)

    def untag(self, offer: Offer, repository: str, tag: str) -> None:
        """Take a name away in the engine. Raises Refusal."""
        try:
            with self._connect() as client:
                for name in offer.names:
                    if name.tag == tag and repository in paths_of(name):
                        client.delete(f"/images/{name}", {"noprune": True})
        except CortenError as error:
            raise Refusal(409, "DENIED", error.message) from error
        self.offers(fresh=True)


def paths_of(name: Reference) -> list[str]:
    """The repositories that a name is found under, the one that is listed first."""
    found = [name.familiar_name if name.domain == DOCKER_HUB else name.path, name.path]
    if ":" not in name.domain:
        found.append(name.name)  # as a mirror of several registries has it
    return list(dict.fromkeys(found))


def _offers(told: Mapping[str, Any]) -> Offers:
    tags: dict[str, dict[str, Offer]] = {}
    shown = set()
    for image in told["Images"]:
        offer = _offer(image)
        for name in offer.names:
            shown.add(paths_of(name)[0])
            for path in paths_of(name):
                # Where two registries have the same name, the first of them in the alphabet is meant.
                tags.setdefault(path, {}).setdefault(name.tag, offer)
    return Offers(told["Directory"], tags, tuple(sorted(shown)))


def _offer(told: Mapping[str, Any]) -> Offer:
    manifests = {one.digest: one for one in _descriptors(told["Manifests"])}
    top = _descriptor(told["Top"])
    names = tuple(sorted(references.parse(name) for name in told["Names"]))
    blobs = frozenset(digests.parse(one) for one in told["Blobs"])
    return Offer(told["Id"], names, {**manifests, top.digest: top}, top, blobs, told["Packed"])


def _descriptors(values: Iterable[Mapping[str, Any]]) -> list[Descriptor]:
    return [_descriptor(value) for value in values]


def _descriptor(value: Mapping[str, Any]) -> Descriptor:
    return Descriptor(value["mediaType"], digests.parse(value["digest"]), value["size"])
