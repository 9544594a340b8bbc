"""Which stages a target needs, and where a name after FROM, ``--from`` or ``from=`` leads.

A name is looked for among the stages, then the named contexts, and is an image otherwise; ``scratch`` is nothing.
A stage that a named context replaces is not built. A stage uses only stages before it; names of stages know no case;
COPY alone may give a stage's number.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence

from corten.build import mount
from corten.build.applied import Base
from corten.build.expansion import expand, quoted
from corten.build.failure import Source
from corten.build.instructions import Copy, Dockerfile, Instruction, Run, Stage
from corten.build.suggestions import hinted
from corten.errors import DockerfileError, InvalidInput
from corten.spec import reference

SCRATCH = "scratch"
_NEVER_CONTEXTS = (SCRATCH, "context")


@dataclasses.dataclass(frozen=True, slots=True)
class FromStage:
    """The files of another stage of the file, by its number."""

    index: int


@dataclasses.dataclass(frozen=True, slots=True)
class FromContext:
    """A named context, in the name under which it was given."""

    name: str


@dataclasses.dataclass(frozen=True, slots=True)
class FromImage:
    """An image, as written."""

    name: str


@dataclasses.dataclass(frozen=True, slots=True)
class FromNothing:
    """``scratch``: an empty file system."""


Origin = FromStage | FromContext | FromImage | FromNothing


@dataclasses.dataclass(frozen=True, slots=True)
class Use:
    """An origin that an instruction of a stage takes files from, and the name that leads there."""

    instruction: Instruction
    origin: Origin
    name: str


@dataclasses.dataclass(frozen=True, slots=True)
class Node:
    """A stage with what it begins with and what its instructions use. If a named context stands in for it, that is
    its origin, and it has no instructions to follow."""

    stage: Stage
    origin: Origin
    base: Base
    uses: tuple[Use, ...] = ()
    replaced: bool = False

    @property
    def title(self) -> str:
        """The stage's name, or ``stage-0`` and so on."""
        return self.stage.name or f"stage-{self.stage.index}"

    @property
    def needs(self) -> frozenset[int]:
        """The numbers of the stages that it needs at once."""
        origins = (self.origin, *(use.origin for use in self.uses))
        return frozenset(one.index for one in origins if isinstance(one, FromStage))


@dataclasses.dataclass(frozen=True, slots=True)
class Names:
    """Where names lead: stages by their names, of two with one name the later one; contexts by theirs."""

    stages: Mapping[str, int]
    contexts: Mapping[str, str]
    count: int

    @classmethod
    def of(cls, stages: Iterable[Stage], contexts: Iterable[str]) -> Names:
        """The names of such stages and contexts."""
        known = list(stages)
        named = {stage.name: stage.index for stage in known if stage.name}
        return cls(named, {context_key(one): one for one in contexts}, len(known))

    def origin(self, name: str, *, number: bool = False) -> Origin:
        """Where a name leads; ``number`` if it may be a stage's. Raises InvalidInput for a number too large."""
        if number and (index := _number(name)) is not None:
            if not 0 <= index < self.count:
                raise InvalidInput(f"invalid stage index {index}")
            return FromStage(index)
        if name.lower() in self.stages:
            return FromStage(self.stages[name.lower()])
        return FromNothing() if name == SCRATCH else self.context(name) or FromImage(name)

    def context(self, name: str) -> FromContext | None:
        """The named context that stands in for a stage or an image."""
        found = None if name.lower() in _NEVER_CONTEXTS else self.contexts.get(context_key(name))
        return None if found is None else FromContext(found)


@dataclasses.dataclass(frozen=True, slots=True)
class Graph:
    """All stages of a file, the number of the target, the numbers of those that it needs, itself too, in order; and
    where the names lead that an ONBUILD trigger of a base may bring in."""

    nodes: tuple[Node, ...]
    target: int
    needed: tuple[int, ...]
    names: Names


def plan(dockerfile: Dockerfile, bases: Sequence[Base], target: str = "", contexts: Iterable[str] = ()) -> Graph:
    """Resolve every name of a file, whose bases are expanded. Raises DockerfileError for a stage that is used before
    it is there, and InvalidInput for a target that is none."""
    source = Source(dockerfile.source, dockerfile.text)
    names = Names.of(dockerfile.stages, contexts)
    above: dict[str, int] = {}
    nodes = []
    for stage, base in zip(dockerfile.stages, bases, strict=True):
        nodes.append(_node(stage, base, Names(above, names.contexts, 0), names, source))
        if stage.name:
            above[stage.name] = stage.index
    chosen = _target(nodes, target, names)
    _refuse_cycles(nodes, source)
    needed = _needed(nodes, chosen)
    for index in needed:
        refuse_what_comes_later(nodes[index], source)
    return Graph(tuple(nodes), chosen, needed, names)


def context_key(name: str) -> str:
    """The form in which named contexts are compared: ``docker.io/library/a:latest`` is ``a``."""
    try:
        return reference.parse(name).familiar.removesuffix(":latest")
    except InvalidInput:
        return name


def _node(stage: Stage, base: Base, above: Names, names: Names, source: Source) -> Node:
    if stage.name and (replacement := names.context(stage.name)):
        return Node(stage, replacement, base, replaced=True)
    return Node(stage, above.origin(base.image), base, tuple(_uses(stage, names, source)))


def _uses(stage: Stage, names: Names, source: Source) -> Iterator[Use]:
    for one in stage.instructions:
        try:
            for name in names_used(one):
                yield Use(one, names.origin(name, number=isinstance(one, Copy)), name)
        except InvalidInput as error:
            raise source.error(error.message, one.location, one.keyword) from None


def names_used(instruction: Instruction) -> tuple[str, ...]:
    """The names of the origins that an instruction takes files from. Raises InvalidInput for a variable in one."""
    if isinstance(instruction, Copy) and instruction.from_:
        if expand(instruction.from_, {}).text != instruction.from_:
            cause = "variable expansion is not supported for --from, define a new stage with FROM using ARG"
            raise InvalidInput(f"{cause} from global scope as a workaround")
        return (instruction.from_,)
    if isinstance(instruction, Run):
        return tuple(name for option in instruction.mount_options if (name := mount.source_of(option)))
    return ()


def _number(text: str) -> int | None:
    sign = text[:1] in ("+", "-")
    digits = text[sign:]
    return int(text) if digits.isascii() and digits.isdecimal() and len(digits) < 10 else None


def _target(nodes: Sequence[Node], target: str, names: Names) -> int:
    if not target:
        return len(nodes) - 1
    if target.lower() in names.stages:
        return names.stages[target.lower()]
    titles = [node.title for node in nodes]
    raise InvalidInput(hinted(f"target stage {quoted(target)} could not be found", target, titles))


def _needed(nodes: Sequence[Node], target: int) -> tuple[int, ...]:
    found, waiting = {target}, [target]
    while waiting:
        new = nodes[waiting.pop()].needs - found
        found |= new
        waiting += new
    return tuple(sorted(found))


def _refuse_cycles(nodes: Sequence[Node], source: Source) -> None:
    """Take away what depends on nothing that is left, until nothing is or nothing can be."""
    waits = {node.stage.index: set(node.needs) for node in nodes}
    users: dict[int, list[int]] = {index: [] for index in waits}
    for index, needs in waits.items():
        for needed in needs:
            users[needed].append(index)
    free = [index for index, needs in waits.items() if not needs]
    while free:
        done = free.pop()
        del waits[done]
        for user in users[done]:
            waits[user].discard(done)
            if not waits[user]:
                free.append(user)
    if waits:
        node = nodes[min(waits)]
        for use in node.uses:
            if isinstance(use.instruction, Copy) and use.origin == FromStage(node.stage.index):
                cause = f"invalid from flag value {use.name}: refers to current build stage"
                raise source.error(cause, use.instruction.location, use.instruction.keyword)
        raise source.error(f"circular dependency detected on stage: {node.title}", node.stage.from_.location, "FROM")


def refuse_what_comes_later(node: Node, source: Source) -> None:
    """Raises DockerfileError if a stage uses one that is not there yet."""
    for use in node.uses:
        if isinstance(use.origin, FromStage) and use.origin.index >= node.stage.index:
            raise later(use, node, source)


def later(use: Use, node: Node, source: Source) -> DockerfileError:
    """The error for a use of a stage that is not there yet."""
    if isinstance(use.instruction, Copy):
        cause = f"cannot copy from stage {quoted(use.name)}, it needs to be defined before current stage"
        cause = f"{cause} {quoted(node.title)}"
    else:
        cause = f"cannot mount from stage {quoted(use.name)}, stage needs to be defined before current command"
    return source.error(cause, use.instruction.location, use.instruction.keyword)
