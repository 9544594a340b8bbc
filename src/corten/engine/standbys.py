"""Monitors that stand by for the next start, so that it finds done what nearly every start has.

What that is, the last start tells: its order names the operations that could have been done ahead. A start that one
who stands by fits is his; every other one takes the long way, by a fork of the spawner. One more monitor stands by
with nothing done, for an exec.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import json
import logging
from collections.abc import Iterator

from corten.engine.channel import Message
from corten.engine.monitors import Monitor
from corten.engine.spawning import Spawner
from corten.errors import CortenError
from corten.runtime.operations.identity import Execute
from corten.sys import messages

_log = logging.getLogger(__name__)
SIZE = 2
"""How many stand by for a start."""
_QUIET = 0.01
"""Seconds after a start has come through before another one is made to stand by: it would take the processor from
what somebody waits for."""
_TRIES = 3
"""Of preparing one kind, before that is given up."""
_PATIENCE = 2
"""Starts of another kind, one after the other, before those who stand by for the earlier kind are let go."""


@dataclasses.dataclass(slots=True)
class _Standby:
    monitor: Monitor
    ahead: str
    ready: bool = False


class Standbys:
    """Those of one engine. Each start and exec is made within :meth:`under_way`, and asks :meth:`take`."""

    def __init__(self, spawner: Spawner) -> None:
        self._spawner = spawner
        self._waiting: list[_Standby] = []
        self._ahead = ""
        self._start: Message = {}
        self._exec: Message = {}
        """Earlier requests, to rehearse with."""
        self._others = 0
        self._under_way = 0
        self._due: asyncio.TimerHandle | None = None
        self._closed = False
        self._failed: collections.Counter[str] = collections.Counter()
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

    def take(self, ahead: str, request: Message) -> Monitor | None:
        """The monitor of one who stands by with just ``ahead`` done ('' nothing); None when there is none."""
        self._learn(ahead, request)
        for one in self._waiting:
            if one.ready and one.ahead == ahead:
                self._waiting.remove(one)
                return one.monitor
        return None

    def stands(self, ahead: str) -> bool:
        """Whether somebody stands by with ``ahead`` done."""
        return any(one.ready and one.ahead == ahead for one in self._waiting)

    def _learn(self, ahead: str, request: Message) -> None:
        if request["do"] == "exec" and not self._exec:
            self._exec = _without_command(request)
        if not ahead or self._failed[ahead] >= _TRIES:
            return
        self._others = 0 if ahead == self._ahead else self._others + 1
        if ahead != self._ahead and (not self._ahead or self._others >= _PATIENCE):
            self._ahead, self._others = ahead, 0
            self._start = _without_command(request)
            self._let_go([one for one in self._waiting if one.ahead])

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
        if self._under_way or not all(one.ready for one in self._waiting):
            return
        of_kind = sum(one.ahead != "" for one in self._waiting)
        if self._ahead and of_kind < SIZE:
            self._make(self._ahead)
        elif of_kind == len(self._waiting):
            self._make("")

    def _make(self, ahead: str) -> None:
        ours, theirs = messages.pair()
        one = _Standby(Monitor(ours), ahead)
        self._waiting.append(one)
        one.monitor.standing.add_done_callback(lambda done: self._stands(one, done))
        one.monitor.gone.add_done_callback(lambda _: self._left(one))
        with theirs:
            try:
                likely = self._start if ahead else self._exec
                self._spawner.tell({"do": "stand-by", "ahead": ahead, "likely": likely}, [theirs.fileno()])
            except CortenError:  # it is being started again: so will this be
                self._let_go([one])

    def _stands(self, one: _Standby, done: asyncio.Future[None]) -> None:
        if not done.cancelled() and done.exception() is None:
            one.ready = True
            self._later()

    def _left(self, one: _Standby) -> None:
        """Its monitor is gone. What could not be prepared some times is not tried again."""
        if one not in self._waiting:
            return
        if not one.ready and one.ahead:
            self._failed[one.ahead] += 1
            if self._failed[one.ahead] == _TRIES and self._ahead == one.ahead:
                _log.warning("stand by for a start: it cannot be prepared, starts take the long way")
                self._ahead = ""
        self._let_go([one])
        self._later()

    def _let_go(self, some: list[_Standby]) -> None:
        for one in some:
            if one in self._waiting:
                self._waiting.remove(one)
                one.monitor.close()

    def close(self) -> None:
        """Hang up on all of them: they leave, and no others are made."""
        self._closed = True
        if self._due is not None:
            self._due.cancel()
        self._let_go(list(self._waiting))


def _without_command(request: Message) -> Message:
    """A request as others may see it: a command and its environment are their container's own business."""
    order = request["order"]
    steps = [step for step in json.loads(order["inside"]) if step["kind"] != Execute.kind]
    return {**request, "order": {**order, "inside": json.dumps(steps)}}
