"""Devices of the host that a container sees, and what the device cgroup allows of them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator

from corten.engine.model import Device as DeviceRequest
from corten.engine.model import HostConfig
from corten.errors import InvalidInput
from corten.spec.runtime import Device, DeviceRule, Mount

# What every container may use: to make any node; the nodes of /dev; terminals (runc, AllowedDevices).
_ALWAYS = (
    DeviceRule(True, "c", -1, -1, "m"),
    DeviceRule(True, "b", -1, -1, "m"),
    *(DeviceRule(True, "c", 1, minor, "rwm") for minor in (3, 5, 7, 8, 9)),
    DeviceRule(True, "c", 5, 0, "rwm"),
    DeviceRule(True, "c", 5, 1, "rwm"),
    DeviceRule(True, "c", 5, 2, "rwm"),
    DeviceRule(True, "c", 136, -1, "rwm"),
)
_EVERYTHING = (DeviceRule(True, "a", -1, -1, "rwm"),)
_NOTHING = DeviceRule(False, "a", -1, -1, "rwm")
# Made by the runtime, or a file system of the container's own.
_OWN = frozenset({"console", "full", "null", "ptmx", "random", "tty", "urandom", "zero"})
_OWN_TREES = frozenset({"fd", "mqueue", "pts", "shm", ".lxc", ".lxd-mounts", ".udev"})


def devices(host: HostConfig) -> tuple[tuple[Device, ...], tuple[DeviceRule, ...]]:
    """The nodes to make and the rules of the cgroup. Raises InvalidInput for a device that is not there."""
    if host.privileged:
        return tuple(_all_of_host("/dev")), _EVERYTHING
    asked = [pair for request in host.devices or () for pair in _requested(request)]
    rules = [_rule(text) for text in host.device_cgroup_rules or ()]
    allowed = [_allowing(device, access) for device, access in asked]
    return tuple(device for device, _ in asked), (_NOTHING, *_ALWAYS, *allowed, *rules)


def binds(host: HostConfig) -> Iterator[Mount]:
    """The same devices, shown from the host: a user namespace cannot make nodes, and what may be done with one is what
    its mode lets the user do. Raises InvalidInput for a device that is not there."""
    pairs = [(device.path, device.path) for device in _all_of_host("/dev")] if host.privileged else _sources(host)
    for source, target in pairs:
        yield Mount(target, "bind", source, ("bind", "rprivate"))


def _sources(host: HostConfig) -> Iterator[tuple[str, str]]:
    """(path on the host, path in the container)"""
    for request in host.devices or ():
        above, inside = request.path_on_host, request.path_in_container or request.path_on_host
        for device, _ in _requested(request):
            yield os.path.normpath(os.path.join(above, os.path.relpath(device.path, inside))), device.path


def _requested(request: DeviceRequest) -> Iterator[tuple[Device, str]]:
    """One ``--device``: a node, or every node of a directory."""
    access = request.cgroup_permissions or "rwm"
    if set(access) - set("rwm"):
        raise InvalidInput(f"invalid device mode: {access}")
    source, target = request.path_on_host, request.path_in_container or request.path_on_host
    if os.path.isdir(source):
        found = [(os.path.join(target, os.path.relpath(one.path, source)), one) for one in _all_of_host(source)]
        if not found:
            raise _no_device(source, "not a device node")
        for path, device in found:
            yield _moved(device, path), access
        return
    yield _moved(_node(source), target), access


def _moved(device: Device, path: str) -> Device:
    return Device(device.type, path, device.major, device.minor, device.file_mode, device.uid, device.gid)


def _no_device(path: str, cause: str) -> InvalidInput:
    return InvalidInput(f'error gathering device information while adding custom device "{path}": {cause}')


def _node(path: str) -> Device:
    try:
        device = _inspect(path, os.stat(path))
    except OSError as error:
        raise _no_device(path, os.strerror(error.errno or 0).lower()) from None
    if device is None:
        raise _no_device(path, "not a device node")
    return device


def _inspect(path: str, status: os.stat_result) -> Device | None:
    kind = {stat.S_IFCHR: "c", stat.S_IFBLK: "b"}.get(stat.S_IFMT(status.st_mode))
    if kind is None:
        return None
    numbers = os.major(status.st_rdev), os.minor(status.st_rdev)
    return Device(kind, path, *numbers, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)


def _all_of_host(directory: str) -> Iterator[Device]:
    """Every device node below a directory; a node that goes meanwhile is left out."""
    try:
        entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            if entry.name not in _OWN_TREES:
                yield from _all_of_host(entry.path)
        elif not (directory == "/dev" and entry.name in _OWN):
            yield from _nodes([entry])


def _nodes(entries: Iterable[os.DirEntry[str]]) -> Iterator[Device]:
    for entry in entries:
        try:
            device = _inspect(entry.path, entry.stat(follow_symlinks=False))
        except FileNotFoundError:
            continue
        if device is not None:
            yield device


def _allowing(device: Device, access: str) -> DeviceRule:
    return DeviceRule(True, device.type, device.major, device.minor, access)


def _rule(text: str) -> DeviceRule:
    """One ``--device-cgroup-rule``: ``c 42:* rmw``. Raises InvalidInput."""
    try:
        kind, numbers, access = text.split()
        major, minor = (-1 if number == "*" else int(number) for number in numbers.split(":"))
    except ValueError:
        raise InvalidInput(f"invalid device cgroup rule format: '{text}'") from None
    if kind not in "abc" or set(access) - set("rwm"):
        raise InvalidInput(f"invalid device cgroup rule format: '{text}'")
    return DeviceRule(True, kind, major, minor, access)
