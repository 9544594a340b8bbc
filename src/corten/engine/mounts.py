"""The mounts that a container asks for: ``-v``, ``--mount``, ``--tmpfs``, ``VOLUME`` and ``--volumes-from``.

Pure: what is asked is parsed and checked here, volumes are made and paths looked at by who calls.
"""

from __future__ import annotations

import dataclasses
import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping

from corten.engine.model import (
    BindOptions,
    ContainerConfig,
    HostConfig,
    ImageOptions,
    MountPoint,
    MountRequest,
    VolumeDriver,
    VolumeOptions,
)
from corten.engine.names import volume_name
from corten.errors import InvalidInput
from corten.spec.runtime import WITHIN

_PROPAGATIONS = ("private", "rprivate", "shared", "rshared", "slave", "rslave")
_CONSISTENCIES = ("consistent", "cached", "delegated", "default")
_LABELS = ("z", "Z")


@dataclasses.dataclass(frozen=True, slots=True)
class Wanted:
    """One mount, before anything was made for it. ``source`` is a host path (bind), a name or '' (volume)."""

    type: str
    destination: str
    source: str = ""
    mode: str = ""
    writable: bool = True
    propagation: str = ""
    propagation_asked: bool = False
    create_source: bool = False
    """``-v`` makes a missing directory; ``--mount`` refuses."""
    copy: bool = True
    """Whether a new volume takes the image's content."""
    driver: str = ""
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    options: Mapping[str, str] = dataclasses.field(default_factory=dict)
    subpath: str = ""

    @property
    def anonymous(self) -> bool:
        """A volume without a name: one of the container's own."""
        return self.type == "volume" and not self.source


def wanted(config: ContainerConfig, host: HostConfig, mounts_of: Callable[[str], Iterable[MountPoint]]) -> list[Wanted]:
    """All mounts by destination. ``mounts_of`` tells those of a container (``--volumes-from``).

    Binds take the place of inherited mounts, an image's ``VOLUME`` yields to everything. Raises InvalidInput in
    Docker's words, for ``Duplicate mount point`` among others.
    """
    found: dict[str, Wanted] = {}
    for spec in host.volumes_from or ():
        found.update((one.destination, one) for one in _inherited(spec, mounts_of))
    explicit = [_with_driver(parse_bind(spec), host.volume_driver) for spec in host.binds or ()]
    explicit += [_request(mount) for mount in host.mounts or ()]
    tmpfs = [_destination(path) for path in host.tmpfs or ()]
    _refuse_duplicates([*(one.destination for one in explicit), *tmpfs])
    found.update((one.destination, one) for one in explicit)
    for path in config.volumes or ():
        destination = _destination(path)
        if destination not in found and destination not in tmpfs:
            found[destination] = Wanted("volume", destination, driver=host.volume_driver)
    return list(found.values())


def _with_driver(one: Wanted, driver: str) -> Wanted:
    """``--volume-driver`` holds for the volumes that ``-v`` makes."""
    return dataclasses.replace(one, driver=driver) if one.type == "volume" else one


def parse_bind(spec: str) -> Wanted:
    """Read ``[source:]destination[:options]``. Raises InvalidInput in Docker's words."""
    parts = spec.split(":")
    if len(parts) > 3 or not all(parts):
        raise InvalidInput(f"invalid volume specification: '{spec}'")
    if len(parts) == 1:
        return Wanted("volume", _destination(spec))
    source, destination, *rest = parts
    mode = rest[0] if rest else ""
    is_path = source.startswith("/")
    options = list(_mode(spec, mode, is_path))
    writable = "ro" not in options
    if not is_path:
        name = volume_name(source)
        copy = "nocopy" not in options
        return Wanted("volume", _destination(destination), name, mode or "z", writable, "", copy=copy)
    propagation = next((one for one in options if one in _PROPAGATIONS), "rprivate")
    asked = any(one in _PROPAGATIONS for one in options)
    return Wanted("bind", _destination(destination), _clean(source), mode, writable, propagation, asked, True)


def _mode(spec: str, mode: str, is_path: bool) -> Iterator[str]:
    known = {"ro", "rw", *_LABELS, *_CONSISTENCIES} | (set(_PROPAGATIONS) if is_path else {"nocopy"})
    seen: set[str] = set()
    for option in mode.split(",") if mode else ():
        kind = _kind(option)
        if option not in known or kind in seen:
            cause = f"invalid mode: {mode}"
            if option in _PROPAGATIONS and not is_path:
                cause = 'invalid mount config for type "volume": field BindOptions must not be specified'
            raise InvalidInput(f"invalid volume specification: '{spec}': {cause}")
        seen.add(kind)
        yield option


def _kind(option: str) -> str:
    """Options of one kind exclude each other."""
    for kind in (("ro", "rw"), _PROPAGATIONS, _CONSISTENCIES, _LABELS):
        if option in kind:
            return kind[0]
    return option


def _request(mount: MountRequest) -> Wanted:
    """One ``--mount``."""
    if not mount.target:
        raise InvalidInput(f'invalid mount config for type "{mount.type}": field Target must not be empty')
    destination = _destination(mount.target)
    _refuse_options_of_others(mount)
    match mount.type:
        case "bind":
            return _bind_request(mount, destination)
        case "volume":
            return _volume_request(mount, destination)
        case "image":
            return _image_request(mount, destination)
        case "tmpfs":
            _refuse(mount, "Source", bool(mount.source))
            return Wanted("tmpfs", destination, writable=not mount.read_only)
    raise InvalidInput(f'invalid mount config: mount type unknown: "{mount.type}"')


def _refuse_options_of_others(mount: MountRequest) -> None:
    """Each type of mount has options of its own. Raises InvalidInput in Docker's words."""
    for kind, options in (("bind", mount.bind_options), ("volume", mount.volume_options),
                          ("tmpfs", mount.tmpfs_options), ("image", mount.image_options)):  # fmt: skip
        if options is not None and kind != mount.type:
            _refuse(mount, f"{kind.capitalize()}Options", present=True)


def _bind_request(mount: MountRequest, destination: str) -> Wanted:
    options = mount.bind_options or BindOptions()
    if not mount.source:
        raise InvalidInput('invalid mount config for type "bind": field Source must not be empty')
    if not mount.source.startswith("/"):
        raise InvalidInput(
            f"invalid mount config for type \"bind\": invalid mount path: '{mount.source}' mount path must be absolute"
        )
    _refuse_recursion(mount, options)
    propagation = options.propagation or "rprivate"
    if propagation not in _PROPAGATIONS:
        raise InvalidInput(f'invalid mount config for type "bind": invalid propagation mode: {propagation}')
    asked, create = bool(options.propagation), options.create_mountpoint
    return Wanted("bind", destination, _clean(mount.source), "", not mount.read_only, propagation, asked, create)


def _refuse_recursion(mount: MountRequest, options: BindOptions) -> None:
    """Read-only all the way down is the rule; what is said of it must not contradict itself."""
    shallow, forced = options.read_only_non_recursive, options.read_only_force_recursive
    for asked, name in ((shallow, "ReadOnlyNonRecursive"), (forced, "ReadOnlyForceRecursive")):
        if asked and not mount.read_only:
            raise InvalidInput(f"mount options conflict: !ReadOnly && BindOptions.{name}")
    if shallow and forced:
        raise InvalidInput("mount options conflict: ReadOnlyNonRecursive && BindOptions.ReadOnlyForceRecursive")


def _volume_request(mount: MountRequest, destination: str) -> Wanted:
    options = mount.volume_options or VolumeOptions()
    driver = options.driver_config or VolumeDriver()
    return Wanted(
        "volume",
        destination,
        volume_name(mount.source) if mount.source else "",
        "z",
        not mount.read_only,
        copy=not options.no_copy,
        driver=driver.name,
        labels=options.labels or {},
        options=driver.options or {},
        subpath=_subpath(options.subpath),
    )


def _image_request(mount: MountRequest, destination: str) -> Wanted:
    if not mount.source:
        raise InvalidInput('invalid mount config for type "image": field Source must not be empty')
    subpath = _subpath((mount.image_options or ImageOptions()).subpath, "image")
    return Wanted("image", destination, mount.source, writable=False, copy=False, subpath=subpath)


def _subpath(path: str, kind: str = "volume") -> str:
    if path.startswith("/") or ".." in path.split("/"):
        raise InvalidInput(f'invalid mount config for type "{kind}": invalid subpath: {path}')
    return path.strip("/")


def _refuse(mount: MountRequest, field: str, present: bool) -> None:
    if present:
        raise InvalidInput(f'invalid mount config for type "{mount.type}": field {field} must not be specified')


def _inherited(spec: str, mounts_of: Callable[[str], Iterable[MountPoint]]) -> Iterator[Wanted]:
    """The mounts of another container, ``name[:ro|rw]``."""
    ref, _, mode = spec.partition(":")
    if mode not in ("", "ro", "rw", *_LABELS):
        raise InvalidInput(f"invalid mode: {mode}")
    for mount in mounts_of(ref):
        source = mount.source if mount.type == "bind" else mount.name
        inside = "" if mount.type == "bind" else mount.source.partition(WITHIN)[2]
        writable = mount.rw and mode != "ro"
        yield Wanted(mount.type, mount.destination, source, mode or mount.mode, writable, mount.propagation, copy=False,
                     subpath=inside)  # fmt: skip


def _refuse_duplicates(destinations: list[str]) -> None:
    seen: set[str] = set()
    for destination in destinations:
        if destination in seen:
            raise InvalidInput(f"Duplicate mount point: {destination}")
        seen.add(destination)


def _destination(path: str) -> str:
    if not path.startswith("/"):
        raise InvalidInput(f"invalid mount path: '{path}' mount path must be absolute")
    if _clean(path) == "/":
        raise InvalidInput("invalid specification: destination can't be '/'")
    return _clean(path)


def _clean(path: str) -> str:
    return "/" + posixpath.normpath(path).lstrip("/")
