"""Builds that are asked for again while nothing has changed: what the last one said and made, without solving it again.

What a build makes follows from what is asked for, the files that its client lists, the images that its names mean, and
what the cache has under its keys. Where all of that is as it was, so is the image. What a build takes from elsewhere,
or makes anew, cannot be told to be as it was: such a build is solved every time. So is one whose files were changed a
moment before they were listed (see :mod:`corten.engine.build_client`).
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, cast

from corten.build.copying import Rows
from corten.build.ground import Files, Ground, Output, Record
from corten.build.instructions import HereDocument
from corten.build.state import Layer, State
from corten.engine.build_cache import BuildCache
from corten.engine.images import Images

_MOST = 64
"""Recipes that are remembered."""
Document = Mapping[str, Any]


@dataclasses.dataclass(slots=True)
class Seen:
    """What a build took from its ground."""

    images: dict[str, str] = dataclasses.field(default_factory=dict)
    """The IDs of the images that it stands on, by the names that it has for them."""
    records: dict[str, Record] = dataclasses.field(default_factory=dict)
    """What the cache had, by key."""
    is_all: bool = True
    """It took nothing else that may be another the next time."""


@dataclasses.dataclass(frozen=True, slots=True)
class Solved:
    """A build that took all from images, its client's files and the cache: the image's ID, and what it said."""

    seen: Seen
    id: str
    said: Sequence[Document]


class _Watched:
    """A ground that notes what is taken from it. What is not among its own methods is not known to stay as it is."""

    def __init__(self, ground: Ground, seen: Seen) -> None:
        self._ground, self._seen = ground, seen

    def __getattr__(self, name: str) -> Any:
        self._seen.is_all = False
        return getattr(self._ground, name)

    @property
    def epoch(self) -> int | None:
        return self._ground.epoch

    def moment(self) -> str:
        self._seen.is_all &= self.epoch is not None
        return self._ground.moment()

    async def image(self, name: str, platform: str, output: Output) -> State:
        state = await self._ground.image(name, platform, output)
        self._seen.is_all &= self._seen.images.setdefault(name, state.image) == state.image
        return state

    def turn(self, key: str) -> AbstractAsyncContextManager[object]:
        return self._ground.turn(key)

    async def find(self, key: str, below: Sequence[Layer]) -> Record | None:
        record = await self._ground.find(key, below)
        if record is None:
            self._seen.is_all = False
        else:
            self._seen.records[key] = record
        return record

    async def context(self) -> Files:
        return await self._ground.context()

    async def named_context(self, name: str) -> Files:
        return await self._ground.named_context(name)

    async def context_image(self, name: str, output: Output) -> State | None:
        state = await self._ground.context_image(name, output)
        self._seen.is_all &= state is None
        return state

    async def digested(self, files: Files, rows: Rows) -> Rows:
        return await self._ground.digested(files, rows)

    async def documents(self, documents: Sequence[HereDocument]) -> Files:
        return await self._ground.documents(documents)

    def reasons(self, step: str, parts: Mapping[str, str]) -> Sequence[str]:
        return self._ground.reasons(step, parts)


def watched(ground: Ground) -> tuple[Ground, Seen]:
    """The same ground, and what will have been taken from it."""
    seen = Seen()
    return cast("Ground", _Watched(ground, seen)), seen


def key_of(*asked: object) -> str:
    """All that a build was asked for, and its files, in a few bytes: some of it may be long."""
    hashed = hashlib.sha256()
    for one in asked:
        hashed.update(repr(one).encode("utf-8", "surrogateescape") + b"\n")
    return hashed.hexdigest()


class Repeats:
    """The last build of each recipe, in memory, for those that could be repeated. All from the event loop's thread."""

    def __init__(self, images: Images, cache: BuildCache) -> None:
        self._images, self._cache = images, cache
        self._known: dict[str, tuple[str, Solved]] = {}

    def find(self, recipe: str, key: str) -> Solved | None:
        """The last build of a recipe, if it was asked for the same and all that it came from is as it was."""
        known, solved = self._known.get(recipe, ("", None))
        if solved is None or known != key or not self._stands(solved):
            return None
        for one in solved.seen.records:
            if (entry := self._cache.find(one)) is not None:
                self._cache.used(entry)
        return solved

    def _stands(self, solved: Solved) -> bool:
        seen = solved.seen
        if self._images.find(solved.id) is None:
            return False
        for name, id in seen.images.items():
            if (image := self._images.find_named(name)) is None or image.id != id:
                return False
        entries = ((self._cache.find(key), record) for key, record in seen.records.items())
        return all(entry is not None and entry.record == record for entry, record in entries)

    def keep(self, recipe: str, key: str, solved: Solved | None) -> None:
        """How the last build of a recipe went; None if it was not such a one."""
        self._known.pop(recipe, None)
        if solved is not None and solved.seen.is_all:
            self._known[recipe] = key, solved
        while len(self._known) > _MOST:
            del self._known[next(iter(self._known))]


class Repeated:
    """What is left of a build to do: say it again, and give the image its names."""

    def __init__(self, solved: Solved, conclude: Callable[[Callable[[Document], None], str], Any]) -> None:
        self._solved, self._conclude = solved, conclude

    async def run(self, report: Callable[[Any], None]) -> str:
        """The ID of the image."""
        for one in self._solved.said:
            report(one)
        return cast("str", await self._conclude(report, self._solved.id))
