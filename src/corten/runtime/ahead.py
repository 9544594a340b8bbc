"""What of a start can be done before it is asked for, and how a plan is handed to who stands by.

Most of a start is the same for nearly every container: its namespaces, ``/proc``, ``/dev`` and ``/sys`` with all that
is hidden in them, a session. An init that stands by has done these operations already, in a tree of its own
(:mod:`corten.runtime.stages.staging`), and sits in the control group of a container that is to be: who creates one next
gets that one's ID. So it can have a root already, too, of the image that was started last, and a place in the network
that the last ones were in. When the last starts differed in nothing but their command, it can be *poised*: all is done
but the command (:mod:`corten.runtime.latch`). The plan still lists all these operations, with the same text.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from corten.runtime import latch
from corten.runtime.operations.files import Mount
from corten.runtime.operations.identity import Execute, FindCommand
from corten.runtime.operations.root import OverlayMount
from corten.spec.operation import CLONE, INIT, PARENT, Operation, decode, encode
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
    cables: tuple[int, ...] = ()
    """Among those that are not the init's: those of one container's place in a network."""
    plugged: tuple[int, ...] = ()
    """Among the init's: the same."""
    limits: tuple[int, ...] = ()
    """Among those that are not the init's: what is left for the host to do for one that is poised."""
    poised: tuple[int, ...] = ()
    """Among the init's: all others but those of the command, where these can be done after all others."""


@dataclasses.dataclass(frozen=True, slots=True)
class Ahead:
    """What is done ahead by one who stands by, operations as JSON: what nearly every start has, what is foreseen of the
    root, a place in a network, and all else but the command."""

    steps: str = ""
    foreseen: str = ""
    plugged: str = ""
    poised: str = ""

    def plans(self) -> tuple[Plan, Plan, Plan, Plan]:
        """The operations of each."""
        texts = (self.steps, self.foreseen, self.plugged, self.poised)
        steps, foreseen, plugged, poised = (Plan.decode(json.loads(text or "[]")) for text in texts)
        return steps, foreseen, plugged, poised

    def encode(self) -> dict[str, str]:
        """The JSON form."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True, slots=True)
class Order:
    """A plan on its way to who starts it, in the parts that the processes of a start read."""

    outside: list[dict[str, Any]]
    """The operations of the starter, and the clone."""
    inside: str
    """Those of the init, as JSON: an init that stands by decodes no more of them than it has to do. A number is the
    place of the same operation in the order that it was shown to rehearse with."""
    ready: tuple[int, ...] = ()
    """The places in ``inside`` of what an init that stands by has done, and has yet to put into the root."""
    is_placed: bool = False
    """Whether it has a root already, and everything in its place: what was done for that is not in the order."""
    sources: tuple[tuple[str, bool], ...] = ()
    """What of the host the operations that are left show: (path, with all that is mounted below)."""
    awaits: bool = False
    """Whether the starter has links to make yet, which the init waits for."""

    def encode(self) -> dict[str, Any]:
        """The JSON form."""
        return {name: getattr(self, name) for name in _FIELDS}

    @classmethod
    def decode(cls, value: dict[str, Any]) -> Order:
        """The value of a JSON form."""
        return cls(**value)

    def plan(self, known: Sequence[Operation] = ()) -> Plan:
        """The whole plan, for a start that nobody stands by for."""
        return Plan((*Plan.decode(self.outside).steps, *self.steps(known)))

    def steps(self, known: Sequence[Operation] = ()) -> list[Operation]:
        """The operations of the init; ``known`` are those of the order that was rehearsed."""
        return [known[value] if isinstance(value, int) else decode(value) for value in json.loads(self.inside)]


_FIELDS = tuple(field.name for field in dataclasses.fields(Order))


class _Facts(NamedTuple):
    """What an operation says of itself."""

    text: str
    ahead: bool
    of_host: bool
    is_tree: bool
    of_endpoint: bool
    paths: tuple[str, ...]
    sources: tuple[tuple[str, bool], ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Done:
    """What one who stands by has done of what a forecast names. Without ``stands`` nobody does."""

    stands: bool = False
    placed: bool = False
    """Its image was guessed right."""
    plugged: bool = False
    """It has the container's place in its network."""
    poised: bool = False
    """It waits for nothing but the command."""
    known: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """The operations, as JSON, that it was shown to rehearse with, and their places."""


NOTHING = Done()


@dataclasses.dataclass(frozen=True, slots=True)
class Forecast:
    """What of a plan can be done ahead, by whom it is to be given to."""

    plan: Plan
    outside: Sequence[Operation]
    inside: Sequence[_Facts]
    places: Ready
    ahead: str
    """What an init that stands by has done when it fits this plan, as JSON; '' where none can fit."""
    foreseen: str
    """What it has done besides if its image was guessed right, as JSON."""
    plugged: str
    """What it has done besides if it has the container's place in its network, as JSON; '' for no such place."""
    poised: str
    """What it has done besides, and besides all these, if it is poised, as JSON; '' where none can be."""

    @classmethod
    def of(cls, plan: Plan, *, listens: bool = True) -> Forecast:
        """The forecast of a plan; ``listens`` says that the command has a standard input of its own."""
        outside = [step for step in plan.steps if step.stage != INIT]
        steps = plan.stage(INIT)
        inside = [_facts(step) for step in steps]
        can = _ready(outside, steps, inside)
        early = (*map(_facts, plan.stage(CLONE)), *map(_facts, _at(can.outside, outside)), *_at(can.inside, inside))
        ahead = _json(early) if can.inside else ""
        plugged = _json((*map(_facts, _at(can.cables, outside)), *_at(can.plugged, inside)))
        if listens:
            can = dataclasses.replace(can, limits=(), poised=())
        poised = _json((*map(_facts, _at(can.limits, outside)), *_at(can.poised, inside)))
        return cls(plan, outside, inside, can, ahead, _json(_at(can.foreseen, inside)), plugged, poised)

    def order(self, done: Done = NOTHING) -> Order:
        """The order for one who has done this."""
        made, ready = self._outside(done), self._inside(done)
        left = [facts for place, facts in enumerate(self.inside) if place not in ready]
        outside = [step for place, step in enumerate(self.outside) if place not in made]
        texts = [facts.text for facts in (left if done.placed else self.inside)]
        return Order(
            [encode(step) for step in outside],
            f"[{','.join(str(done.known[text]) if text in done.known else text for text in texts)}]",
            () if done.placed else ready,
            done.placed,
            tuple(source for facts in left for source in facts.sources),
            any(step.stage == PARENT for step in outside),
        )

    def command(self, home: str) -> bytes:
        """What is left for one who is poised (:func:`corten.runtime.latch.image`); ``home`` is its user's."""
        content = _command(self.plan.steps, home)
        assert content is not None  # nobody is poised for what has none
        return content

    def known(self) -> dict[str, int]:
        """What one has been shown who was given the whole order."""
        return {facts.text: place for place, facts in enumerate(self.inside)}

    def done(self, done: Done) -> frozenset[int]:
        """The places in the whole plan of what one who stands by has done."""
        if not done.stands:
            return frozenset()
        outside = [place for place, step in enumerate(self.plan.steps) if step.stage != INIT]
        inside = [place for place, step in enumerate(self.plan.steps) if step.stage == INIT]
        clone = (place for place, step in enumerate(self.plan.steps) if step.stage == CLONE)
        return frozenset((*clone, *_at(self._outside(done), outside), *_at(self._inside(done), inside)))

    def _outside(self, done: Done) -> tuple[int, ...]:
        can = self.places
        return (
            *(can.outside if done.stands else ()), *(can.cables if done.plugged else ()),
            *(can.limits if done.poised else ()),
        )  # fmt: skip

    def _inside(self, done: Done) -> tuple[int, ...]:
        can = self.places
        return (
            *(can.inside if done.stands else ()), *(can.foreseen if done.placed else ()),
            *(can.plugged if done.plugged else ()), *(can.poised if done.poised else ()),
        )  # fmt: skip


T = TypeVar("T")


@functools.lru_cache(maxsize=256)  # most steps are the same in every plan
def _facts(step: Operation) -> _Facts:
    paths = tuple(closed(path) for path in step.places())
    return _Facts(
        json.dumps(encode(step), separators=(",", ":")), step.ahead(), step.of_host,
        isinstance(step, Mount) and paths != ("/",), step.of_endpoint, paths, step.sources(),
    )  # fmt: skip


def _at(places: Iterable[int], steps: Sequence[T]) -> list[T]:
    return [steps[place] for place in places]


def as_json(steps: Iterable[Operation]) -> str:
    """Operations as a forecast has them: '' for none."""
    return _json(map(_facts, steps))


def _json(steps: Iterable[_Facts]) -> str:
    texts = ",".join(facts.text for facts in steps)
    return f"[{texts}]" if texts else ""


def _ready(outside: Sequence[Operation], steps: Sequence[Operation], inside: Sequence[_Facts]) -> Ready:
    """Nothing where an operation that is left needs the host's tree; and none that would come before another one which
    it has to follow: what is mounted last at a path is what is seen there."""
    found, trees = _of_every_container(inside)
    left = any(facts.of_host for place, facts in enumerate(inside) if place not in found)
    if not found or left or any(step.of_host for step in outside):
        return Ready()
    made = tuple(place for place, step in enumerate(outside) if step.stage != PARENT and step.ahead())
    foreseen = _of_one_container(steps, inside, found, trees)
    cables = tuple(place for place, step in enumerate(outside) if step.of_endpoint)
    plugged = tuple(place for place, facts in enumerate(inside) if facts.of_endpoint)
    limits = tuple(place for place, step in enumerate(outside) if step.poises)
    is_all = {*made, *cables, *limits}.issuperset(place for place, step in enumerate(outside) if step.stage != CLONE)
    poised = _beside_the_command(steps, {*found, *foreseen, *plugged}) if is_all and foreseen else ()
    return Ready(made, found, foreseen, cables, plugged, limits if poised else (), poised)


def _of_every_container(known: Sequence[_Facts]) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """The places, and the trees that are mounted by what is there."""
    found: list[int] = []
    trees: tuple[str, ...] = ()
    later: tuple[str, ...] = ()
    for place, facts in enumerate(known):
        paths = facts.paths
        if not facts.ahead or _meet(paths, later):
            later += paths
        elif facts.is_tree or all(path.startswith(trees) for path in paths):
            found.append(place)
            trees += paths if facts.is_tree else ()
        else:
            later += paths
    return tuple(found), trees


def _of_one_container(
    steps: Sequence[Operation], known: Sequence[_Facts], ready: Sequence[int], trees: tuple[str, ...]
) -> tuple[int, ...]:
    """The places of the root, and of what goes into it beside ``trees``, which were placed there before."""
    roots = [(place, step) for place, step in enumerate(steps) if isinstance(step, OverlayMount)]
    if len(roots) != 1:
        return ()
    first, root = roots[0]
    own = root.own
    found, later = [first], trees
    for place in range(first + 1, len(steps)):
        if place in ready:
            continue
        paths = known[place].paths
        if paths and steps[place].foreseen(own) and not _meet(paths, later):
            found.append(place)
        else:
            later += paths
    return tuple(found)


def _beside_the_command(steps: Sequence[Operation], done: Collection[int]) -> tuple[int, ...]:
    """The places of what is left when the others are done, if nothing of it has to be after the command is known."""
    left = [(place, step) for place, step in enumerate(steps) if place not in done]
    poised = tuple(place for place, step in left if step.poises)
    others = [step for _, step in left if not step.poises]
    match others:
        case [FindCommand(), Execute(reaper=False)] if _command(others, "/" * latch.LONGEST_HOME):
            return poised
    return ()


def _command(steps: Sequence[Operation], home: str) -> bytes | None:
    (find,) = (one for one in steps if isinstance(one, FindCommand))
    (execute,) = (one for one in steps if isinstance(one, Execute))
    return latch.image(find.candidates(), execute.args, execute.environment(home))


def _meet(paths: tuple[str, ...], others: tuple[str, ...]) -> bool:
    return bool(paths and others) and (
        any(path.startswith(others) for path in paths) or any(other.startswith(paths) for other in others)
    )


def closed(path: str) -> str:
    """A path with a slash at its end: what starts with it is the same or lies below."""
    return f"{path.rstrip('/')}/"
