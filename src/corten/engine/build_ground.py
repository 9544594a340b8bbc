"""The engine, as a build sees it: see :class:`corten.build.ground.Ground`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

import msgspec

from corten.build.copying import Found, Rows
from corten.build.files import Entry
from corten.build.ground import Command, Files, Output, Record, Spool
from corten.build.indexing import carried, uncarried
from corten.build.instructions import HereDocument
from corten.build.reasons import differences
from corten.build.state import Layer, State, of_image
from corten.engine.archives import Archives
from corten.engine.build_cache import BuildCache, CacheEntry
from corten.engine.build_client import BuildClient
from corten.engine.build_files import BuildFiles, FileSpool
from corten.engine.build_layers import BuildLayers, Hold
from corten.engine.build_mounts import BuildMounts
from corten.engine.build_rooms import Rooms, Terms
from corten.engine.build_turns import Turns
from corten.engine.cdi import Cdi
from corten.engine.clock import format_seconds, now
from corten.engine.images import Images
from corten.engine.workshop import Workshop
from corten.errors import NotFound, Unsupported
from corten.spec import platform as platforms
from corten.spec import reference
from corten.spec.cdi import Device
from corten.spec.image import Image
from corten.spec.platform import Platform

if TYPE_CHECKING:
    from corten.engine.build_contexts import Contexts
    from corten.engine.build_exchange import Imported


@dataclasses.dataclass(frozen=True, slots=True)
class Means:
    """What all builds of an engine share."""

    images: Images
    layers: BuildLayers
    cache: BuildCache
    rooms: Rooms
    archives: Archives
    mounts: BuildMounts
    workshop: Workshop
    """What the works of builds are done in; open while there is a build."""
    cdi: Cdi
    """Devices by name."""
    turns: Turns = dataclasses.field(default_factory=Turns)


@dataclasses.dataclass(slots=True)
class BuildGround:
    """That of one build."""

    means: Means
    files: BuildFiles
    hold: Hold
    terms: Terms
    platform: Platform
    own: Files
    """The context."""
    pull: bool = False
    auths: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)
    epoch_seconds: int | None = None
    contexts: Contexts | None = None
    """What a client has besides: further contexts, secrets, agents, what it remembers of the last time."""
    imported: Imported | None = None
    """Caches that the client has given."""
    used: dict[str, CacheEntry] = dataclasses.field(default_factory=dict)
    """By key, what this build had of the cache, or put there."""
    _pulled: dict[tuple[str, str], State] = dataclasses.field(default_factory=dict)

    @property
    def client(self) -> BuildClient | None:
        """Who answers for files, secrets and agents."""
        return self.contexts.client if self.contexts else None

    # --- images

    async def image(self, name: str, platform: str, output: Output) -> State:
        """The image of a name: one that is here, unless the build is to ask the registry; else pulled."""
        known = self._pulled.get((name, platform))
        if known is None:
            known = await self.state(await self._found(name, platform, output))
            self._pulled[name, platform] = known
        return known

    async def _found(self, name: str, platform: str, output: Output) -> Image:
        wanted = platforms.parse(platform, self.platform) if platform else self.platform
        found = None if self.pull else self.means.images.find_named(name)
        if found is not None and (not platform or platforms.choose([found.platform], wanted) is not None):
            return found
        asked = platform or str(wanted)
        return await self.means.images.pull(name, asked, self._auth(name), output.status)

    def _auth(self, name: str) -> Mapping[str, str] | None:
        domain = reference.parse(name).domain
        for host in (domain, *(("https://index.docker.io/v1/", "index.docker.io") if domain == "docker.io" else ())):
            if host in self.auths:
                return self.auths[host]
        return None

    async def state(self, image: Image) -> State:
        """The state that an image is."""
        layers = self.means.layers.of_image(image)
        if not await self.means.layers.present(self.hold, layers):
            raise NotFound(f"No such image: {image.id}")
        return of_image(image.raw, layers, image.platform, image.id)

    # --- files

    async def context(self) -> Files:
        """The context."""
        return self.own

    @property
    def context_names(self) -> tuple[str, ...]:
        """The names of further contexts."""
        return self.contexts.names if self.contexts else ()

    async def named_context(self, name: str) -> Files:
        """A named context that is a directory."""
        if self.contexts is None:
            raise NotFound(f"no context is named {name}")
        return await self.contexts.files(name, self.files)

    async def context_image(self, name: str, output: Output) -> State | None:
        """The image that a named context is."""
        return await self.contexts.image(name, self, output) if self.contexts else None

    async def gathered(self, layers: Sequence[Layer], sources: Sequence[str]) -> Files:
        """What the sources name in a root."""
        async with self.means.rooms.looking(layers) as room:
            archive = await self.means.archives.gather(room, [carried(source) for source in sources])
            return await self.files.index(archive)

    async def documents(self, documents: Sequence[HereDocument]) -> Files:
        """Here-documents as files."""
        return self.files.documents(documents, self.moment())

    async def unpacked(self, files: Files, path: str) -> Files | None:
        """The files of an archive."""
        return await self.files.unpacked(files, path)

    async def fetched(self, url: str, checksum: str, *, keep_git_directory: bool | None) -> tuple[Files, bool]:
        """What a URL names."""
        from corten.engine.build_remote import fetched

        return await fetched(self.files, url, checksum, keep_git_directory=keep_git_directory, client=self.client)

    async def digested(self, files: Files, rows: Rows) -> Rows:
        """The rows, each with its digest."""
        assert isinstance(files.spool, FileSpool)
        return await files.spool.digested(rows)

    async def look(
        self, layers: Sequence[Layer], path: str, names: Sequence[str], owner: str
    ) -> tuple[Found, tuple[int, int] | None]:
        """What is at a place of a root."""
        if not layers:
            return _nothing(path), _numbers(owner)
        args = {"path": carried(path), "names": [carried(name) for name in names], "owner": owner}
        async with self.means.rooms.looking(layers) as room:
            answer = await self.means.archives.look(room, args)
        found = Found(
            uncarried(answer["real"]),
            answer["kind"],
            tuple((uncarried(name), msgspec.convert(row, Entry)) for name, row in answer["above"]),
            {uncarried(name): msgspec.convert(row, Entry) for name, row in answer["there"]},
        )
        return found, tuple(answer["owner"]) if owner else None

    # --- layers

    async def layer(self, below: Sequence[Layer], rows: Rows, spools: Sequence[Spool]) -> Layer:
        """A layer of entries."""
        own = [spool for spool in spools if isinstance(spool, FileSpool)]
        for place, spool in enumerate(own):
            rows = await spool.filled(rows, place)
        return await self.means.layers.composed(self.hold, below, rows, own)

    async def run(self, below: Sequence[Layer], command: Command, output: Output) -> Layer | None:
        """Run a command in a container of its own."""
        client = self.client
        given = (client.secrets, client.agents) if client else ({}, None)
        async with (
            self.means.mounts.shown(command, *given) as mounted,
            self.means.rooms.ran(below, command, mounted, self.terms, output) as container,
        ):
            places = (*mounted.places, *(self.means.cdi.places(command.devices) if command.devices else ()))
            return await self.means.layers.changed(self.hold, below, container, self.epoch_seconds, places)

    def devices(self) -> Mapping[str, Device]:
        """Those that are described."""
        return self.means.cdi.devices()

    def turn(self, key: str) -> AbstractAsyncContextManager[object]:
        """The turn to make a step."""
        return self.means.turns.of(key)

    async def find(self, key: str, below: Sequence[Layer]) -> Record | None:
        """What the cache has under a key."""
        entry = self.means.cache.find(key)
        if entry is None:
            return await self._imported(key, below)
        layer = entry.record.layer
        if layer is not None and not await self.means.layers.present(self.hold, [*below, layer]):
            return None
        self.means.cache.used(entry)
        self.used[key] = entry
        return entry.record

    async def _imported(self, key: str, below: Sequence[Layer]) -> Record | None:
        """What a cache of the client's has. It is remembered as what was made here."""
        record = await self.imported.find(key, below, self.hold) if self.imported else None
        if record is not None:
            await self.keep(key, record, below)
        return record

    def reasons(self, step: str, parts: Mapping[str, str]) -> Sequence[str]:
        """What of a step's key is another than the last time."""
        steps = self.contexts.steps if self.contexts else {}
        before = steps.get(step)
        steps[step] = dict(parts)
        return differences(before, parts)

    async def keep(self, key: str, record: Record, below: Sequence[Layer]) -> None:
        """Remember what was made, and on top of what."""
        self.means.cache.keep(key, record, below, record.layer.size if record.layer else 0)
        if (entry := self.means.cache.find(key)) is not None:
            self.used[key] = entry

    def moment(self) -> str:
        """SOURCE_DATE_EPOCH's time, or this moment."""
        return now() if self.epoch_seconds is None else format_seconds(self.epoch_seconds)

    @property
    def epoch(self) -> int | None:
        """In nanoseconds."""
        return None if self.epoch_seconds is None else self.epoch_seconds * 10**9


def _nothing(path: str) -> Found:
    """A place in a root without a file."""
    return Found("/" + path.strip("/"), "" if path.strip("/") else "directory")


def _numbers(owner: str) -> tuple[int, int] | None:
    """An owner where there is no /etc/passwd. Raises Unsupported for a name."""
    if not owner:
        return None
    user, _, group = owner.partition(":")
    if not user.isdigit() or not (group or user).isdigit():
        raise Unsupported(f"--chown={owner}: there is no /etc/passwd to look the name up in")
    return int(user), int(group or user)
