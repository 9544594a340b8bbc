"""What of a start can be done before it is asked for, and how a plan is handed to who stands by.

Most of a start is the same for nearly every container: its namespaces, ``/proc``, ``/dev`` and ``/sys`` with all that
is hidden in them, a session. An init that stands by has done these operations already, in a tree of its own
(:mod:`corten.runtime.stages.staging`), and sits in the control group of a container that is to be: who creates one next
gets that one's ID. So it can have a root already, too, of the image that was started last. The plan still lists all
these operations, with the same text.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Iterable, Sequence
from typing import Any

from corten.runtime.operations.files import Mount
from corten.runtime.operations.root import OverlayMount
from corten.spec.operation import CLONE, INIT, PARENT, Operation, encode
from corten.spec.plan import Plan


@dataclasses.dataclass(frozen=True, slots=True)
class Ready:
    """Places of operations that can be done ahead."""

    outside: tuple[int, ...] = ()
    """Among those that are not the init's: those of the host. The clone is done ahead, too."""
    inside: tuple[int, ...] = ()
    """Among the init's: those of nearly every container."""
    foreseen: tuple[int, ...] = ()
    """Among the init's: those of one container, of one image."""


@dataclasses.dataclass(frozen=True, slots=True)
class Order:
    """A plan on its way to who starts it, in the parts that the processes of a start read."""

    outside: list[dict[str, Any]]
    """The operations of the starter, and the clone."""
    inside: str
    """Those of the init, as JSON: an init that stands by decodes no more of them than it has to do."""
    ahead: str = ""
    """What an init that stands by has done when it fits this plan, as JSON; '' where none can fit."""
    foreseen: str = ""
    """What it has done besides if its image was guessed right, as JSON."""
    made: tuple[int, ...] = ()
    """The places of what is done ahead in ``outside``."""
    ready: tuple[int, ...] = ()
    """The same in ``inside``."""
    is_placed: bool = False
    """Whether ``foreseen`` counts among it: the container's root is there, and all that is ready in its place."""
    sources: tuple[tuple[str, bool], ...] = ()
    """What of the host the other ones show: (path, with all that is mounted below)."""

    @classmethod
    def of(cls, plan: Plan, *, placed: bool = False) -> Order:
        """The order of a plan, for one that nobody or just anybody stands by for; with ``placed``, for one who has done
        what was foreseen."""
        can = ahead(plan)
        inside = plan.stage(INIT)
        outside = [step for step in plan.steps if step.stage != INIT]
        ready = (*can.inside, *can.foreseen) if placed else can.inside
        early = (*plan.stage(CLONE), *_at(can.outside, outside), *_at(can.inside, inside))
        return cls(
            [encode(step) for step in outside],
            _json(inside),
            _json(early) if ready else "",
            _json(_at(can.foreseen, inside)) if can.foreseen else "",
            can.outside,
            ready,
            placed,
            tuple(source for place, step in enumerate(inside) if place not in ready for source in step.sources()),
        )

    def encode(self) -> dict[str, Any]:
        """The JSON form."""
        return {name: getattr(self, name) for name in _FIELDS}

    @classmethod
    def decode(cls, value: dict[str, Any]) -> Order:
        """The value of a JSON form."""
        return cls(**value)

    def plan(self) -> Plan:
        """The whole plan, for a start that nobody stands by for."""
        return Plan.decode([*self.outside, *json.loads(self.inside)])

    def left_outside(self) -> Plan:
        """What the starter of one who stands by has still to do."""
        return Plan.decode([value for place, value in enumerate(self.outside) if place not in self.made])


_FIELDS = tuple(field.name for field in dataclasses.fields(Order))


def _at(places: Iterable[int], steps: Sequence[Operation]) -> list[Operation]:
    return [steps[place] for place in places]


def _json(steps: Iterable[Operation]) -> str:
    return f"[{','.join(map(_text, steps))}]"


@functools.lru_cache(maxsize=256)  # most steps are the same in every plan
def _text(step: Operation) -> str:
    return json.dumps(encode(step), separators=(",", ":"))


def ahead(plan: Plan) -> Ready:
    """What of a plan can be done ahead.

    Nothing where an operation that is left needs the host's tree; and none that would come before another one which it
    has to follow: what is mounted last at a path is what is seen there.
    """
    outside = [step for step in plan.steps if step.stage != INIT]
    inside, trees = _of_every_container(plan.stage(INIT))
    left = [step for place, step in enumerate(plan.stage(INIT)) if place not in inside]
    if not inside or any(step.of_host for step in (*outside, *left)):
        return Ready()
    made = tuple(place for place, step in enumerate(outside) if step.stage != PARENT and step.ahead())
    return Ready(made, inside, _of_one_container(plan.stage(INIT), inside, trees))


def _of_every_container(steps: Sequence[Operation]) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """The places, and the trees that are mounted by what is there."""
    found: list[int] = []
    trees: tuple[str, ...] = ()
    later: tuple[str, ...] = ()
    for place, step in enumerate(steps):
        paths = _paths(step)
        is_tree = isinstance(step, Mount) and paths != ("/",)
        if step.ahead() and (is_tree or all(path.startswith(trees) for path in paths)) and not _meet(paths, later):
            found.append(place)
            trees += paths if is_tree else ()
        else:
            later += paths
    return tuple(found), trees


def _of_one_container(
    steps: Sequence[Operation], ready: Sequence[int], trees: tuple[str, ...]
) -> tuple[int, ...]:
    """The places of the root, and of what goes into it beside ``trees``, which were placed there before."""
    roots = [(place, step) for place, step in enumerate(steps) if isinstance(step, OverlayMount)]
    if len(roots) != 1:
        return ()
    first, root = roots[0]
    found = [first]
    later = trees
    for place, step in enumerate(steps):
        if place <= first or place in ready:
            continue
        if step.foreseen(root.own) and not _meet(_paths(step), later):
            found.append(place)
        else:
            later += _paths(step)
    return tuple(found)


@functools.lru_cache(maxsize=256)
def _paths(step: Operation) -> tuple[str, ...]:
    return tuple(closed(path) for path in step.places())


def _meet(paths: tuple[str, ...], others: tuple[str, ...]) -> bool:
    return any(path.startswith(others) for path in paths) or any(other.startswith(paths) for other in others)


def closed(path: str) -> str:
    """A path with a slash at its end: what starts with it is the same or lies below."""
    return f"{path.rstrip('/')}/"
