"""Builds: a context and a Dockerfile in, an image out."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corten.build.arguments import Given, unconsumed
from corten.build.ground import Files
from corten.build.ignore import Ignore
from corten.build.instructions import Dockerfile
from corten.build.linting import Linter
from corten.build.parser import parse
from corten.build.patience import beside
from corten.build.solver import Begun, Solver, Wish, steps_above
from corten.build.state import State
from corten.engine.build_client import BuildClient, ContextMemory
from corten.engine.build_files import BuildFiles, FileSpool, considered
from corten.engine.build_ground import BuildGround, Means
from corten.engine.build_layers import Hold
from corten.engine.build_mounts import Usage
from corten.engine.build_output import Outputs
from corten.engine.build_repeats import Document, Repeated, Repeats, Solved, key_of, watched
from corten.engine.build_rooms import Terms
from corten.engine.filters import Filters, check_filters
from corten.engine.ingest import Report
from corten.engine.model import HostConfig
from corten.errors import CortenError, InvalidInput
from corten.spec import digest as digests
from corten.spec import platform as platforms
from corten.spec.descriptor import Descriptor
from corten.spec.digest import Digest
from corten.spec.platform import Platform
from corten.spec.reference import Reference

if TYPE_CHECKING:
    from corten.engine.build_calls import Answer
    from corten.engine.build_contexts import Contexts
    from corten.engine.build_steps import BuildSteps

_LARGEST_DOCKERFILE = 16 << 20
_DEFAULT = "Dockerfile"
_NO_LIMITS = HostConfig()
Told = Callable[[str], None]


@dataclasses.dataclass(frozen=True, slots=True)
class BuildRequest:
    """What a client asks for; ``host`` has the limits of the commands, ``auths`` what it shows to registries."""

    dockerfile: str = ""
    names: tuple[Reference, ...] = ()
    arguments: Mapping[str, str] = dataclasses.field(default_factory=dict)
    unset: tuple[str, ...] = ()
    """Arguments that were named, and have no value at the client."""
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    target: str = ""
    platform: str = ""
    network: str = "default"
    allowed: tuple[str, ...] = ()
    """Rights that commands may have beyond a container's: ``network.host``, ``security.insecure``, ``device``."""
    no_cache: bool = False
    no_cache_filter: tuple[str, ...] = ()
    pull: bool = False
    quiet: bool = False
    steps: bool = False
    """Every step makes an image, as with the classic builder."""
    cache_from: tuple[str, ...] = ()
    """With ``steps``, the images whose own are taken, and no others; if any are named."""
    cache_to: str = ""
    """``min`` or ``max``: what of the cache the client is sent when it has been built; '' for nothing."""
    why: bool = False
    """Say of each step that is not in the cache what of its key is new."""
    call: str = ""
    """What is to be told of the Dockerfile, with nothing built: ``check``, ``outline`` or ``targets``; '' to build."""
    live: bool = False
    """Tell of all stages as they go, each document with its stage's number."""
    host: HostConfig = _NO_LIMITS
    auths: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)


class Build:
    """One build, whose Dockerfile has been understood. :meth:`run` it within what :meth:`Builds.prepared` gives."""

    def __init__(
        self, request: BuildRequest, dockerfile: Dockerfile, ground: BuildGround, means: Means,
        ignored: Ignore | None = None,
    ) -> None:  # fmt: skip
        self._request, self._dockerfile, self._ground, self._means = request, dockerfile, ground, means
        self._given = given_of(request, ground.platform)
        wish = Wish(
            given=self._given, labels=request.labels, no_cache=request.no_cache,
            no_cache_filter=request.no_cache_filter, contexts=ground.context_names,
            network=request.network, extra=_extra(request.host), allowed=request.allowed,
        )  # fmt: skip
        self._outputs = Outputs()
        asked = request.arguments.get("BUILDKIT_DOCKERFILE_CHECK", "")
        self._linter = Linter(dockerfile, self._given, asked, ignored)
        watching, self._seen = watched(ground)
        self._steps = _steps(request, ground) if request.steps else None
        begun = _classic(self._steps) if self._steps else None
        self._solver = Solver(dockerfile, wish, watching, self._outputs.of, self._linter, begun)
        self.solved: Solved | None = None
        """How it went, for :class:`Repeats`; once it has."""

    async def run(self, report: Report) -> str:
        """The ID of the image. Raises what stopped it."""
        outputs, request = self._outputs, self._request
        said: list[Document] = []

        def tell(value: dict[str, Any]) -> None:
            said.append(value)
            self._seen.is_all &= "stream" in value  # and not the progress of a pull
            report(value)

        outputs.start(tell, self._solver.total, quiet=request.quiet, why=request.why, live=request.live)
        for number, text in steps_above(self._dockerfile):
            outputs.of(0).begin(number, text)
        try:
            async with self._steps.open() if self._steps else contextlib.nullcontext():
                state = await self._solver.solve()
        finally:
            outputs.flush()
            for one in self._linter.sorted:
                outputs.line(f"[Warning] {one.rule}: {one.message} (line {one.location.first})")
        if names := unconsumed(self._dockerfile, self._given, request.unset):
            outputs.line(f"[Warning] One or more build-args [{' '.join(names)}] were not consumed")
        id = await self._image(state)
        await self._exported(state)
        for notice in self._ground.imported.notices if self._ground.imported else ():
            outputs.line(f"[Warning] {notice}")
        self.solved = Solved(self._seen, id, said)
        return await concluded(self._means, request, report, id)

    async def _exported(self, state: State) -> None:
        """Send the client what it wants of the cache."""
        if not self._request.cache_to or self._ground.client is None:
            return
        from corten.engine.build_exchange import archive, exported

        entries = exported(self._ground.used.values(), state.layers, self._request.cache_to)
        async for piece in archive(entries, self._means.layers):
            await self._ground.client.send_piece(piece)

    async def _image(self, state: State) -> str:
        """The image of a state: one that is here already, or a new one."""
        if self._means.images.find(state.id) is not None:
            return state.id
        if self._steps is not None:
            raise InvalidInput("No image was generated. Is your Dockerfile empty?")
        blobs = [Descriptor(layer.media_type, Digest(layer.digest), layer.size) for layer in state.layers]
        image = await self._means.images.add_built(state.document(), blobs, self._request.names)
        return image.id


def _steps(request: BuildRequest, ground: BuildGround) -> BuildSteps:
    from corten.engine.build_steps import BuildSteps, sources_of

    return BuildSteps(ground.means, ground.hold, sources_of(ground.means.images, request.cache_from))


def _classic(steps: BuildSteps) -> Begun:
    from corten.build.classic import ClassicRun

    return lambda parent, *given: ClassicRun(*given, steps=steps, parent=parent)


async def concluded(means: Means, request: BuildRequest, report: Callable[[Any], None], id: str) -> str:
    """Give the image of a build its names, and say so; the ID."""
    known = means.images.find(id)
    for name in request.names:
        if known is not None and name not in known.references:
            await means.images.tag(id, name.familiar)
    if request.quiet:
        report({"stream": f"{id}\n"})
        return id
    report({"aux": {"ID": id}})
    report({"stream": f"Successfully built {digests.short(id)}\n"})
    for name in request.names:
        report({"stream": f"Successfully tagged {name.familiar}\n"})
    return id


@dataclasses.dataclass(frozen=True, slots=True)
class Builds:
    """The builds of one engine."""

    means: Means
    staging: Path
    memory: ContextMemory
    repeats: Repeats
    machine: Platform = dataclasses.field(default_factory=lambda: platforms.of_machine(os.uname().machine))

    def prepared(self, request: BuildRequest, context: AsyncIterator[bytes]) -> AbstractAsyncContextManager[Build]:
        """Take the context in and read its Dockerfile. Raises DockerfileError, InvalidInput, DataCorrupt."""
        return self._prepared(request, lambda files: files.index(context))

    def remote(self, request: BuildRequest, url: str) -> AbstractAsyncContextManager[Build]:
        """The same with a context that is elsewhere. Raises Unavailable, too."""
        from corten.engine.build_remote import context

        return self._prepared(request, lambda files: context(files, url, request.dockerfile))

    def repeated(self, request: BuildRequest, client: BuildClient) -> Repeated | None:
        """What is left of such a build if nothing has changed since the last; None if it has to be solved."""
        if request.pull or request.cache_to:  # for which there is more to do than to say it again
            return None
        solved = self.repeats.find(*_recipe(request, client))
        return Repeated(solved, functools.partial(concluded, self.means, request)) if solved else None

    @contextlib.asynccontextmanager
    async def followed(self, request: BuildRequest, client: BuildClient) -> AsyncIterator[Build]:
        """The same with the contexts that a client has announced; what is found out of its files is remembered."""
        from corten.engine.build_contexts import Contexts

        recipe, key = _recipe(request, client)
        solved, contexts = None, Contexts(client, self.memory, self.staging, request, recipe, client.began)
        try:
            async with self._prepared(request, contexts.own, contexts) as build:
                yield build
                solved = build.solved
        finally:
            contexts.remember()
            self.repeats.keep(recipe, key, solved if client.is_settled() else None)

    async def called(self, request: BuildRequest, client: BuildClient) -> Answer:
        """What a Dockerfile tells without being built. Raises DockerfileError, InvalidInput, DataCorrupt, Unavailable
        for a context that is elsewhere."""
        from corten.engine.build_calls import BuildCall
        from corten.engine.build_contexts import Contexts

        recipe, _ = _recipe(request, client)
        contexts = Contexts(client, self.memory, self.staging, request, recipe, client.began)
        given = given_of(request, self._platform(request))
        try:
            async with self.means.workshop.open():
                with _naming(), self._files() as files:
                    return await BuildCall(request, given, contexts, self.means.images.find_named).answer(files)
        finally:
            contexts.remember()

    def _platform(self, request: BuildRequest) -> Platform:
        return platforms.parse(request.platform, self.machine) if request.platform else self.machine

    @contextlib.asynccontextmanager
    async def _prepared(
        self, request: BuildRequest, context: Callable[[BuildFiles], Awaitable[Files]], contexts: Contexts | None = None
    ) -> AsyncIterator[Build]:
        async with self.means.workshop.open():
            with _naming(), self._files() as files, self.means.layers.holding() as hold:
                yield await self._understood(request, await context(files), contexts, files, hold)

    async def _understood(
        self, request: BuildRequest, own: Files, contexts: Contexts | None, files: BuildFiles, hold: Hold
    ) -> Build:
        given = contexts.client.dockerfile if contexts else None
        dockerfile, own, ignored = await _read(own, request.dockerfile, given)
        platform = self._platform(request)
        epoch = _epoch(request.arguments.get("SOURCE_DATE_EPOCH", ""))
        ground = BuildGround(
            self.means, files, hold, Terms(request.host, platform), platform, own, request.pull, request.auths,
            epoch, contexts,
        )  # fmt: skip
        if contexts and (caches := contexts.caches(files)):
            from corten.engine.build_exchange import Imported

            ground.imported = Imported(caches, self.means.layers)
        return Build(request, dockerfile, ground, self.means, ignored)

    def pins(self) -> tuple[set[str], set[Digest]]:
        """The layers (short names) and blobs that builds and their cache need."""
        cached, held = self.means.cache.pins(), self.means.layers.pins()
        return cached[0] | held[0], cached[1] | held[1]

    async def usage(self) -> list[Usage]:
        """What the cache takes: a row for each step, and for each directory of ``RUN --mount=type=cache``."""
        held, in_images = self.means.layers.pins()[0], self.means.layers.of_images()
        rows = [
            Usage(entry.key, "regular", entry.record.about, entry.size, entry.made, entry.used, entry.hits,
                  in_use=bool(entry.short) and entry.short in held, shared=entry.short in in_images)
            for entry in self.means.cache
        ]  # fmt: skip
        return [*rows, *await asyncio.to_thread(self.means.mounts.usage)]

    async def prune(self, filters: Filters, kept_bytes: int, used: Iterable[str], told: Told) -> tuple[list[str], int]:
        """Forget what no build holds and the filters let go; the IDs, and the bytes that came free. ``used`` are the
        images that containers stand on. Raises InvalidInput."""
        wanted = check_filters(filters, ("id", "until", "unused-for"))
        wanted = {**wanted, "until": [*(wanted.get("until") or ()), *(wanted.get("unused-for") or ())]}
        going = self.means.cache.prunable(wanted, kept_bytes, self.means.layers.pins()[0])
        keys = [entry.key for entry in going]
        self.means.cache.forget(keys)
        reclaimed = await self.means.images.upkeep.collect(used)
        if not kept_bytes and not any(wanted.values()):
            caches = await asyncio.to_thread(self.means.mounts.clear)
            self.memory.clear()
            keys, reclaimed = [*keys, *(one.id for one in caches)], reclaimed + sum(one.size for one in caches)
        for key in keys:
            told(key)
        return keys, reclaimed

    @contextlib.contextmanager
    def _files(self) -> Iterator[BuildFiles]:
        files = BuildFiles(self.means.archives, self.staging)
        try:
            yield files
        finally:
            files.close()


@contextlib.contextmanager
def _naming() -> Iterator[None]:
    """A full disk may show anywhere."""
    try:
        yield
    except ConnectionError:  # the client is gone
        raise
    except OSError as error:
        raise CortenError.from_os("build", error.filename or "the image", error) from error


async def _read(files: Files, name: str, given: bytes | None) -> tuple[Dockerfile, Files, Ignore | None]:
    """The Dockerfile, the context without what is to be ignored, and what that is. Raises InvalidInput,
    DockerfileError."""
    content, path = await located(files, name, given)
    return await parsed(content, name), *await considered(files, path)


async def located(files: Files, name: str, given: bytes | None) -> tuple[bytes, str]:
    """The content of the Dockerfile, and its path in the context. Raises InvalidInput."""
    if given is not None:
        return given, name or _DEFAULT
    path = (name or _DEFAULT).removeprefix("./").strip("/")
    real = files.tree.resolve(path)
    if real is None and not name:
        real = files.tree.resolve(_DEFAULT.lower())
    if real is None or files.tree.get(real).kind != "file":
        raise InvalidInput(f"Cannot locate specified Dockerfile: {name or _DEFAULT}")
    return await _content(files, real), real


async def parsed(content: bytes, name: str) -> Dockerfile:
    """A Dockerfile. Raises DockerfileError."""
    return await beside(lambda check: parse(content, name or _DEFAULT), len(content) // 2)


async def _content(files: Files, path: str) -> bytes:
    assert isinstance(files.spool, FileSpool)
    return await files.spool.content(files.tree.get(path), _LARGEST_DOCKERFILE)


def _recipe(request: BuildRequest, client: BuildClient) -> tuple[str, str]:
    """What a build is remembered by, and what has to be the same for it to be repeated."""
    recipe = f"{client.place}\0{request.dockerfile}\0{request.target}"
    return recipe, key_of(dataclasses.replace(request, names=(), auths={}, cache_to=""), client.digest)


def given_of(request: BuildRequest, platform: Platform) -> Given:
    """The arguments of a build for such a platform."""
    machine = platforms.of_machine(os.uname().machine)
    return Given(request.arguments, machine, platform, request.target)


def _epoch(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > 11:
        raise InvalidInput(f"invalid SOURCE_DATE_EPOCH: {text}")
    return int(text)


def _extra(host: HostConfig) -> dict[str, Any]:
    """What of the host's part decides what a command makes."""
    return {"hosts": list(host.extra_hosts)} if host.extra_hosts else {}


