"""What the engine knows of a container beyond its record, and loses with itself."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable

from corten.engine.broadcast import Broadcast
from corten.engine.logs import LogFeed
from corten.engine.model import Container
from corten.engine.monitors import Monitor
from corten.errors import InvalidInput

NOT_RUNNING, NEXT_EXIT, REMOVED = "not-running", "next-exit", "removed"


@dataclasses.dataclass(frozen=True, slots=True)
class Exit:
    """How a container ended; ``error`` is why it could not be started, else ''."""

    code: int
    error: str = ""


@dataclasses.dataclass(slots=True)
class Run:
    """One run of a container. Its monitor may be replaced; ``over`` resolves when the end is recorded."""

    monitor: Monitor
    over: asyncio.Future[None]


class Live:
    """One container's lock, log feed, present run, and those who wait for its end."""

    def __init__(self, feed: LogFeed) -> None:
        self.lock = asyncio.Lock()
        """Held by whatever changes what the container is: start, end, rename, update, remove."""
        self.feed = feed
        self.run: Run | None = None
        self.output: Broadcast | None = None
        """Who reads the output of a container that has no log."""
        self.restarting: asyncio.Task[None] | None = None
        self.farewell: asyncio.Task[None] | None = None
        """The last run's monitor is leaving."""
        self.cleaned: asyncio.Future[None] | None = None
        """The last run's control group is being removed."""
        self.delay = 0.0
        self.kept = False
        """It is being restarted: its end does not remove it, even where it is to be removed when it ends."""
        self._waiting: dict[str, list[asyncio.Future[Exit]]] = {NOT_RUNNING: [], NEXT_EXIT: [], REMOVED: []}

    def wait(self, condition: str) -> asyncio.Future[Exit]:
        """A future of the container's end. Raises InvalidInput for an unknown condition."""
        if condition not in self._waiting:
            raise InvalidInput(f'invalid condition: "{condition}"')
        future: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self._waiting[condition].append(future)
        return future

    def resolve(self, conditions: tuple[str, ...], how: Exit) -> None:
        """Tell those who wait."""
        for condition in conditions:
            waiting, self._waiting[condition] = self._waiting[condition], []
            for future in waiting:
                if not future.done():
                    future.set_result(how)


class Lives:
    """The :class:`Live` of every container, made when first asked for."""

    def __init__(self, feed: Callable[[Container], LogFeed]) -> None:
        self._feed = feed
        self._lives: dict[str, Live] = {}

    def of(self, container: Container) -> Live:
        """The container's."""
        if container.id not in self._lives:
            self._lives[container.id] = Live(self._feed(container))
        return self._lives[container.id]

    def forget(self, id: str) -> None:
        """The container was removed."""
        self._lives.pop(id, None)
