"""Of builds that come to the same step at the same time, one makes it; the others have what it made.

Who makes a step has its turn until what it made can be found. If that build is given up, or fails, the next one makes
the step.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Hashable, Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from corten.build.classic import Found

Step = tuple[str, str]
"""The ID of the image that it is made of, and its line in the history."""


class Turns:
    """Those of one engine. All calls come from the event loop's thread."""

    def __init__(self) -> None:
        self._locks: dict[Hashable, tuple[asyncio.Lock, int]] = {}
        self._made: list[Mapping[Step, Found]] = []

    @contextlib.asynccontextmanager
    async def of(self, step: Hashable) -> AsyncIterator[None]:
        """The turn to make a step, once nobody else has it."""
        lock, users = self._locks.get(step) or (asyncio.Lock(), 0)
        self._locks[step] = lock, users + 1
        try:
            async with lock:
                yield
        finally:
            _, users = self._locks.pop(step)
            if users > 1:
                self._locks[step] = lock, users - 1

    @contextlib.contextmanager
    def showing(self, made: Mapping[Step, Found]) -> Iterator[None]:
        """Let other builds have what one makes while it is under way: it need not be an image yet."""
        self._made.append(made)
        try:
            yield
        finally:
            self._made = [one for one in self._made if one is not made]

    def found(self, step: Step) -> Found | None:
        """What a build under way made by such a step."""
        return next((found for made in self._made if (found := made.get(step)) is not None), None)
