"""What happened: a bounded memory of the latest events, and their live subscribers."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence

from corten.errors import InvalidInput, Unavailable

Filters = Mapping[str, Sequence[str]]

_REMEMBERED = 256  # as many as dockerd replays
_BACKLOG = 4096
_ACTORS = ("container", "image", "volume", "network", "daemon", "plugin", "node", "service", "secret", "config")
_NAMES = frozenset({*_ACTORS, "event", "type", "label", "scope"})


@dataclasses.dataclass(frozen=True, slots=True)
class Event:
    """One event; ``time`` is nanoseconds since the epoch."""

    type: str
    action: str
    actor: str
    attributes: Mapping[str, str]
    time: int


class Events:
    """The engine's events. All calls come from the event loop's thread."""

    def __init__(self, clock: Callable[[], int] = time.time_ns) -> None:
        self._clock = clock
        self._latest: collections.deque[Event] = collections.deque(maxlen=_REMEMBERED)
        self.listeners: list[Callable[[Event], None]] = []
        """Called with every event before it is handed out: who hears of one finds done what follows from it."""
        self._subscribers: set[asyncio.Queue[Event | None]] = set()

    @property
    def subscribers(self) -> int:
        """How many streams are open."""
        return len(self._subscribers)

    def publish(self, type: str, action: str, actor: str, attributes: Mapping[str, str] | None = None) -> Event:
        """Remember an event and hand it to every subscriber."""
        event = Event(type, action, actor, dict(attributes or {}), self._clock())
        self._latest.append(event)
        for listener in self.listeners:
            listener(event)
        for queue in tuple(self._subscribers):
            self._hand(queue, event)
        return event

    def _hand(self, queue: asyncio.Queue[Event | None], event: Event) -> None:
        """A subscriber that does not keep up is told so and dropped: it must not grow the engine's memory."""
        if queue.qsize() < _BACKLOG:
            queue.put_nowait(event)
        else:
            self._subscribers.discard(queue)
            queue.put_nowait(None)

    def subscribe(
        self, *, since: int | None = None, until: int | None = None, filters: Filters | None = None
    ) -> AsyncIterator[Event]:
        """The remembered events from ``since`` on, then the live ones, up to ``until`` (ns since the epoch).

        Without either only live ones. Subscribed when this returns, so nothing published later is missed.
        Raises InvalidInput for an unknown filter or an end before the beginning, and Unavailable, while iterating, on
        falling too far behind.
        """
        wanted = matcher(filters or {})
        if since is not None and until is not None and since > until:
            raise InvalidInput(f"`since` time ({since / 1e9:.9f}) cannot be after `until` time ({until / 1e9:.9f})")
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        self._subscribers.add(queue)
        past = [event for event in self._latest if event.time >= (since or 0)]
        if since is None and until is None:
            past = []
        return self._stream(queue, past, until, wanted)

    async def _stream(
        self,
        queue: asyncio.Queue[Event | None],
        past: Sequence[Event],
        until: int | None,
        wanted: Callable[[Event], bool],
    ) -> AsyncIterator[Event]:
        try:
            for event in past:
                if wanted(event) and (until is None or event.time <= until):
                    yield event
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._seconds_to(until)):
                    while True:
                        live = await self._next(queue)
                        if until is not None and live.time > until:
                            return
                        if wanted(live):
                            yield live
        finally:
            self._subscribers.discard(queue)

    def _seconds_to(self, until: int | None) -> float | None:
        return None if until is None else max(0.0, (until - self._clock()) / 1e9)

    async def _next(self, queue: asyncio.Queue[Event | None]) -> Event:
        event = await queue.get()
        if event is None:
            raise Unavailable(f"events: the reader is more than {_BACKLOG} events behind")
        return event

    def close(self) -> None:
        """End every stream: the engine leaves."""
        for queue in tuple(self._subscribers):
            self._subscribers.discard(queue)
            queue.put_nowait(None)


def matcher(filters: Filters) -> Callable[[Event], bool]:
    """Whether an event passes: every named filter has one value that matches. Raises InvalidInput."""
    for name in filters:
        if name not in _NAMES:
            raise InvalidInput(f"invalid filter '{name}'")
    return lambda event: all(any(_candidates(event, name, values)) for name, values in filters.items())


def _candidates(event: Event, name: str, values: Sequence[str]) -> Iterator[bool]:
    if name == "label":
        # Docker joins labels with "and", unlike every other filter.
        yield all(_has_label(event, value) for value in values)
        return
    for value in values:
        if name == "event":
            # `exec_start: sh -c …` answers to `exec_start`.
            yield event.action == value or event.action.startswith(f"{value}:")
        elif name == "type":
            yield event.type == value
        elif name == "scope":
            yield value == "local"
        else:
            yield _is_about(event, name, value)


def _is_about(event: Event, kind: str, value: str) -> bool:
    names = [event.actor, event.attributes.get("name", "")]
    if kind == "image":
        # An image is also what a container event is "from", with or without its tag.
        names.append(event.attributes.get("image", ""))
        names += [re.sub(r":[^:/]+$", "", name) for name in names]
        return value in names
    return event.type == kind and (value in names or event.actor.startswith(value))  # '' is every one


def _has_label(event: Event, wanted: str) -> bool:
    name, separator, value = wanted.partition("=")
    found = event.attributes.get(name)
    return found is not None and (not separator or found == value)
