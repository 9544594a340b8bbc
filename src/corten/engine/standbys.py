"""Monitors that stand by for the next start, so that it finds done what nearly every start has.

What that is, the last start tells: its order names the operations that could have been done ahead. Each stands by for a
container that is to be: the next one that is created gets its ID (:meth:`Standbys.reserve`), and finds its control
group joined, its root mounted if its image is the one that was started last, and its cable plugged in if it is in the
network that the last ones were in. A start that nobody fits takes the long way, by a fork of the spawner. One more
monitor stands by with nothing done, for an exec.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import logging
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Protocol

from corten.engine.channel import Message
from corten.engine.homes import Homes
from corten.engine.monitors import Monitor
from corten.engine.names import new_id
from corten.engine.poise import Poise
from corten.engine.spawning import Spawner
from corten.errors import CortenError
from corten.runtime.ahead import NOTHING, Ahead, Done, Forecast, as_json
from corten.runtime.operations.identity import Execute
from corten.spec.operation import Operation
from corten.spec.plan import Plan
from corten.sys import messages

_log = logging.getLogger(__name__)
SIZE = 2
"""How many stand by for a start; and how many more for containers that were created and not yet started."""
_QUIET = 0.01
"""Seconds after a start has come through before another one is made to stand by: it would take the processor from
what somebody waits for."""
_TRIES = 3
"""Of preparing one kind, before that is given up."""
_PATIENCE = 2
"""Starts of another kind, one after the other, before those who stand by for the earlier kind are let go."""
_FAREWELL = 2.0
"""Seconds that a leaving engine gives them to take back what they have done."""
_ANY, _SHORT = "\0", "\1"
"""In the place of an ID, and of the first characters that name a host: no JSON text has these."""
_SHORT_ID = 12


class Places(Protocol):
    """Places in a network for containers that are to be."""

    def reserve(self, id: str) -> list[Operation]:
        """The operations that make one, if the next container is likely to be in a certain network; else none."""

    def suits(self, id: str, network: str) -> bool:
        """Whether a container in a network could have the place that is reserved for an ID, or there is none."""

    def is_outdated(self, id: str) -> bool:
        """Whether the next container is likely to be elsewhere than where a place is reserved for an ID."""

    def release(self, id: str) -> None:
        """Whoever stood by for it is gone."""


@dataclasses.dataclass(slots=True, eq=False)
class _Standby:
    monitor: Monitor
    id: str = ""
    """Of the container that is to be; '' for an exec."""
    ahead: str = ""
    foreseen: str = ""
    plugged: str = ""
    poised: str = ""
    """What was done, operations as JSON."""
    group: str = ""
    known: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """What it was shown to rehearse with: operations as JSON, and their places."""
    is_ready: bool = False
    is_reserved: bool = False

    def fits(self, id: str, forecast: Forecast) -> bool:
        """Whether a container's start, or an exec ('' for ``id``), is for this one."""
        return (
            self.is_ready and self.ahead == forecast.ahead and (self.id == id or not self.is_reserved)
            and self.plugged in ("", forecast.plugged) and (not self.poised or self._is_poised_for(forecast))
        )  # fmt: skip

    def _is_poised_for(self, forecast: Forecast) -> bool:
        done = (self.foreseen, self.plugged, self.poised)
        return done == (forecast.foreseen, forecast.plugged, forecast.poised)

    def done(self, forecast: Forecast) -> Done:
        """What it has done of a start, or an exec, that it fits."""
        placed = self.foreseen != "" and self.foreseen == forecast.foreseen
        return Done(self.id != "", placed, self.plugged != "", self.poised != "", self.known)

    def ahead_of_it(self) -> Ahead:
        """What was done."""
        return Ahead(self.ahead, self.foreseen, self.plugged, self.poised)


@dataclasses.dataclass(frozen=True, slots=True)
class _Kind:
    """What is done ahead, with ``_ANY`` for the ID, and an earlier request to rehearse with."""

    ahead: str = ""
    foreseen: str = ""
    group: str = ""
    likely: Message = dataclasses.field(default_factory=dict)
    known: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """The operations of that, as JSON, and their places."""


class Standbys:
    """Those of one engine. Each start and exec is made within :meth:`under_way`, and asks :meth:`take`."""

    def __init__(self, spawner: Spawner, homes: Homes, places: Places) -> None:
        self._spawner = spawner
        self._homes = homes
        self._places = places
        self._waiting: list[_Standby] = []
        self._leaving: dict[str, asyncio.Future[None]] = {}
        """By ID, those who have yet to take back what they did for it."""
        self._start, self._exec = _Kind(), _Kind()
        self._poise = Poise()
        self._has_cable = False
        self._others = 0
        self._under_way = 0
        self._due: asyncio.TimerHandle | None = None
        self._closed = False
        self._failed: collections.Counter[str] = collections.Counter()
        self.clear_group: Callable[[str], Awaitable[None]] | None = None
        """Removes a control group of one who was killed; set by the composition."""
        spawner.restarted = self._start_over

    @contextlib.contextmanager
    def under_way(self) -> Iterator[None]:
        """Nobody is made to stand by while a start is under way; when it has come through, or failed, it is time."""
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1
            self._later()

    def reserve(self, network: str, likeness: object) -> str:
        """The ID for a new container: of one who stands by, if there is one for this network, and for what it is asked
        for with. Of another one it would be of no use: a start would wait until he is gone."""
        id = self._reserved(network, likeness) or new_id()
        self._poise.remember(id, likeness)
        return id

    def _reserved(self, network: str, likeness: object) -> str:
        kept = [one for one in self._waiting if one.is_reserved]
        free = [one for one in self._waiting if one.is_ready and one.id and not one.is_reserved]
        is_known = self._poise.knows(likeness)
        for one in sorted(free, key=lambda one: not one.poised):
            if self._places.suits(one.id, network) and (not one.poised or is_known):
                one.is_reserved = True
                self._let_go(kept[: max(0, len(kept) + 1 - SIZE)])
                self._later()
                return one.id
        return ""

    def release(self, id: str) -> None:
        """No container came to have this ID."""
        for one in self._waiting:
            if one.id == id:
                one.is_reserved = False
                self._let_go([one])
                return

    async def take(self, id: str, forecast: Forecast, request: Message) -> tuple[Monitor | None, Done]:
        """The monitor of one who fits, and what that has done. Nobody else has anything of the container's in his hands
        any more: whoever lets go of its directories has them made anew. ``id`` is '' for an exec."""
        self._learn(id, forecast, request)
        fitting = self._fitting(id, forecast)
        if id and (fitting is None or fitting.id != id):
            await self.forget(id)
            fitting = self._fitting(id, forecast)
        if fitting is None:
            return None, NOTHING
        self._waiting.remove(fitting)
        done = fitting.done(forecast)
        if fitting.id not in ("", id):  # without control groups, they are all alike
            # Not before it is out of the root that is mounted there: that would go with its mount point.
            fitting.monitor.launched.add_done_callback(lambda _: self._homes.bury(fitting.id))
        elif fitting.foreseen and not done.placed:
            self._homes.renew(id)
        self._places.release(fitting.id)  # it is the container's own now
        return fitting.monitor, done

    def ready_for(self, id: str, forecast: Forecast) -> Done:
        """What somebody has done who fits."""
        fitting = self._fitting(id, forecast) if forecast.ahead else None
        return fitting.done(forecast) if fitting else NOTHING

    def _fitting(self, id: str, forecast: Forecast) -> _Standby | None:
        fitting = [one for one in self._waiting if one.fits(id, forecast)]
        return min(fitting, key=lambda one: one.id != id, default=None)

    async def forget(self, id: str) -> None:
        """Let go who stands by for a container; returns when he has taken back what he did."""
        self._let_go([one for one in self._waiting if one.id == id])
        if (leaving := self._leaving.get(id)) is not None:
            await asyncio.shield(leaving)

    def _learn(self, id: str, forecast: Forecast, request: Message) -> None:
        if not id:
            self._exec = self._exec if self._exec.likely else _rehearsing(request, forecast)
            return
        ahead, foreseen = forecast.ahead.replace(id, _ANY), forecast.foreseen.replace(id, _ANY)
        if ahead and self._failed[ahead] < _TRIES:
            self._learn_kind(id, forecast, request, ahead, foreseen)
        self._learn_poise(id, forecast, ahead, foreseen)

    def _learn_kind(self, id: str, forecast: Forecast, request: Message, ahead: str, foreseen: str) -> None:
        self._others = 0 if ahead == self._start.ahead else self._others + 1
        if ahead == self._start.ahead:
            self._start = dataclasses.replace(self._start, foreseen=foreseen)
        elif not self._start.ahead or self._others >= _PATIENCE:
            group = request["monitor"]["cgroup"].replace(id, _ANY)
            kind = _rehearsing(request, forecast)
            self._start = dataclasses.replace(kind, ahead=ahead, foreseen=foreseen, group=group)
            self._others = 0
            self._let_go([one for one in self._waiting if one.id and not one.is_reserved])

    def _learn_poise(self, id: str, forecast: Forecast, ahead: str, foreseen: str) -> None:
        text = _of_any(forecast.poised, id)
        self._has_cable = forecast.plugged != ""
        is_likely = ahead == self._start.ahead and self._failed[text] < _TRIES
        if self._poise.learn(id, (ahead, foreseen, self._has_cable, text), text if is_likely else ""):
            # And those who stood by for the beginning of a row, and have no place in its network.
            useless = [one for one in self._waiting if one.poised or (self._has_cable and not one.plugged)]
            self._let_go([one for one in useless if one.id and not one.is_reserved])

    def images_changed(self) -> None:
        """Layers were removed: nobody is to have a root of them."""
        self._start = dataclasses.replace(self._start, foreseen="")
        self._poise.give_up()
        self._let_go([one for one in self._waiting if one.foreseen])
        self._later()

    def unplug(self, id: str) -> None:
        """Somebody else has the place in a network that was reserved for a container."""
        self._let_go([one for one in self._waiting if one.id == id])

    def _start_over(self) -> None:
        """Those of a spawner that died have nobody above them who would learn how a container ended."""
        self._let_go(list(self._waiting))
        self._later()

    def _later(self) -> None:
        if self._closed:
            return
        if self._due is not None:
            self._due.cancel()
        self._due = asyncio.get_running_loop().call_later(_QUIET, self._refill)

    def _refill(self) -> None:
        """Make one more stand by. Its being ready, or its end, is the time for the next."""
        self._due = None
        free = [one for one in self._waiting if not one.is_reserved]
        if self._under_way or not all(one.is_ready for one in free):
            return
        outdated = [one for one in free if one.id and self._places.is_outdated(one.id)]
        self._let_go(outdated)
        free = [one for one in free if one not in outdated]
        for_starts = [one for one in free if one.id]
        if self._start.ahead and (how := self._wanted(for_starts)) is not None:
            self._make_for_start(self._start, poised=how)
            return
        self._let_go(self._surplus(for_starts))
        if all(one.id for one in free):
            ours, theirs = messages.pair()
            self._make(_Standby(Monitor(ours), known=self._exec.known), theirs, self._exec.likely)

    def _has_general(self) -> bool:
        return any(one.id and not one.poised and not one.is_reserved for one in self._waiting)

    def _wanted(self, free: list[_Standby]) -> bool | None:
        """Whether one more is to be poised; None for no more. In a row of starts that are alike there are as many who
        are poised for the next, and one for whatever else comes."""
        poised = sum(one.poised != "" for one in free)
        if self._poise.text and poised < SIZE:
            return True
        return False if len(free) - poised < self._generals(poised) else None

    def _generals(self, poised: int) -> int:
        """How many are to stand by for any start."""
        return 1 if self._poise.text or poised else SIZE

    def _surplus(self, free: list[_Standby]) -> list[_Standby]:
        """Those who stood by for any start before others were poised, and are too many now that these are there."""
        poised = [one for one in free if one.poised]
        return [one for one in free if not one.poised][self._generals(len(poised)) :]

    def _make_for_start(self, kind: _Kind, *, poised: bool) -> None:
        id = new_id()
        try:
            self._homes.make_ahead(id)
        except OSError as error:  # a start will say so, if it is still so by then
            _log.warning("stand by for a start: make a container's directory: %s", error)
            self._homes.bury(id)
            return
        ours, theirs = messages.pair()
        ahead, foreseen, group, text = (
            _of_one(text, id) for text in (kind.ahead, kind.foreseen, kind.group, self._poise.text)
        )
        plugged = as_json(self._places.reserve(id))
        text = text if poised and (plugged != "") == self._has_cable else ""
        if poised and not text and self._has_general():  # no place is to be had in a network: it could not be poised
            self._places.release(id)
            self._homes.bury(id)
            ours.close()
            theirs.close()
            return
        one = _Standby(Monitor(ours), id, ahead, foreseen, plugged, text, group, kind.known)
        self._make(one, theirs, kind.likely)

    def _make(self, one: _Standby, theirs: socket.socket, likely: Message) -> None:
        self._waiting.append(one)
        one.monitor.standing.add_done_callback(lambda done: self._stands(one, done))
        one.monitor.gone.add_done_callback(lambda _: self._left(one))
        home = str(self._homes.paths.container(one.id)) if one.id else ""
        request: Message = {"do": "stand-by", "home": home, "ahead": one.ahead_of_it().encode(), "likely": likely}
        with theirs:
            try:
                self._spawner.tell(request, [theirs.fileno()])
            except CortenError:  # it is being started again: so will this be
                self._let_go([one])

    def _stands(self, one: _Standby, done: asyncio.Future[None]) -> None:
        if not done.cancelled() and done.exception() is None:
            one.is_ready = True
            self._later()

    def _left(self, one: _Standby) -> None:
        """Its monitor is gone, uncalled. What could not be prepared some times is not tried again."""
        if one not in self._waiting:
            return
        if one.id and not one.is_ready:
            self._note_failure(one)
        self._waiting.remove(one)
        one.monitor.close()
        if one.group and self.clear_group is not None:
            self._see_off(one, asyncio.ensure_future(self.clear_group(one.group)))
        elif one.id:
            self._see_off(one, one.monitor.gone)
        self._later()

    def _note_failure(self, one: _Standby) -> None:
        if one.poised:
            self._failed[_of_any(one.poised, one.id)] += 1
            self._poise.give_up()
            return
        if one.foreseen and self._start.foreseen:
            self._start = dataclasses.replace(self._start, foreseen="")  # its image may be gone
            return
        ahead = one.ahead.replace(one.id, _ANY)
        self._failed[ahead] += 1
        if self._failed[ahead] == _TRIES and self._start.ahead == ahead:
            _log.warning("stand by for a start: it cannot be prepared, starts take the long way")
            self._start = _Kind()

    def _let_go(self, some: list[_Standby]) -> None:
        """Have them take back what they did, and leave."""
        for one in some:
            if one in self._waiting:
                self._waiting.remove(one)
                one.monitor.dismiss()
                self._see_off(one, one.monitor.gone)

    def _see_off(self, one: _Standby, gone: asyncio.Future[None]) -> None:
        def over(_: object) -> None:
            self._leaving.pop(one.id, None)
            one.monitor.close()
            self._places.release(one.id)
            if one.id and not one.is_reserved:
                self._homes.bury(one.id)
            elif one.foreseen:
                self._renew(one.id)

        self._leaving[one.id] = gone
        gone.add_done_callback(over)

    async def take_back(self, id: str, monitor: Monitor) -> None:
        """A container was not started by one who was poised for it; returns when nobody has anything of it in his
        hands."""
        monitor.take_back()
        try:
            async with asyncio.timeout(_FAREWELL):
                await asyncio.shield(monitor.gone)
        except TimeoutError:
            _log.warning("container %s: who was poised for it does not leave", id[:12])
        monitor.close()
        self._renew(id)

    def _renew(self, id: str) -> None:
        """To whoever mounts it next, it is to be as new."""
        try:
            self._homes.renew(id)
        except (OSError, CortenError) as error:  # its start will fail, and say why
            _log.warning("container %s: make its directories anew: %s", id[:12], error)

    async def close(self) -> None:
        """Let go of all of them; no others are made."""
        self._closed = True
        if self._due is not None:
            self._due.cancel()
        self._let_go(list(self._waiting))
        if self._leaving:
            await asyncio.wait(self._leaving.values(), timeout=_FAREWELL)


def _of_any(text: str, id: str) -> str:
    """Operations of one container, as those of any."""
    return text.replace(id, _ANY).replace(id[:_SHORT_ID], _SHORT)


def _of_one(text: str, id: str) -> str:
    """The way back from :func:`_of_any`."""
    return text.replace(_ANY, id).replace(_SHORT, id[:_SHORT_ID])


def _rehearsing(request: Message, forecast: Forecast) -> _Kind:
    """With a request as others may see it: a command and its environment are their container's own business."""
    steps = tuple(step for step in forecast.plan.steps if not isinstance(step, Execute))
    shown = Forecast.of(Plan(steps))
    return _Kind(likely={**request, "order": shown.order().encode()}, known=shown.known())
