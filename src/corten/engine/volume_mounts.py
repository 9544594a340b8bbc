"""What is mounted on the host for a container's start: volumes that have a file system of their own, and images.

A volume's file system is mounted where its directory is, with the first container that runs with it, and is taken down
with the last, as Docker does: those that run at the same time share it. An image's layers are mounted only while a
start opens them: what the container has of them then is its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import errno
import ipaddress
import os
import socket
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from corten.engine.model import Container, MountPoint, Volume
from corten.engine.paths import Paths
from corten.engine.shelf import Shelf
from corten.errors import CortenError, NotFound
from corten.runtime.operations import options as mount_options
from corten.spec.image import Image
from corten.spec.runtime import WITHIN
from corten.store.layers import LayerStore
from corten.sys.mounts import MNT_DETACH, MS_BIND, MS_RDONLY, MS_REMOUNT, mount, umount

_LONGEST_DATA = 4095
"""Bytes of mount(2)'s last argument: a page with its NUL."""


class Volumes(Protocol):
    """What is needed of the volumes."""

    def get(self, name: str) -> Volume:
        """A volume. Raises NotFound."""


class Images(Protocol):
    """What is needed of the images."""

    def resolve(self, text: str, /) -> Image:
        """The image of an ID. Raises NotFound."""


def is_mounted_at_start(volume: Volume) -> bool:
    """Whether a volume has a file system of its own; a directory of the host (``o=bind``) is none."""
    return bool(volume.options) and "bind" not in volume.options.get("o", "").split(",")


def image_of(point: MountPoint) -> str:
    """The ID of the image that a mount of type ``image`` shows."""
    return point.source.partition(WITHIN)[0]


def images_of(container: Container) -> list[str]:
    """The IDs of the images that a container needs: its own, and those that it mounts."""
    return [container.image, *(image_of(point) for point in container.mounts if point.type == "image")]


@dataclasses.dataclass(slots=True)
class HostMounts:
    """Those of one engine's containers."""

    volumes: Volumes
    images: Images
    containers: Iterable[Container]
    paths: Paths
    user_xattrs: bool
    shelf: Shelf
    holders: dict[str, set[str]] = dataclasses.field(default_factory=dict)
    """Who has a volume's file system, by its name."""
    lock: asyncio.Lock = dataclasses.field(default_factory=asyncio.Lock)

    # --- volumes

    async def hold(self, container: Container) -> None:
        """Mount what the container's volumes want, where it is not mounted yet. Raises CortenError."""
        for volume in self._own(container):
            async with self.lock:  # a server of a network's file system may take its time
                if not os.path.ismount(volume.mountpoint):
                    await asyncio.to_thread(_mount_volume, volume)
                self.holders.setdefault(volume.name, set()).add(container.id)

    def adopt(self, container: Container) -> None:
        """The container runs already, with what an earlier engine mounted."""
        for volume in self._own(container):
            self.holders.setdefault(volume.name, set()).add(container.id)

    def release(self, container: Container) -> None:
        """The container does not run any more, or was not started."""
        for number, point in enumerate(container.mounts):
            if point.type == "image":  # an engine may have been killed in the midst of a start
                _unmount(str(image_place(self.paths, container, number)))
        for volume in self._own(container):
            self.holders.get(volume.name, set()).discard(container.id)
            if not self._is_held(volume.name, but=container.id) and os.path.ismount(volume.mountpoint):
                umount(volume.mountpoint, MNT_DETACH)

    def _own(self, container: Container) -> Iterator[Volume]:
        for point in container.mounts:
            with contextlib.suppress(NotFound):
                if point.type == "volume" and is_mounted_at_start(volume := self.volumes.get(point.name)):
                    yield volume

    def _is_held(self, name: str, but: str = "") -> bool:
        """Whether a container has it: one that was started here, or one of an earlier engine's that is yet to be
        adopted."""
        return bool(self.holders.get(name)) or any(
            one.state.running and one.id != but and any(point.name == name for point in one.mounts)
            for one in self.containers
        )

    # --- images

    @contextlib.asynccontextmanager
    async def shown(self, container: Container) -> AsyncIterator[None]:
        """Images that the container mounts are where :func:`placed` says, within the block. Raises CortenError."""
        async with contextlib.AsyncExitStack() as stack:
            for number, point in enumerate(container.mounts):
                if point.type == "image":
                    await stack.enter_async_context(self._image(container, point, number))
            yield

    @contextlib.asynccontextmanager
    async def _image(self, container: Container, point: MountPoint, number: int) -> AsyncIterator[None]:
        place = image_place(self.paths, container, number)
        shorts = [LayerStore.short(one) for one in self.images.resolve(image_of(point)).chain_ids]
        try:
            place.mkdir(mode=0o755, exist_ok=True)
            _unmount(str(place))  # of an engine that was killed here
            if self.shelf.are_copied(shorts):
                await self._copy(shorts, place)
            elif self.shelf.has_files(shorts):
                await self.shelf.show(shorts, str(place.relative_to(self.paths.root)))
            else:
                self._show(shorts, container, place, point)
        except OSError as error:
            raise CortenError.from_os(f"mount image {point.name} at", point.destination, error) from error
        try:
            yield
        finally:
            _unmount(str(place))

    async def _copy(self, shorts: Sequence[str], place: Path) -> None:
        """A copy of the container's own, which goes with it."""
        copy = place.with_name(f"{place.name}.files")
        await self.shelf.copy(shorts, str(copy.relative_to(self.paths.root)))
        mount(str(copy), str(place), flags=MS_BIND)
        mount("", str(place), flags=MS_BIND | MS_REMOUNT | MS_RDONLY)

    def _show(self, shorts: Sequence[str], container: Container, place: Path, point: MountPoint) -> None:
        lowers = [str(self.paths.root / "layers" / short / "fs") for short in reversed(shorts)]
        if len(lowers) == 1:  # an overlay has two at least: overlayfs.rst, "Multiple lower layers"
            lowers.append(str(self.paths.container(container.id) / "merged"))
        _show(lowers, str(place), point.name, user_xattrs=self.user_xattrs)


def image_place(paths: Paths, container: Container, number: int) -> Path:
    """Where the image of a container's mount is shown while it starts."""
    return paths.container(container.id) / f"image-{number}"


def placed(container: Container, paths: Paths) -> Container:
    """The container with mounts of images where a start finds them."""
    if not any(point.type == "image" for point in container.mounts):
        return container
    points = [
        msgspec.structs.replace(point, source=_source(point, image_place(paths, container, number)))
        if point.type == "image" else point
        for number, point in enumerate(container.mounts)
    ]  # fmt: skip
    return msgspec.structs.replace(container, mounts=points)


def _source(point: MountPoint, place: Path) -> str:
    _, within, inside = point.source.partition(WITHIN)
    return f"{place}{within}{inside}"


def _show(lowers: list[str], place: str, name: str, *, user_xattrs: bool) -> None:
    """The layers, highest first. Without a layer to write to, nobody who finds it mounted can harm them."""
    paths = ":".join(path.replace("\\", "\\\\").replace(":", "\\:") for path in lowers)
    data = f"lowerdir={paths}" + (",userxattr" if user_xattrs else "")
    if len(data.encode()) > _LONGEST_DATA:
        raise CortenError(f"mount image {name}: its {len(lowers)} layers are more than one mount takes from here")
    mount("overlay", place, "overlay", MS_RDONLY, data)


def _unmount(place: str) -> None:
    if os.path.ismount(place):
        umount(place, MNT_DETACH)


def _mount_volume(volume: Volume) -> None:
    """mount(8)'s way with the driver's options. Raises CortenError in Docker's words."""
    options = volume.options
    device, kind = options.get("device", ""), options.get("type", "")
    parsed = mount_options.parse(_resolved(one) for one in options.get("o", "").split(",") if one)
    try:
        mount(device, volume.mountpoint, kind, parsed.flags, parsed.data)
    except OSError as error:
        shown = ",".join("password=********" if one.startswith("password=") else one for one in parsed.data.split(","))
        raise CortenError(
            f"error while mounting volume '{volume.mountpoint}': failed to mount local volume: mount "
            f"{device}:{volume.mountpoint}, data: {shown}: {os.strerror(error.errno or 0).lower()}",
            hint=f"this machine's kernel has no file system {kind}" if error.errno == errno.ENODEV else "",
        ) from error


def _resolved(option: str) -> str:
    """The kernel takes an address where mount.nfs(8) takes a name."""
    name, equals, host = option.partition("=")
    if name != "addr" or not equals:
        return option
    try:
        ipaddress.ip_address(host)
    except ValueError:
        try:
            return f"addr={socket.getaddrinfo(host, None)[0][4][0]}"
        except OSError as error:
            raise CortenError(f"error resolving passed in network volume address: {error.strerror}") from error
    return option
