"""The contexts that a client has announced: the build's own, and further ones by their names.

A directory is listed by the client, and its files come when they are needed; so does a layout of OCI. An archive comes
as a whole. An image, a repository or a file elsewhere is brought by the engine.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from corten.build.ground import Files, Output
from corten.build.state import State
from corten.engine.build_client import Announced, BuildClient, ContextMemory, RemoteSpool
from corten.engine.build_files import BuildFiles, considered
from corten.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from corten.engine.build_ground import BuildGround
    from corten.engine.build_layouts import Layout
    from corten.engine.builds import BuildRequest

_DIRECTORIES = ("directory", "archive", "remote")
_KINDS = (*_DIRECTORIES, "image", "layout", "cache")


class Contexts:
    """Those of one build. :attr:`steps` is, by step, what its key was made of the last time."""

    def __init__(
        self, client: BuildClient, memory: ContextMemory, staging: Path, request: BuildRequest, recipe: str, began: int
    ) -> None:
        """``recipe`` is what the steps are remembered by, ``began`` is before the files were listed, in nanoseconds
        since 1970. Raises InvalidInput."""
        self.client = client
        self._memory, self._staging, self._request = memory, staging, request
        self._recipe, self._began = recipe, began
        self._announced = _by_name(client.contexts())
        self.steps: dict[str, dict[str, str]] = {}
        self._before: dict[str, dict[str, str]] = {}
        self._spools: list[tuple[Announced, RemoteSpool]] = []
        self._files: dict[str, Files] = {}
        self._images: dict[str, State] = {}
        self._opening = asyncio.Lock()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of further contexts."""
        return tuple(name for name, one in self._announced.items() if name and one.kind != "cache")

    def remember(self) -> None:
        """Keep what was found out of the files, and of the steps."""
        for context, spool in self._spools:
            self._memory.note(context, spool, self._began)
        if self.steps != self._before:
            self._memory.keep_steps(self._recipe, self.steps)

    async def own(self, files: BuildFiles) -> Files:
        """The build's own context, none of it ignored."""
        self.steps = self._memory.steps(self._recipe)
        self._before = {step: dict(parts) for step, parts in self.steps.items()}
        if "" not in self._announced:
            raise InvalidInput("build: the client announces no context")
        return await self._opened(self._announced[""], files)

    async def files(self, name: str, files: BuildFiles) -> Files:
        """The files of a named context, without what its ``.dockerignore`` names. Raises NotFound, Unavailable."""
        async with self._opening:
            if name not in self._files:
                self._files[name], _ = await considered(await self._opened(self._announced[name], files))
            return self._files[name]

    async def image(self, name: str, ground: BuildGround, output: Output) -> State | None:
        """The image that a named context is, None for a directory. Raises NotFound, Unavailable, DataCorrupt."""
        context = self._announced[name]
        if context.kind == "image":
            return await ground.image(context.place, "", output)
        if context.kind != "layout":
            return None
        from corten.engine.build_layouts import Layout

        async with self._opening:
            if name not in self._images:
                layout = Layout(self._listed(context, ground.files), context.place)
                self._images[name] = await layout.state(ground)
            return self._images[name]

    def kind(self, name: str) -> tuple[str, str]:
        """Kind and place of a context."""
        context = self._announced[name]
        return context.kind, context.place

    def caches(self, files: BuildFiles) -> list[Layout]:
        """The caches that a client has given."""
        from corten.engine.build_layouts import Layout

        found = [one for one in self._announced.values() if one.kind == "cache"]
        return [Layout(self._listed(one, files), one.place) for one in found]

    async def _opened(self, context: Announced, files: BuildFiles) -> Files:
        if context.kind == "directory":
            return self._listed(context, files)
        if context.kind == "archive":
            return await files.index(self.client.stream(context.start))
        if context.kind == "remote":
            from corten.engine.build_remote import context as fetched

            name = "" if context.name else self._request.dockerfile
            keeps = self._request.arguments.get("BUILDKIT_CONTEXT_KEEP_GIT_DIR", "") in ("1", "true")
            return await fetched(files, context.place, name, self.client, keep_git_directory=keeps)
        raise NotFound(f"context {context.name}: it is no directory")

    def _listed(self, context: Announced, files: BuildFiles) -> Files:
        found = self._memory.files(self._staging, self.client, context)
        assert isinstance(found.spool, RemoteSpool)
        self._spools.append((context, found.spool))
        files.keep(found.spool)
        return found


def _by_name(contexts: list[Announced]) -> dict[str, Announced]:
    found: dict[str, Announced] = {}
    for one in contexts:
        if one.kind not in _KINDS or (not one.name and one.kind not in (*_DIRECTORIES, "cache")):
            raise InvalidInput(f"build: a context cannot be {one.kind[:100]!r}")
        found[f"\0{len(found)}" if one.kind == "cache" else one.name] = one
    return found
