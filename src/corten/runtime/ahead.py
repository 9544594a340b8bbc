"""What of a start can be done before its container is known, and how a plan is handed to who stands by.

Most of a start is the same for nearly every container: its namespaces, ``/proc``, ``/dev`` and ``/sys`` with all that
is hidden in them, a session. An init that stands by has done these operations already, in a tree of its own
(:mod:`corten.runtime.stages.staging`); the plan still lists them, with the same text.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Iterable
from typing import Any

from corten.runtime.operations.files import Mount
from corten.spec.operation import CLONE, INIT, Operation, encode
from corten.spec.plan import Plan


@dataclasses.dataclass(frozen=True, slots=True)
class Order:
    """A plan on its way to who starts it, in the parts that the processes of a start read."""

    outside: list[dict[str, Any]]
    """The operations of the starter, and the clone."""
    inside: str
    """Those of the init, as JSON: an init that stands by decodes no more of them than it has to do."""
    ahead: str = ""
    """What an init that stands by has done when it fits this plan, as JSON; '' where none can fit."""
    ready: tuple[int, ...] = ()
    """The places of these among the init's operations."""
    sources: tuple[tuple[str, bool], ...] = ()
    """What of the host the other ones show: (path, with all that is mounted below)."""
    writes: tuple[str, ...] = ()
    """The files of the host's that they write."""

    @classmethod
    def of(cls, plan: Plan) -> Order:
        """The order of a plan."""
        inside = plan.stage(INIT)
        outside = [encode(step) for step in plan.steps if step.stage != INIT]
        ready = ahead(plan)
        left = [step for place, step in enumerate(inside) if place not in ready]
        return cls(
            outside,
            _json(inside),
            _ahead_json((*plan.stage(CLONE), *(inside[place] for place in ready))) if ready else "",
            ready,
            tuple(source for step in left for source in step.sources()),
            tuple(file for step in left for file in step.writes()),
        )

    def encode(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "outside": self.outside, "inside": self.inside, "ahead": self.ahead, "ready": self.ready,
            "sources": self.sources, "writes": self.writes,
        }  # fmt: skip

    @classmethod
    def decode(cls, value: dict[str, Any]) -> Order:
        """The value of a JSON form."""
        return cls(**value)

    def plan(self) -> Plan:
        """The whole plan, for a start that nobody stands by for."""
        return Plan.decode([*self.outside, *json.loads(self.inside)])


def _json(steps: Iterable[Operation]) -> str:
    return json.dumps([encode(step) for step in steps], separators=(",", ":"))


_ahead_json = functools.lru_cache(maxsize=16)(_json)


def ahead(plan: Plan) -> tuple[int, ...]:
    """The places, among the operations of stage ``init``, of those that can be done ahead.

    None where an operation that is left needs the host's tree; and none that would come before another one which it
    has to follow: what is mounted last at a path is what is seen there.
    """
    if any(step.of_host for step in plan.steps if step.stage != INIT):
        return ()
    found: list[int] = []
    trees: tuple[str, ...] = ()
    later: tuple[str, ...] = ()
    for place, step in enumerate(plan.stage(INIT)):
        paths = _paths(step)
        is_tree = isinstance(step, Mount) and paths != ("/",)
        if step.ahead() and (is_tree or all(path.startswith(trees) for path in paths)) and not _meet(paths, later):
            found.append(place)
            trees += paths if is_tree else ()
        elif step.of_host:
            return ()
        else:
            later += paths
    return tuple(found)


@functools.lru_cache(maxsize=256)  # most steps are the same in every plan
def _paths(step: Operation) -> tuple[str, ...]:
    return tuple(closed(path) for path in step.places())


def _meet(paths: tuple[str, ...], others: tuple[str, ...]) -> bool:
    return any(path.startswith(others) for path in paths) or any(other.startswith(paths) for other in others)


def closed(path: str) -> str:
    """A path with a slash at its end: what starts with it is the same or lies below."""
    return f"{path.rstrip('/')}/"
