"""An image's configuration (OCI's and Docker's differ in extensions only) and the image itself."""

from __future__ import annotations

import dataclasses
import datetime

from corten.errors import DataCorrupt, InvalidInput
from corten.spec import digest as digests
from corten.spec.descriptor import Descriptor
from corten.spec.digest import Digest
from corten.spec.document import Document
from corten.spec.platform import Platform
from corten.spec.reference import Reference


@dataclasses.dataclass(frozen=True, slots=True)
class Healthcheck:
    """How a container's health is tested; durations are nanoseconds."""

    test: tuple[str, ...] = ()
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class ImageConfig:
    """What a container of the image starts with. None is "not set", which differs from empty for lists."""

    user: str = ""
    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    working_dir: str = ""
    labels: dict[str, str] = dataclasses.field(default_factory=dict)
    exposed_ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    stop_signal: str = ""
    healthcheck: Healthcheck | None = None
    shell: tuple[str, ...] | None = None
    on_build: tuple[str, ...] = ()
    args_escaped: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One step of an image's making; ``created`` is RFC 3339 or ''."""

    created: str = ""
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class ImageDocument:
    """The whole configuration document of an image (OCI image-spec, config.md)."""

    created: str
    author: str
    comment: str
    platform: Platform
    config: ImageConfig
    diff_ids: tuple[Digest, ...]
    history: tuple[HistoryEntry, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Image:
    """An image of the store: its ID is the digest of its configuration document."""

    id: Digest
    document: ImageDocument
    raw: bytes
    """The configuration document, to the byte."""
    manifest: Descriptor
    """The manifest's descriptor; the manifest itself is a blob of the store."""
    layers: tuple[Descriptor, ...]
    """The layers as blobs, lowest first."""
    layer_sizes: tuple[int, ...]
    """Bytes of each layer's files, unpacked."""
    references: tuple[Reference, ...] = ()
    tagged_at: str = ""
    """RFC 3339 time of the last tag; '' when it has never been tagged here."""
    parent: str = ""
    """The ID of the image that this one was made from here; '' for one that came from elsewhere."""
    index: Descriptor | None = None
    """The index of several platforms that it came in, a blob of the store as well; None when it came in none."""
    own_manifest: bool = False
    """Whether the manifest was written here: what came with one keeps that to the byte."""

    @property
    def config(self) -> ImageConfig:
        """What a container starts with."""
        return self.document.config

    @property
    def created(self) -> str:
        """RFC 3339 time of the image's making; '' when the image does not say."""
        return self.document.created

    @property
    def created_unix(self) -> int:
        """Seconds since the epoch; Docker shows its zero time as a negative number, and so is it here."""
        return unix_seconds(self.document.created)

    @property
    def created_ns(self) -> int:
        """The same in nanoseconds."""
        _, _, fraction = self.document.created.partition(".")
        digits = fraction[: len(fraction) - len(fraction.lstrip("0123456789"))]
        return self.created_unix * 1_000_000_000 + int(digits.ljust(9, "0")[:9])

    @property
    def architecture(self) -> str:
        """In Go's names: ``amd64``."""
        return self.document.platform.architecture

    @property
    def os(self) -> str:
        """``linux``."""
        return self.document.platform.os

    @property
    def variant(self) -> str:
        """The architecture's variant: ``v7``, or ''."""
        return self.document.platform.variant

    @property
    def platform(self) -> Platform:
        """What the image runs on."""
        return self.document.platform

    @property
    def diff_ids(self) -> tuple[Digest, ...]:
        """Digests of the uncompressed layers, lowest first."""
        return self.document.diff_ids

    @property
    def chain_ids(self) -> tuple[Digest, ...]:
        """The chain ID of each layer, lowest first."""
        return digests.chain_ids(self.document.diff_ids)

    @property
    def size(self) -> int:
        """Bytes of all its layers, unpacked."""
        return sum(self.layer_sizes)

    @property
    def repo_tags(self) -> list[str]:
        """Familiar names with tags, sorted."""
        return sorted(one.familiar for one in self.references if not one.digest)

    @property
    def repo_digests(self) -> list[str]:
        """Familiar names with digests, sorted."""
        return sorted(one.familiar for one in self.references if one.digest)


def decode(content: bytes) -> ImageDocument:
    """The configuration document. Raises DataCorrupt naming the member that is wrong."""
    document = Document.parse(content, "image config")
    return ImageDocument(
        created=_time(document),
        author=document.text("author"),
        comment=document.text("comment"),
        platform=_platform(document),
        config=_config(document.child("config")),
        diff_ids=_diff_ids(document.child("rootfs")),
        history=tuple(_history(entry) for entry in document.children("history")),
    )


def unix_seconds(time: str) -> int:
    """Seconds since the epoch of an RFC 3339 time; that of Docker's zero time for ''."""
    moment = datetime.datetime.fromisoformat(time or "0001-01-01T00:00:00+00:00")
    return int(moment.timestamp())


def _platform(document: Document) -> Platform:
    return Platform(
        document.text("os") or "linux",
        document.text("architecture"),
        document.text("variant"),
        document.text("os.version"),
    )


def _config(document: Document) -> ImageConfig:
    return ImageConfig(
        user=document.text("User"),
        env=document.texts("Env"),
        entrypoint=_optional(document, "Entrypoint"),
        cmd=_optional(document, "Cmd"),
        working_dir=document.text("WorkingDir"),
        labels=document.mapping("Labels"),
        exposed_ports=document.keys("ExposedPorts"),
        volumes=document.keys("Volumes"),
        stop_signal=document.text("StopSignal"),
        healthcheck=_healthcheck(document),
        shell=_optional(document, "Shell"),
        on_build=document.texts("OnBuild"),
        args_escaped=document.flag("ArgsEscaped"),
    )


def _optional(document: Document, name: str) -> tuple[str, ...] | None:
    return document.texts(name) if document.members.get(name) is not None else None


def _healthcheck(document: Document) -> Healthcheck | None:
    if document.members.get("Healthcheck") is None:
        return None
    check = document.child("Healthcheck")
    return Healthcheck(
        check.texts("Test"),
        check.number("Interval"),
        check.number("Timeout"),
        check.number("StartPeriod"),
        check.number("StartInterval"),
        check.number("Retries"),
    )


def _diff_ids(document: Document) -> tuple[Digest, ...]:
    if document.text("type") not in ("layers", ""):
        raise DataCorrupt(f"decode {document.what}: type {document.text('type')!r} is not layers")
    try:
        return tuple(digests.parse(one) for one in document.texts("diff_ids"))
    except InvalidInput as error:
        raise DataCorrupt(f"decode {document.what}: {error}") from None


def _history(document: Document) -> HistoryEntry:
    return HistoryEntry(
        _time(document),
        document.text("created_by"),
        document.text("author"),
        document.text("comment"),
        document.flag("empty_layer"),
    )


def _time(document: Document) -> str:
    text = document.text("created")
    try:
        unix_seconds(text)
    except (ValueError, OverflowError):
        raise DataCorrupt(f"decode {document.what}: created {text[:80]!r} is not a time") from None
    return text
