"""Devices by the Container Device Interface: the files of its directories, and what a container is given by them.

The files are the administrator's, and trusted as far as he is: they name what of the host is shown. One that cannot be
read is a warning, in the log and in ``info``. Loaded when first one of these is asked for.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import posixpath
import stat
from collections.abc import Iterator, Sequence

from corten.engine.model import Container, DeviceRequest, HostConfig
from corten.errors import InvalidInput, Unsupported
from corten.spec import cdi
from corten.spec.cdi import Edits, Node
from corten.spec.runtime import HOOK_NAMES, Device, DeviceRule, Hook, Hooks, Mount
from corten.sys.standing import Standing

DRIVER = "cdi"
_log = logging.getLogger("corten")
_LONGEST = 1 << 20
"""Bytes of a file: those of machines with many devices have some hundred thousand."""
_MOST_FILES = 1000
_NO_HOOKS = Hooks()
_FAILED = "CDI device injection failed"
_PROPAGATION = frozenset(
    {"shared", "rshared", "slave", "rslave", "private", "rprivate", "unbindable", "runbindable"}
)  # fmt: skip
_LATE = ("poststart", "poststop")
"""Points at which nobody is there to run a hook: a monitor outlives its engine, and has no programs of the host."""
_MODE = 0o666
"""Of a node for which nothing else is said, as runc makes it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Injected:
    """What a container is given for its devices."""

    env: tuple[str, ...] = ()
    nodes: tuple[Device, ...] = ()
    rules: tuple[DeviceRule, ...] = ()
    mounts: tuple[Mount, ...] = ()
    groups: tuple[int, ...] = ()
    hooks: Hooks = _NO_HOOKS


class Cdi:
    """The devices that the files of some directories describe; of two files with the same device, that of the later
    directory is meant, and of two in the same directory none."""

    def __init__(self, directories: Sequence[str]) -> None:
        self.directories = tuple(directories)
        self._read: dict[str, tuple[object, tuple[cdi.Device, ...], str]] = {}
        """By path: what the file was, its devices, or why it has none."""
        self._told: set[str] = set()

    def devices(self) -> dict[str, cdi.Device]:
        """By name, in the order of the names."""
        return self.listed()[0]

    def edits(self, names: Sequence[str]) -> Edits:
        """What these devices need. Raises InvalidInput for one that is not there, Unsupported for what is not done
        here."""
        known = self.devices()
        if missing := [name for name in names if name not in known]:
            raise InvalidInput(
                f"{_FAILED}: unresolvable CDI devices {', '.join(missing)}",
                hint=f"devices are described in {' and '.join(self.directories)}: see corten info",
            )
        edits = cdi.merged(known[name] for name in names)
        lacking = {
            **{f"{one.hook_name} hooks": True for one in edits.hooks if one.hook_name in _LATE},
            "netDevices": edits.net_devices,
            "intelRdt": edits.intel_rdt is not None,
        }
        if asked := [what for what, is_asked in lacking.items() if is_asked]:
            raise Unsupported(
                f"{_FAILED}: {', '.join(names)}: {' and '.join(asked)} of a specification are not supported here"
            )
        return edits

    def places(self, names: Sequence[str]) -> tuple[str, ...]:
        """Where something is shown for these devices. Raises as :meth:`edits`."""
        edits = self.edits(names)
        return (*(one.container_path for one in edits.mounts), *(node.path for node in edits.device_nodes))

    def injected(self, container: Container, standing: Standing) -> Injected:
        """What a container is given. Raises as :meth:`edits`, and InvalidInput for a node that is not there, or for
        what the user of ``standing`` cannot give."""
        edits = self.edits(requested(container.host))
        nodes = [_node(node, container.config.user) for node in edits.device_nodes]
        mounts = tuple(_mount(one) for one in edits.mounts)
        if standing.initial:
            rules = tuple(_rules(edits.device_nodes, nodes))
            return Injected(edits.env, tuple(nodes), rules, mounts, edits.additional_gids, _hooks(edits))
        for gid in edits.additional_gids:
            if not standing.has_gid(gid):
                raise InvalidInput(
                    f"{_FAILED}: group {gid} is not among those that this user's containers have",
                    hint="an administrator grants groups in /etc/subgid",
                )
        shown = tuple(_bind(node, device) for node, device in zip(edits.device_nodes, nodes, strict=True))
        return Injected(edits.env, (), (), (*shown, *mounts), edits.additional_gids, _hooks(edits))

    # --- files

    def listed(self) -> tuple[dict[str, cdi.Device], list[str]]:
        """The devices by name, in the order of the names, and what is wrong with the files, in dockerd's words, which
        is logged when it is new."""
        found: dict[str, cdi.Device] = {}
        files: dict[str, tuple[object, tuple[cdi.Device, ...], str]] = {}
        warnings = []
        for directory in self.directories:
            own: dict[str, cdi.Device] = {}
            clashes = set()
            for path in _files(directory):
                files[path] = _, devices, problem = self._file(path)
                if problem:
                    warnings.append(f"CDI: Error associated with spec file {path}: {problem}")
                for device in devices:
                    if (other := own.setdefault(device.name, device)) is not device:
                        clashes.add(device.name)
                        told = f'conflicting device "{device.name}" (specs "{other.origin}", "{path}")'
                        warnings.append(f"CDI: Error associated with spec file {path}: {told}")
            found |= own
            for name in clashes:
                del found[name]
        self._read = files
        for warning in warnings:
            if warning not in self._told:
                _log.warning("%s", warning)
        self._told = set(warnings)
        return dict(sorted(found.items())), warnings

    def _file(self, path: str) -> tuple[object, tuple[cdi.Device, ...], str]:
        """As read before, if it is as it was then."""
        try:
            # Without O_NONBLOCK a FIFO of that name would keep the engine waiting.
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            return None, (), os.strerror(error.errno or 0).lower()
        try:
            return self._opened(path, descriptor)
        except OSError as error:
            return None, (), os.strerror(error.errno or 0).lower()
        finally:
            os.close(descriptor)

    def _opened(self, path: str, descriptor: int) -> tuple[object, tuple[cdi.Device, ...], str]:
        status = os.fstat(descriptor)
        seen = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        if path in self._read and self._read[path][0] == seen:
            return self._read[path]
        if not stat.S_ISREG(status.st_mode) or status.st_size > _LONGEST:
            return seen, (), f"it is not a file of at most {_LONGEST} bytes"
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(_LONGEST)
        try:
            return seen, cdi.decode(_parsed(path, content), path), ""
        except InvalidInput as error:
            return seen, (), error.message


def requested(host: HostConfig) -> list[str]:
    """The names of the devices that a container asks for, each once. Raises InvalidInput for what has no meaning
    here."""
    names: dict[str, None] = {}
    for request in host.device_requests or ():
        if request.driver != DRIVER:
            continue
        for present, what in ((request.count, "count"), (request.options, "options")):
            if present:
                raise InvalidInput(f"{_FAILED}: unexpected {what} in CDI device request")
        names.update(dict.fromkeys(request.device_ids or ()))
    return list(names)


def request_of(names: Sequence[str]) -> list[DeviceRequest] | None:
    """The same the other way round, as the docker command line sends it."""
    return [DeviceRequest(driver=DRIVER, device_ids=list(names))] if names else None


def _files(directory: str) -> list[str]:
    """A directory that is not there has none."""
    try:
        with os.scandir(directory) as entries:
            names = sorted(entry.name for entry in entries if entry.name.endswith((".json", ".yaml", ".yml")))
    except OSError:
        return []
    return [posixpath.join(directory, name) for name in names[:_MOST_FILES]]


def _parsed(path: str, content: bytes) -> object:
    """Raises InvalidInput."""
    try:
        text = content.decode()
        if path.endswith(".json"):
            return json.loads(text)
        import yaml

        try:
            # libyaml takes a seventh of the time, and goes no deeper than a thousand levels.
            return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506  # both are safe
        except yaml.YAMLError as error:
            raise InvalidInput(" ".join(str(error).split())) from error
    except RecursionError as error:
        raise InvalidInput("too deep") from error
    except ValueError as error:
        raise InvalidInput(str(error)) from error


# --- edits


def _node(node: Node, user: str) -> Device:
    """What is not said of a node is as on the host. Raises InvalidInput for one that is not there, or is another."""
    kind, major, minor = str(node.type), node.major, node.minor
    if not kind or (major == 0 and kind != "p"):
        host = node.host_path or node.path
        found, numbers = _on_host(host)
        if kind and _family(kind) != found:
            raise InvalidInput(f'{_FAILED}: CDI device ("{node.path}", "{host}"), host type mismatch ({kind}, {found})')
        kind, (major, minor) = kind or found, numbers
    own_user, _, own_group = user.partition(":")
    uid = node.uid if node.uid is not None else int(own_user) if own_user.isdecimal() else 0
    gid = node.gid if node.gid is not None else int(own_group) if own_group.isdecimal() else 0
    mode = _MODE if node.file_mode is None else node.file_mode
    return Device(kind, _inside(node.path), major, minor, mode, uid, gid)


def _on_host(path: str) -> tuple[str, tuple[int, int]]:
    try:
        status = os.lstat(path)
    except OSError as error:
        cause = os.strerror(error.errno or 0).lower()
        raise InvalidInput(f'{_FAILED}: failed to stat CDI host device "{path}": {cause}') from None
    kind = {stat.S_IFCHR: "c", stat.S_IFBLK: "b", stat.S_IFIFO: "p"}.get(stat.S_IFMT(status.st_mode))
    if kind is None:
        raise InvalidInput(f'{_FAILED}: failed to stat CDI host device "{path}": not a device node')
    return kind, (os.major(status.st_rdev), os.minor(status.st_rdev))


def _rules(nodes: Sequence[Node], devices: Sequence[Device]) -> Iterator[DeviceRule]:
    """A pipe is no device: what its mode allows is all there is to it."""
    for node, device in zip(nodes, devices, strict=True):
        if device.type != "p":
            yield DeviceRule(True, _family(device.type), device.major, device.minor, node.permissions or "rwm")


def _family(kind: str) -> str:
    """An unbuffered device is a character device."""
    return "c" if kind == "u" else kind


def _inside(path: str) -> str:
    return "/" + posixpath.normpath(path).lstrip("/")


def _bind(node: Node, device: Device) -> Mount:
    """The host's node, where none can be made: only the very same, whose mode and owner stay the host's."""
    host = node.host_path or node.path
    kind, numbers = _on_host(host)
    is_same = (kind, numbers) == (_family(device.type), (device.major, device.minor))
    if not is_same and not (kind == device.type == "p"):
        raise InvalidInput(
            f"{_FAILED}: {host} is not the device {device.major}:{device.minor}",
            hint="an ordinary user's engine makes no device nodes: it shows the host's",
        )
    return Mount(device.path, "bind", host, ("bind", "rprivate"))


def _mount(one: cdi.Mount) -> Mount:
    """A type is a file system's, or none: a bind then, as most specifications have it."""
    options = list(one.options)
    path = _inside(one.container_path)
    if one.type not in ("", "bind", "none") and not {"bind", "rbind"} & set(options):
        return Mount(path, one.type, one.host_path, tuple(options))
    if not {"bind", "rbind"} & set(options):
        options.insert(0, "rbind")
    if not _PROPAGATION & set(options):
        options.append("rprivate")
    return Mount(path, "bind", one.host_path, tuple(options))


def _hooks(edits: Edits) -> Hooks:
    found: dict[str, tuple[Hook, ...]] = {}
    for one in edits.hooks:
        place = HOOK_NAMES[one.hook_name]
        found[place] = (*found.get(place, ()), Hook(one.path, one.args, one.env, one.timeout))
    return Hooks(**found)
