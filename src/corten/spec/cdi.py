"""Specifications of the Container Device Interface (CDI): what a container is given to use a device.

Source: the CDI specification, versions 0.1.0 to 1.1.0. A file is of one kind, ``vendor/class``, and has devices, each
with edits of a container's configuration; the file's own edits are made once for all of its devices. What a file holds
that the specification has not is refused: it may be what the device needs. :func:`decode` takes parsed JSON or YAML.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from corten.errors import InvalidInput

_MOST = 100_000
"""Values in a file: a few lines of YAML can stand for more than any memory holds."""
_VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0", "1.0.0", "1.1.0")
_PART = re.compile(r"[A-Za-z]([A-Za-z0-9_.-]*[A-Za-z0-9])?")
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.:-]*[A-Za-z0-9])?")
_LONGEST_CLASS, _LONGEST_VENDOR = 63, 253
_Id = Annotated[int, Meta(ge=0, lt=2**32 - 1)]
Text = Annotated[str, Meta(min_length=1)]


class _Value(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A part of a file."""


class Node(_Value, frozen=True):
    """A device node. What is not said of it is as the host's node has it."""

    path: Text
    host_path: str = ""
    """'' for the same path."""
    type: Literal["", "b", "c", "u", "p"] = ""
    major: Annotated[int, Meta(ge=0, lt=1 << 12)] = 0
    minor: Annotated[int, Meta(ge=0, lt=1 << 20)] = 0
    file_mode: Annotated[int, Meta(ge=0, le=0o7777)] | None = None
    permissions: Annotated[str, Meta(pattern=r"^[rwm]*\Z")] = ""
    """What the container may do with it: read, write, make nodes of it; '' for all of these."""
    uid: _Id | None = None
    gid: _Id | None = None


class Mount(_Value, frozen=True):
    """A mount; ``options`` as fstab has them."""

    host_path: Text
    container_path: Text
    options: tuple[str, ...] = ()
    type: str = ""


class Hook(_Value, frozen=True):
    """A program that the container's runtime is to run."""

    hook_name: Literal["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]
    path: Text
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    timeout: Annotated[int, Meta(gt=0)] | None = None
    """Seconds."""


class Edits(_Value, frozen=True):
    """What is to be another in a container's configuration."""

    env: tuple[Annotated[str, Meta(pattern="^[^=]+=")], ...] = ()
    device_nodes: tuple[Node, ...] = ()
    net_devices: tuple[dict[str, Any], ...] = ()
    mounts: tuple[Mount, ...] = ()
    hooks: tuple[Hook, ...] = ()
    intel_rdt: dict[str, Any] | None = None
    additional_gids: tuple[_Id, ...] = ()

    def __add__(self, other: Edits) -> Edits:
        return Edits(
            self.env + other.env, self.device_nodes + other.device_nodes, self.net_devices + other.net_devices,
            self.mounts + other.mounts, self.hooks + other.hooks,
            self.intel_rdt if other.intel_rdt is None else other.intel_rdt,
            self.additional_gids + other.additional_gids,
        )  # fmt: skip


class _Device(_Value, frozen=True):
    name: Text
    container_edits: Edits
    annotations: dict[str, str] = {}


class _File(_Value, frozen=True):
    cdi_version: str
    kind: str
    devices: Annotated[tuple[_Device, ...], Meta(min_length=1)]
    container_edits: Edits = Edits()
    annotations: dict[str, str] = {}


class Device(msgspec.Struct, frozen=True):
    """One device that can be asked for: ``name`` is ``vendor/class=name``, ``common`` are the edits of its file, which
    ``origin`` names. Its own annotations go before those of the file."""

    name: str
    origin: str
    edits: Edits = Edits()
    common: Edits = Edits()
    annotations: dict[str, str] = {}

    @property
    def kind(self) -> str:
        """``vendor/class``."""
        return self.name.partition("=")[0]


def is_qualified(text: str) -> bool:
    """Whether this is a full name of a device: ``vendor/class=name``."""
    kind, _, name = text.partition("=")
    return is_kind(kind) and _NAME.fullmatch(name) is not None


def is_kind(text: str) -> bool:
    """Whether this is a ``vendor/class``."""
    vendor, _, name = text.partition("/")
    return _PART.fullmatch(vendor) is not None and _PART.fullmatch(name) is not None


def merged(devices: Iterable[Device]) -> Edits:
    """The edits of several devices in their order, those of each file once."""
    edits, seen = Edits(), set()
    for device in devices:
        if device.origin not in seen:
            seen.add(device.origin)
            edits += device.common
        edits += device.edits
    return edits


def decode(value: object, origin: str) -> tuple[Device, ...]:
    """The devices of one file, which ``origin`` names. Raises InvalidInput for one that is not as specified."""
    try:
        file = msgspec.convert(_tidied(value, [_MOST]), _File)
    except (msgspec.ValidationError, RecursionError) as error:
        raise InvalidInput(str(error) if isinstance(error, msgspec.ValidationError) else "too deep") from error
    _check(file)
    return tuple(
        Device(
            f"{file.kind}={one.name}", origin, one.container_edits, file.container_edits,
            {**file.annotations, **one.annotations},
        )
        for one in file.devices
    )  # fmt: skip


def _tidied(value: object, left: list[int]) -> object:
    """Without what is null, which is as good as not said."""
    left[0] -= 1
    if left[0] < 0:
        raise InvalidInput(f"more than {_MOST} values")
    if isinstance(value, str) and "\0" in value:
        raise InvalidInput("a NUL in a text")
    if isinstance(value, dict):
        return {key: _tidied(one, left) for key, one in value.items() if one is not None}
    return [_tidied(one, left) for one in value] if isinstance(value, list) else value


def _check(file: _File) -> None:
    version = file.cdi_version.removeprefix("v")
    if version not in _VERSIONS:
        raise InvalidInput(f"cdiVersion {file.cdi_version!r} is none of {', '.join(_VERSIONS)}")
    vendor, _, name = file.kind.partition("/")
    if not is_kind(file.kind) or len(name) > _LONGEST_CLASS or len(vendor) > _LONGEST_VENDOR:
        raise InvalidInput(f"kind {file.kind!r} is not a vendor/class")
    names = [one.name for one in file.devices]
    for one in names:
        if not is_qualified(f"{file.kind}={one}"):
            raise InvalidInput(f"{one!r} is no name of a device")
        if names.count(one) > 1:
            raise InvalidInput(f"device {one} is there twice")
    needed = max(("0.3.0", *_needed(file)), key=_VERSIONS.index)
    if _VERSIONS.index(needed) > max(_VERSIONS.index(version), _VERSIONS.index("0.3.0")):
        raise InvalidInput(f"cdiVersion {version} has not what is asked for: that is of {needed}")
    for edits in (file.container_edits, *(one.container_edits for one in file.devices)):
        for path in (*(node.path for node in edits.device_nodes), *(one.container_path for one in edits.mounts)):
            if not path.startswith("/") or posixpath.normpath(path).strip("/") == "":
                raise InvalidInput(f"{path!r} is not an absolute path of a container")
        if wrong := [hook.path for hook in edits.hooks if not hook.path.startswith("/")]:
            raise InvalidInput(f"the path of a hook, {wrong[0]!r}, is not absolute")


def _needed(file: _File) -> Iterator[str]:
    """The versions that brought what is in use."""
    yield "0.6.0" if file.annotations or "." in file.kind.partition("/")[2] else "0.3.0"
    for one in file.devices:
        yield "0.6.0" if one.annotations else "0.5.0" if not one.name[0].isalpha() else "0.3.0"
    for edits in (file.container_edits, *(one.container_edits for one in file.devices)):
        if any(mount.type for mount in edits.mounts):
            yield "0.4.0"
        if any(node.host_path for node in edits.device_nodes):
            yield "0.5.0"
        if edits.intel_rdt or edits.additional_gids:
            yield "0.7.0"
        if edits.net_devices:
            yield "1.1.0"
