"""Making containers: what was asked for is merged with the image, checked, and recorded; all or nothing."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol

import msgspec

from corten.engine import (
    health,
    honoured,
    in_vain,
    legacy_links,
    log_config,
    merge,
    mounts,
    names,
    privileges,
    propagation,
    signals,
)
from corten.engine.clock import now
from corten.engine.container_network import (
    joined,
    requested_ports,
    settled_networking,
    sole_network,
    without_effect,
)
from corten.engine.homes import Homes
from corten.engine.limits import settle, validate
from corten.engine.means import Means
from corten.engine.model import (
    Container,
    ContainerConfig,
    CreateRequest,
    HostConfig,
    LogConfig,
    MountPoint,
    NetworkingConfig,
)
from corten.engine.mounts import Wanted
from corten.engine.paths import Paths
from corten.engine.records import Records
from corten.engine.runtime_config import by_id, shared_container, validate_modes
from corten.engine.standbys import Standbys
from corten.engine.volume_mounts import is_mounted_at_start
from corten.engine.volumes import Volumes
from corten.errors import CortenError, InvalidInput, NotFound
from corten.network import files
from corten.runtime.stages.context import open_source
from corten.spec import platform as platforms
from corten.spec.image import Image
from corten.spec.platform import Platform
from corten.spec.runtime import WITHIN
from corten.store.layers import LayerStore

_NEW_VOLUMES = "new-volumes"
_ULIMITS = frozenset(
    "as core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack".split()
)




class Images(Protocol):
    """What creating a container needs of the images."""

    def resolve(self, text: str, /) -> Image:
        """The image of a reference or ID. Raises NotFound, InvalidInput."""


Populate = Callable[[Container, list[tuple[str, str]]], Awaitable[None]]


@dataclasses.dataclass(frozen=True, slots=True)
class Creation:
    """Makes the containers of one engine."""

    records: Records
    images: Images
    volumes: Volumes
    homes: Homes
    paths: Paths
    means: Means
    standbys: Standbys
    populate: Populate
    """Copies the image's content into new volumes: (path in the container, directory of the volume)."""
    check_directory: Callable[[Container, str], Awaitable[None]]
    """Raises InvalidInput where a working directory would be something else in the image."""
    log: LogConfig
    """The log of a container that asks for none."""
    network_name: Callable[[str], str] = str
    """The name of a network by whatever names it; what it says itself, when there is none."""
    network_warnings: Callable[[Iterable[str]], Iterable[str]] = lambda _: ()
    """What is to be said of networks that a container joins."""
    machine: Platform = dataclasses.field(default_factory=lambda: platforms.of_machine(os.uname().machine))

    async def create(
        self, request: CreateRequest, name: str | None, platform: str | None, *, shallow_read_only: bool = False,
        of_build: bool = False,
    ) -> tuple[Container, list[str]]:  # fmt: skip
        """A new container, recorded durably unless it is ``--rm``, and Docker's warnings. ``shallow_read_only`` and
        ``of_build``: see :class:`Container`.

        Raises NotFound (image, platform), Conflict (name), InvalidInput, CortenError; nothing is left then.
        """
        request, discarded = in_vain.offline(request)
        validate(request.host())  # before the image is looked for, which a client would pull
        image = self._image(request.image, platform)
        name = names.container_name(name) if name else names.random_name(self.records.names())
        with contextlib.ExitStack() as undo:
            network = sole_network(request.host(), request.networking_config or NetworkingConfig())
            id = self.standbys.reserve(network, _likeness(image, request))
            undo.callback(self.standbys.release, id)
            container, warnings = self._container(id, name, request, image)
            wanted = mounts.wanted(container.config, container.host, lambda ref: self._named(ref).mounts)
            for mode in (container.host.pid_mode, container.host.ipc_mode):
                if ref := shared_container(mode):
                    self._named(ref)
            self.records.reserve(name, id)
            undo.callback(self.records.release, name)
            container = await self._furnish(container, wanted, undo)
            if request.config().working_dir and container.config.working_dir != image.config.working_dir:
                await self.check_directory(container, container.config.working_dir)
            container = msgspec.structs.replace(container, shallow_read_only=shallow_read_only, of_build=of_build)
            self.records.put(container, durable=not container.host.auto_remove and not of_build)
            undo.pop_all()
        return container, [*discarded, *warnings, *self._warnings(container, image, platform)]

    def _named(self, ref: str) -> Container:
        """A container that the request names: where there is none, the request is wrong. Raises InvalidInput."""
        try:
            return self.records.find(ref)
        except NotFound as error:
            raise InvalidInput(error.message) from None

    def _image(self, reference: str, platform: str | None) -> Image:
        if not reference:
            raise InvalidInput("invalid reference format")
        image = self.images.resolve(reference)
        if platform:
            wanted = platforms.parse(platform, self.machine)
            if platforms.choose([image.platform], wanted) is None:
                raise NotFound(
                    f"image with reference {reference} was found but its platform ({image.platform}) does not match "
                    f"the specified platform ({wanted})"
                )
        return image

    def _container(self, id: str, name: str, request: CreateRequest, image: Image) -> tuple[Container, list[str]]:
        config = merge.merge(request.config(), image.config)
        host, placed = self.means.place(request.host())
        honoured.refuse(host, config, request.networking_config or NetworkingConfig())
        host, left_out = self.means.settle(host)
        discarded = list(honoured.warnings(host))
        validate_modes(host, request.config())
        host = _settled_host(honoured.settle(host), config, self.log)
        host = legacy_links.settled(by_id(host, self.records.find), name, self.records.find)
        config = _named(config, host, id)
        _validate(config)
        argv = merge.command_line(config)
        container = Container(
            id=id,
            name=name,
            created=now(),
            image=image.id,
            config=config,
            host=host,
            networking=settled_networking(
                host, request.networking_config or NetworkingConfig(), self.network_name
            ),
            path=argv[0],
            args=argv[1:],
            layers=[LayerStore.short(chain_id) for chain_id in image.chain_ids],
        )
        return container, [*placed, *left_out, *discarded]

    async def _furnish(self, container: Container, wanted: list[Wanted], undo: contextlib.ExitStack) -> Container:
        """Make the container's directory and volumes; ``undo`` takes them back."""
        directory = self.paths.container(container.id)
        undo.callback(self.homes.bury, container.id)
        try:
            self.homes.make(container.id)
        except OSError as error:
            raise CortenError.from_os("create", str(directory), error) from error
        fresh: list[tuple[str, str]] = []
        points = [self._mount(one, directory, fresh, undo) for one in wanted]
        container = msgspec.structs.replace(container, mounts=points)
        if fresh:
            await self.populate(container, fresh)
        return container

    def _mount(
        self, wanted: Wanted, directory: Path, fresh: list[tuple[str, str]], undo: contextlib.ExitStack
    ) -> MountPoint:
        if wanted.type == "volume":
            return self._volume(wanted, directory, fresh, undo)
        if wanted.type == "image":
            return self._image_mount(wanted)
        if wanted.type == "bind":
            _check_source(wanted)
            asked = wanted.propagation if wanted.propagation_asked else ""
            if propagation.concerns(wanted.source, str(self.paths.root)):
                wanted = dataclasses.replace(wanted, propagation=propagation.of_data_root(wanted.source, asked))
        return MountPoint(
            wanted.type, wanted.destination, wanted.source, mode=wanted.mode, rw=wanted.writable,
            propagation=wanted.propagation,
        )  # fmt: skip

    def _volume(
        self, wanted: Wanted, directory: Path, fresh: list[tuple[str, str]], undo: contextlib.ExitStack
    ) -> MountPoint:
        name = wanted.source or names.new_id()
        is_new = name not in {volume.name for volume in self.volumes.list()}
        if is_new:
            _note_new_volume(directory, name)
        volume = self.volumes.create(
            name, driver=wanted.driver, options=wanted.options, labels=wanted.labels, anonymous=wanted.anonymous
        )
        if is_new:
            undo.callback(self.volumes.discard, volume.name)
        place = self.volumes.source(volume.name)
        if not os.path.isdir(place):
            raise CortenError(f"failed to mount local volume {volume.name}: mount {place}: no such file or directory")
        source = f"{place}{WITHIN}{wanted.subpath}" if wanted.subpath else place
        if not is_mounted_at_start(volume):
            _check_inside(source, volume.name)
            if wanted.copy and not wanted.subpath and not os.listdir(source):
                fresh.append((wanted.destination, source))
        return MountPoint(
            "volume", wanted.destination, source, volume.name, volume.driver, wanted.mode, wanted.writable
        )

    def _image_mount(self, wanted: Wanted) -> MountPoint:
        """The files of another image, as they are. What is mounted at the start is its name, layers and all."""
        image = self.images.resolve(wanted.source)
        source = f"{image.id}{WITHIN}{wanted.subpath}" if wanted.subpath else image.id
        return MountPoint("image", wanted.destination, source, wanted.source, rw=False)

    def clear_unfinished(self) -> None:
        """Take back what an engine that was killed had made of containers that were never recorded."""
        for id in os.listdir(self.paths.containers):
            if id in self.records:
                continue
            directory = self.paths.container(id)
            with contextlib.suppress(FileNotFoundError):
                for name in (directory / _NEW_VOLUMES).read_text().split():
                    self.volumes.discard_unused(name)
            self.homes.bury(id)

    def _warnings(self, container: Container, image: Image, platform: str | None) -> Iterator[str]:
        if not platform and platforms.choose([image.platform], self.machine) is None:
            yield (
                f"The requested image's platform ({image.platform}) does not match the detected host platform "
                f"({self.machine}) and no specific platform was requested"
            )
        yield from in_vain.warnings(container.host, container.config)
        yield from self.network_warnings(joined(container))
        yield from without_effect(container)


def _likeness(image: Image, request: CreateRequest) -> object:
    """What is asked for that has a say in how a container starts, beside its command and its network."""
    host = msgspec.structs.replace(request.host(), port_bindings=None, auto_remove=False, container_id_file="")
    own = (request.user, request.working_dir, request.hostname, request.domainname, request.tty, request.open_stdin)
    return image.id, host, own


def _settled_host(host: HostConfig, config: ContainerConfig, log: LogConfig) -> HostConfig:
    privileges.validate(host)
    hidden = privileges.security(host).unconfined_paths
    host = settle(host, unconfined_paths=hidden)
    requested_ports(host, config)
    if host.extra_hosts:  # malformed ones are refused here, not at the start
        files.hosts_file(extra=host.extra_hosts, gateway="127.0.0.1")
    for ulimit in host.ulimits or ():
        if ulimit.name not in _ULIMITS:
            raise InvalidInput(f"invalid ulimit type: {ulimit.name}")
        if ulimit.hard != -1 and not 0 <= ulimit.soft <= ulimit.hard:
            raise InvalidInput(
                f"ulimit soft limit must be less than or equal to hard limit: {ulimit.soft} > {ulimit.hard}"
            )
    return msgspec.structs.replace(host, log_config=log_config.settle(host.log_config, log))


def _named(config: ContainerConfig, host: HostConfig, id: str) -> ContainerConfig:
    """The host name: the short ID, unless the network (and with it the name) is somebody else's. Raises InvalidInput
    for a name where it cannot be given one."""
    if config.hostname and (host.uts_mode == "host" or shared_container(host.network_mode)):
        whose = "UTS mode" if host.uts_mode == "host" else "network mode"
        raise InvalidInput(f"conflicting options: hostname and the {whose}")
    if host.network_mode == "host" or host.uts_mode == "host":
        return msgspec.structs.replace(config, hostname=config.hostname or os.uname().nodename)
    if shared_container(host.network_mode):
        return config
    return msgspec.structs.replace(config, hostname=config.hostname or id[:12])


def _validate(config: ContainerConfig) -> None:
    if config.working_dir and not config.working_dir.startswith("/"):
        raise InvalidInput(f"the working directory '{config.working_dir}' is invalid, it needs to be an absolute path")
    for variable in config.env or ():
        if not variable or variable.startswith("=") or "\0" in variable:
            raise InvalidInput(f"invalid environment variable: {variable}")
    health.validate(config.healthcheck)
    if config.stop_signal:
        signals.parse(config.stop_signal)


def _note_new_volume(directory: Path, name: str) -> None:
    """Before it is made: an engine that is killed then leaves it to the next one, to take back. Raises CortenError."""
    try:
        with (directory / _NEW_VOLUMES).open("a") as file:
            file.write(f"{name}\n")
    except OSError as error:
        raise CortenError.from_os("write", str(directory / _NEW_VOLUMES), error) from error


def _check_inside(source: str, volume: str) -> None:
    try:
        os.close(open_source(source))
    except OSError as error:
        cause = os.strerror(error.errno or 0).lower()
        raise InvalidInput(f"mount volume {volume}: cannot access {source.replace(WITHIN, '/')}: {cause}") from None


def _check_source(wanted: Wanted) -> None:
    if wanted.create_source:
        try:
            os.makedirs(wanted.source, exist_ok=True)
        except FileExistsError:  # a file may be mounted, too
            return
        except OSError as error:
            raise InvalidInput(
                f"error while creating mount source path '{wanted.source}': {os.strerror(error.errno or 0).lower()}"
            ) from None
    elif not os.path.exists(wanted.source):
        raise InvalidInput(f'invalid mount config for type "bind": bind source path does not exist: {wanted.source}')
