"""Root file systems for builds: to look into, and to run a command in, as a container of the engine's.

Containers of builds are in no list. They are removed when their command has ended, when the build is given up, and by
the next engine when this one dies.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Sequence

import msgspec

from corten.build.ground import Command, Output
from corten.build.state import Layer
from corten.engine.build_mounts import Mounted
from corten.engine.cdi import request_of
from corten.engine.creation import Creation
from corten.engine.homes import Homes
from corten.engine.lifecycle import Lifecycle
from corten.engine.logs import follow
from corten.engine.model import Container, ContainerConfig, CreateRequest, HostConfig, LogConfig
from corten.engine.names import new_id
from corten.engine.removal import Removal
from corten.errors import CortenError, NotFound
from corten.spec import digest as digests
from corten.spec.descriptor import OCI_MANIFEST, Descriptor
from corten.spec.digest import Digest
from corten.spec.image import Image, ImageConfig, ImageDocument
from corten.spec.platform import Platform
from corten.store.layers import LayerStore

_REMEMBERED = 1 << 16
"""Bytes of a command's output that an error may quote."""


class CommandFailed(CortenError):
    """A RUN ended with another status than 0: ``code``; ``last`` are the last lines that it wrote."""

    def __init__(self, shown: str, code: int, last: str) -> None:
        super().__init__(f"The command '{shown}' returned a non-zero code: {code}")
        self.code, self.last = code, last


@dataclasses.dataclass(frozen=True, slots=True)
class Terms:
    """What holds for all commands of a build: limits and the like, of which ``host`` is made."""

    host: HostConfig
    platform: Platform


@dataclasses.dataclass(frozen=True, slots=True)
class Rooms:
    """Those of one engine."""

    creation: Creation
    lifecycle: Lifecycle
    removal: Removal
    homes: Homes

    @contextlib.asynccontextmanager
    async def looking(self, layers: Sequence[Layer]) -> AsyncIterator[Container]:
        """A container that nobody knows and that never starts: what its root shows."""
        id = new_id()
        room = Container(
            id=id, name=id, created="", image="", config=ContainerConfig(), host=HostConfig(), path="", args=[],
            layers=_shorts(layers),
        )  # fmt: skip
        self.homes.make(id)
        try:
            yield room
        finally:
            self.lifecycle.lives.forget(id)
            self.homes.bury(id)

    @contextlib.asynccontextmanager
    async def ran(
        self, layers: Sequence[Layer], command: Command, mounted: Mounted, terms: Terms, output: Output
    ) -> AsyncIterator[Container]:
        """A container in which a command has ended well. Raises CommandFailed, and why it could not be started."""
        container = await self._created(layers, command, mounted, terms)
        try:
            output.say(f" ---> Running in {container.id[:12]}")
            await self._run(container, command, output)
            yield self.lifecycle.records.get(container.id)
        finally:
            await asyncio.shield(self._remove(container.id))
        output.say(f" ---> Removed intermediate container {container.id[:12]}")

    async def _created(
        self, layers: Sequence[Layer], command: Command, mounted: Mounted, terms: Terms
    ) -> Container:
        image = _image(layers, terms.platform, command.working_directory)
        creation = dataclasses.replace(self.creation, images=_Only(image))
        container, _ = await creation.create(_request(image, command, mounted, terms), None, None, of_build=True)
        return container

    async def _run(self, container: Container, command: Command, output: Output) -> None:
        live = self.lifecycle.lives.of(container)
        cursor, runs = live.feed.at_end(), live.feed.runs
        ended = live.wait("next-exit")
        last = bytearray()
        try:
            await self.lifecycle.start(container)
            async for entry in follow(live.feed, cursor, live=True, runs=runs):
                output.wrote(entry.stream, entry.data)
                last += entry.data
                del last[:-_REMEMBERED]
        finally:
            cursor.close()
        how = await ended
        if how.code != 0:
            raise CommandFailed(command.shown, how.code, last.decode(errors="replace"))

    async def _remove(self, id: str) -> None:
        with contextlib.suppress(NotFound):
            await self.removal.remove(self.lifecycle.records.get(id), force=True, volumes=True)


@dataclasses.dataclass(frozen=True, slots=True)
class _Only:
    """The one image that there is: that of a step, which is in no store."""

    image: Image

    def resolve(self, text: str, /) -> Image:
        return self.image


def _image(layers: Sequence[Layer], platform: Platform, working_directory: str) -> Image:
    """An image of these layers. Its working directory is the command's: WORKDIR has made it, or refused to."""
    diff_ids = tuple(Digest(layer.diff_id) for layer in layers)
    document = ImageDocument("", "", "", platform, ImageConfig(working_dir=working_directory), diff_ids, ())
    id = digests.of("\n".join(diff_ids).encode())
    return Image(id, document, b"", Descriptor(OCI_MANIFEST, id, 0), (), ())


def _request(image: Image, command: Command, mounted: Mounted, terms: Terms) -> CreateRequest:
    host = msgspec.structs.replace(
        terms.host,
        log_config=LogConfig("json-file", {"max-size": "-1"}),
        network_mode=command.network,
        mounts=list(mounted.mounts) or None,
        privileged=command.privileged,
        device_requests=request_of(command.devices),
    )
    environment = {**command.hidden, **command.variables, **mounted.variables}
    return CreateRequest(
        image=image.id,
        cmd=list(command.words),
        entrypoint=[],
        env=[f"{name}={value}" for name, value in environment.items()],
        user=command.user,
        hostname=command.hostname,
        working_dir=command.working_directory,
        host_config=host,
    )


def _shorts(layers: Sequence[Layer]) -> list[str]:
    chain = digests.chain_ids(Digest(layer.diff_id) for layer in layers)
    return [LayerStore.short(one) for one in chain]
