"""Descriptors, manifests and indexes: OCI image-spec 1.1 and Docker's image manifest version 2, schema 2.

Every size that a stranger states is bounded here, before anything is fetched or kept.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from corten.errors import DataCorrupt, InvalidInput, Unsupported
from corten.spec import digest as digests
from corten.spec.digest import Digest
from corten.spec.document import Document
from corten.spec.platform import Platform

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
_FOREIGN_LAYER = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"

INDEXES = (OCI_INDEX, DOCKER_INDEX)
MANIFESTS = (OCI_MANIFEST, DOCKER_MANIFEST)
_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+"

MAX_MANIFEST = 4 << 20
"""Bytes of a manifest or index; what registries agree on (OCI distribution-spec, "Pushing Manifests")."""
MAX_CONFIG = 8 << 20
MAX_LAYERS = 127
"""Overlay takes 500 lower directories, Docker stops at 127: an image beyond could not be run elsewhere."""
MAX_BLOB = 1 << 40


@dataclasses.dataclass(frozen=True, slots=True)
class Descriptor:
    """What a blob is, its digest and its size in bytes."""

    media_type: str
    digest: Digest
    size: int
    platform: Platform | None = None
    annotations: tuple[tuple[str, str], ...] = ()

    def annotation(self, name: str) -> str:
        """One annotation; '' when it is not there."""
        return dict(self.annotations).get(name, "")

    @property
    def is_distributed(self) -> bool:
        """Whether registries have it: layers of Windows may be its maker's alone to give away."""
        return self.media_type != _FOREIGN_LAYER and "nondistributable" not in self.media_type

    def encode(self) -> dict[str, Any]:
        """The JSON form."""
        value: dict[str, Any] = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        if self.platform:
            value["platform"] = _encode_platform(self.platform)
        if self.annotations:
            value["annotations"] = dict(self.annotations)
        return value


@dataclasses.dataclass(frozen=True, slots=True)
class Manifest:
    """One image for one platform: its configuration and its layers, lowest first."""

    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """What registries have of it, the configuration last: who has that has all."""
        return (*(layer for layer in self.layers if layer.is_distributed), self.config)

    def encode(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "schemaVersion": 2,
            "mediaType": self.media_type,
            "config": self.config.encode(),
            "layers": [layer.encode() for layer in self.layers],
        }


@dataclasses.dataclass(frozen=True, slots=True)
class Index:
    """Images for several platforms: an OCI index or Docker's manifest list."""

    media_type: str
    manifests: tuple[Descriptor, ...]


def decode_descriptor(document: Document) -> Descriptor:
    """A descriptor. Raises DataCorrupt for a bad digest or a size out of bounds."""
    size = document.number("size")
    if not 0 <= size <= MAX_BLOB:
        raise DataCorrupt(f"decode {document.what}: size {size} is out of bounds")
    platform = document.child("platform") if document.members.get("platform") else None
    return Descriptor(
        document.text("mediaType"),
        _digest(document),
        size,
        _decode_platform(platform) if platform else None,
        tuple(document.mapping("annotations").items()),
    )


def decode(content: bytes, media_type: str = "") -> Manifest | Index:
    """A manifest or index of either kind; ``media_type`` is what the registry called it ('' when unknown).

    A document whose own ``mediaType`` contradicts is refused (CVE-2021-41190: one content, two readings),
    as is one with both ``manifests`` and ``layers``. Raises DataCorrupt; Unsupported for what is no image.
    """
    value = decode_any(content, media_type)
    if isinstance(value, Manifest):
        _check_image(value)
    return value


def decode_any(content: bytes, media_type: str = "") -> Manifest | Index:
    """As :func:`decode`, also of what an index has beside its images: an attestation, a signature, a chart. Raises
    DataCorrupt and Unsupported."""
    document = Document.parse(content, "manifest")
    stated = document.text("mediaType")
    if media_type and stated and stated != media_type:
        raise DataCorrupt(f"decode manifest: the registry calls it {media_type}, it says {stated}")
    kind = stated or media_type or _guess(document)
    if {"manifests", "layers"} <= document.members.keys():
        raise DataCorrupt("decode manifest: it has both manifests and layers")
    if kind in INDEXES:
        return Index(kind, tuple(decode_descriptor(one) for one in document.children("manifests")))
    if kind in MANIFESTS:
        return _decode_manifest(document, kind)
    if kind.startswith(_SCHEMA_1) or document.number("schemaVersion") == 1:
        raise Unsupported(
            "decode manifest: Docker's image manifest schema 1 is no longer read by any current engine",
            hint="push the image again with a current tool",
        )
    raise Unsupported(f"decode manifest: media type {kind or 'unknown'} is not an image")


def _decode_manifest(document: Document, kind: str) -> Manifest:
    if "config" not in document.members:
        raise DataCorrupt("decode manifest: it has no config")
    config = decode_descriptor(document.child("config"))
    return Manifest(kind, config, tuple(decode_descriptor(one) for one in document.children("layers")))


def _check_image(manifest: Manifest) -> None:
    config, layers = manifest.config, manifest.layers
    if config.media_type not in (OCI_CONFIG, DOCKER_CONFIG):
        raise Unsupported(f"decode manifest: its config is {config.media_type}, not that of an image")
    if config.size > MAX_CONFIG:
        raise DataCorrupt(f"decode manifest: a config of {config.size} bytes is over the limit")
    if len(layers) > MAX_LAYERS:
        raise Unsupported(f"decode manifest: {len(layers)} layers are over the limit of {MAX_LAYERS}")
    for layer in layers:
        _check_layer(layer)


def _check_layer(layer: Descriptor) -> None:
    kind = layer.media_type
    if not layer.is_distributed:
        raise Unsupported(f"layer {digests.short(layer.digest)}: {kind} is not distributed by registries")
    if not kind.startswith((OCI_LAYER, DOCKER_LAYER)):
        raise Unsupported(f"layer {digests.short(layer.digest)}: {kind} is not a file system layer")


def _guess(document: Document) -> str:
    """OCI manifests need not name themselves; what they hold tells them apart."""
    if "manifests" in document.members:
        return OCI_INDEX
    return OCI_MANIFEST if "layers" in document.members and "config" in document.members else ""


def _digest(document: Document) -> Digest:
    try:
        return digests.parse(document.text("digest"))
    except InvalidInput as error:
        raise DataCorrupt(f"decode {document.what}: {error}") from None


def _decode_platform(document: Document) -> Platform:
    return Platform(*(document.text(name) for name in ("os", "architecture", "variant", "os.version")))


def _encode_platform(platform: Platform) -> dict[str, str]:
    value = {"architecture": platform.architecture, "os": platform.os}
    if platform.variant:
        value["variant"] = platform.variant
    if platform.os_version:
        value["os.version"] = platform.os_version
    return value
