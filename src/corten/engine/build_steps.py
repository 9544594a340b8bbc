"""The images of a build's steps, as the classic builder keeps them: what it makes of an image is an image again, which
remembers that one as its parent. They are found by it, and go with the last image that was made from them.

They are recorded together: at the end of a build, and whenever a layer has been made, which an engine that is killed
then need not make again.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from corten.build.classic import Found
from corten.build.ground import Record
from corten.build.state import Layer, State
from corten.engine.build_ground import Means
from corten.engine.build_layers import Hold
from corten.engine.images import Images
from corten.engine.ingest import Step
from corten.spec.descriptor import Descriptor
from corten.spec.digest import Digest
from corten.spec.image import Image

_LARGEST = 8 << 20
"""Bytes of documents that are not recorded yet."""


class BuildSteps:
    """See :class:`corten.build.classic.Steps`. Of one build, which takes nothing but what ``sources`` have, unless they
    are None."""

    def __init__(self, means: Means, hold: Hold, sources: Sequence[Image] | None) -> None:
        self._means, self._hold = means, hold
        self._sources = None if sources is None else [_Source(one, means.images) for one in sources]
        self._made: dict[tuple[str, str], Found] = {}
        self._pending: dict[str, Step] = {}
        self._has_new, self._size = False, 0

    def turn(self, parent: str, line: str) -> AbstractAsyncContextManager[object]:
        """The next stage's, or the next build's, when this one has made it."""
        return self._means.turns.of((parent, line))

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """While the build is under way, others have what it makes; at the end, all of that is images."""
        with self._means.turns.showing(self._made):
            try:
                yield
            finally:
                await self.record()

    def made(self, parent: str, line: str, record: Record) -> None:
        """For the other stages."""
        self._has_new |= record.layer is not None
        self._made[parent, line] = Found(record.layer, record.created)

    async def find(self, parent: str, before: State, line: str) -> Found | None:
        """What was made in this build, in another one under way, of an image that is here, or says an image of
        ``sources``."""
        if (found := self._made.get((parent, line))) is not None:
            return found
        if self._sources is None and (found := self._means.turns.found((parent, line))) is not None:
            return await self._present(before, found)
        for child in sorted(self._means.images.steps_of(parent), key=lambda one: -one.created_ns):
            if _is_step(child, before, line) and self._may_use(child):
                return await self._here(before, child)
        for source in self._sources or ():
            if (found := source.step(before, line)) is not None:
                self._sources = [source]  # which goes on
                return await self._present(before, found)
        return None

    def _may_use(self, image: Image) -> bool:
        return self._sources is None or any(image.id in source.ancestors for source in self._sources)

    async def _here(self, before: State, image: Image) -> Found | None:
        layers = self._means.layers.of_image(image)
        layer = layers[-1] if len(layers) > len(before.layers) else None
        return await self._present(before, Found(layer, image.document.history[-1].created))

    async def _present(self, before: State, found: Found) -> Found | None:
        layers = [*before.layers, *([found.layer] if found.layer else [])]
        return found if await self._means.layers.present(self._hold, layers) else None

    async def keep(self, parent: str, state: State, document: bytes) -> None:
        """One more image, unless it is here and knows its parent."""
        known = self._means.images.find(state.image)
        if known is not None and (known.parent or not parent):
            return
        if known is not None:
            document = known.raw
        blobs = [Descriptor(layer.media_type, Digest(layer.digest), layer.size) for layer in state.layers]
        diff_ids = [Digest(layer.diff_id) for layer in state.layers]
        self._pending[state.image] = Step(document, blobs, diff_ids, parent)
        self._size += len(document)
        if self._has_new or self._size > _LARGEST:
            await self.record()

    async def record(self) -> None:
        """Let all that was kept be images."""
        self._has_new, self._size = False, 0
        while self._pending:
            steps, self._pending = [*self._pending.values()], {}
            await self._means.images.add_steps(steps)


class _Source:
    """An image whose steps may be taken: by its history, since it may come from elsewhere, without its parents."""

    def __init__(self, image: Image, images: Images) -> None:
        self._image = image
        self._history: list[Mapping[str, Any]] = json.loads(image.raw).get("history") or []
        self._layers: Sequence[str | None] = list(_layers_of(image))
        self.ancestors = set(_ancestors(image, images))

    def step(self, before: State, line: str) -> Found | None:
        """What follows in it after a state, if that is this step."""
        place, diff_ids = len(before.history), [layer.diff_id for layer in before.layers]
        if place >= len(self._history) or [*before.history] != self._history[:place]:
            return None
        below = [one for one in self._layers[:place] if one is not None]
        entry = self._history[place]
        if below != diff_ids or entry.get("created_by") != line:
            return None
        created, image = str(entry.get("created") or ""), self._image
        layer = None
        if not entry.get("empty_layer"):
            if len(below) >= len(image.layers):
                return None
            blob = image.layers[len(below)]
            layer = Layer(blob.digest, blob.size, blob.media_type, image.diff_ids[len(below)], created)
        return Found(layer, created, image.id if place == len(self._history) - 1 else "")


def sources_of(images: Images, names: Sequence[str]) -> Sequence[Image] | None:
    """The images of these names that are here; None where none is named."""
    return [image for name in names if (image := images.find_named(name)) is not None] if names else None


def _is_step(image: Image, before: State, line: str) -> bool:
    """Whether an image is what a step of this line makes of a state."""
    history, layers = image.document.history, [layer.diff_id for layer in before.layers]
    if len(history) != len(before.history) + 1 or history[-1].created_by != line:
        return False
    return [*image.diff_ids[: len(layers)]] == layers and len(image.diff_ids) <= len(layers) + 1


def _layers_of(image: Image) -> Iterable[str | None]:
    """Of each step, its layer's diff ID."""
    diff_ids = iter(image.diff_ids)
    for entry in image.document.history:
        yield None if entry.empty_layer else next(diff_ids, "")


def _ancestors(image: Image, images: Images) -> Iterable[str]:
    seen = {image.id}
    parent = images.find(image.parent) if image.parent else None
    while parent is not None and parent.id not in seen:
        seen.add(parent.id)
        yield parent.id
        parent = images.find(parent.parent) if parent.parent else None
