"""What a Dockerfile tells of itself without being built: the parameters of a target, and its stages.

As BuildKit's ``dockerfile2llb`` finds them for its requests ``frontend.outline`` and ``frontend.targets``. An argument
is a parameter if the target, or a stage that it needs, declares it, or if a FROM of theirs uses it; what the defaults
above the first FROM use counts, too. Descriptions are the comments above: ``# NAME words``.
"""

from __future__ import annotations

import dataclasses
import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence

from corten.build.applied import applied
from corten.build.arguments import Given, Globals, Scope
from corten.build.expansion import Rules, expand
from corten.build.failure import Source
from corten.build.instructions import Arg, Dockerfile, Env, Instruction, Location, Mount, Onbuild, Run
from corten.build.parser import parse_trigger
from corten.build.patience import Check, always
from corten.build.stages import FromStage, Graph, Node
from corten.build.state import State
from corten.errors import InvalidInput


@dataclasses.dataclass(frozen=True, slots=True)
class Parameter:
    """A build argument, with the value that it has as the build is asked for."""

    name: str
    value: str
    description: str
    location: Location


@dataclasses.dataclass(frozen=True, slots=True)
class Need:
    """A secret or an SSH agent that a RUN mounts."""

    name: str
    required: bool
    location: Location


@dataclasses.dataclass(frozen=True, slots=True)
class Outline:
    """The parameters of a target, each kind in the order of lines."""

    name: str
    description: str
    parameters: tuple[Parameter, ...] = ()
    secrets: tuple[Need, ...] = ()
    agents: tuple[Need, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Target:
    """A stage, as written."""

    name: str
    description: str
    base: str
    platform: str
    location: Location
    is_default: bool


Bases = Mapping[int, State | None]
"""By the number of a stage that begins with no other: what it begins with, None where that is not known."""


def targets(dockerfile: Dockerfile) -> tuple[Target, ...]:
    """All stages; the last is built if none is asked for."""
    last = len(dockerfile.stages) - 1
    return tuple(
        Target(
            stage.name, described(stage.from_, stage.name), stage.from_.image, stage.from_.platform,
            stage.from_.location, stage.index == last,
        )
        for stage in dockerfile.stages
    )  # fmt: skip


def described(instruction: Instruction, name: str) -> str:
    """What the first comment above says that begins with the name."""
    begin = f"{name} "
    found = (one for one in instruction.comments if name and one.startswith(begin))
    return next(found, begin)[len(begin) :]


@dataclasses.dataclass(slots=True)
class _Told:
    """What one stage has told."""

    own: dict[str, Parameter] = dataclasses.field(default_factory=dict)
    declared: set[str] = dataclasses.field(default_factory=set)
    secrets: dict[str, Need] = dataclasses.field(default_factory=dict)
    agents: dict[str, Need] = dataclasses.field(default_factory=dict)


class Walk:
    """Goes through stages as a build does, without doing anything."""

    def __init__(self, dockerfile: Dockerfile, given: Given, above: Globals, graph: Graph, bases: Bases) -> None:
        self._dockerfile, self._given, self._above, self._graph, self._bases = dockerfile, given, above, graph, bases
        self._source = Source(dockerfile.source, dockerfile.text)
        self._rules = Rules(dockerfile.escape)
        self._parameters, self._behind = _above(dockerfile, given, self._rules)
        self._numbers = {name: number for number, name in enumerate(self._parameters)}
        self._told = [_Told() for _ in graph.nodes]
        self._scopes: dict[int, tuple[Scope, bool]] = {}

    def follow(self, stages: Iterable[int], check: Check = always) -> None:
        """Go through stages of these numbers, in order. Raises DockerfileError for what cannot be applied, unless it
        takes a variable of a base that is not known."""
        for index in stages:
            node = self._graph.nodes[index]
            scope, known = self._scope(node)
            for one in () if node.replaced else self._instructions(node):
                check()
                scope = self._step(self._told[index], one, scope, known)
            self._scopes[index] = scope, known

    def outline(self) -> Outline:
        """Of the target, whose stages were followed."""
        parameters: dict[str, Parameter] = {}
        secrets: dict[str, Need] = {}
        agents: dict[str, Need] = {}
        done: set[int] = set()
        for node in self._order():
            told = self._told[node.stage.index]
            for one in self._parameters_of(told, self._used(node, done)):
                parameters.setdefault(one.name, one)
            for kept, more in ((secrets, told.secrets), (agents, told.agents)):
                for name, need in more.items():
                    kept.setdefault(name, need)
        stage = self._graph.nodes[self._graph.target].stage
        return Outline(
            stage.name, described(stage.from_, stage.name), tuple(sorted(parameters.values(), key=_place)),
            tuple(sorted(secrets.values(), key=_place)), tuple(sorted(agents.values(), key=_place)),
        )  # fmt: skip

    def _used(self, node: Node, done: set[int]) -> Iterator[str]:
        """The names that the FROM of a stage uses, and those of the stages that it begins with; of each stage once."""
        while node.stage.index not in done:
            done.add(node.stage.index)
            if not node.replaced:
                yield from node.base.used
            if not isinstance(node.origin, FromStage):
                return
            node = self._graph.nodes[node.origin.index]

    def _order(self) -> Iterator[Node]:
        """The target, then what it begins with, then what else it takes files from; and so on with each."""
        waiting, seen = [self._graph.target], set[int]()
        while waiting:
            index = waiting.pop()
            if index in seen:
                continue
            seen.add(index)
            node = self._graph.nodes[index]
            yield node
            origins = (node.origin, *(use.origin for use in node.uses))
            waiting += [one.index for one in reversed(origins) if isinstance(one, FromStage)]

    def _parameters_of(self, told: _Told, used: Iterable[str]) -> Iterator[Parameter]:
        """Those that a stage declares, those that are used, and those that the defaults above the first FROM use for
        these; as they stand."""
        waiting, found = [*used, *told.declared], set[str]()
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting += () if name in told.own else self._behind.get(name, ())
        yield from told.own.values()
        above = [self._parameters[name] for name in found if name not in told.own and name in self._parameters]
        yield from sorted(above, key=self._order_above)

    def _order_above(self, one: Parameter) -> tuple[int, int]:
        return one.location.first, self._numbers[one.name]

    # --- one stage

    def _scope(self, node: Node) -> tuple[Scope, bool]:
        """The variables that a stage begins with, and whether these are all."""
        if isinstance(node.origin, FromStage):
            return self._scopes[node.origin.index]
        base = self._bases.get(node.stage.index)
        return Scope.of_image(base.config.get("Env") or () if base else ()), base is not None

    def _instructions(self, node: Node) -> Sequence[Instruction]:
        where = node.stage.from_.location
        if isinstance(node.origin, FromStage):
            above = self._graph.nodes[node.origin.index].stage.instructions
            texts = [one.trigger for one in above if isinstance(one, Onbuild)]
        else:
            base = self._bases.get(node.stage.index)
            texts = list(base.config.get("OnBuild") or ()) if base else []
        return [*(parse_trigger(text, where, self._source) for text in texts), *node.stage.instructions]

    def _step(self, told: _Told, one: Instruction, scope: Scope, known: bool) -> Scope:
        try:
            if isinstance(one, Arg):
                return self._argument(told, one, scope)
            changed, _ = applied(one, scope.variables, self._dockerfile.escape, self._source)
            if isinstance(changed, Env):
                return scope.with_env(changed.pairs)
            if isinstance(changed, Run):
                self._mounts(told, changed)
        except InvalidInput as error:
            if known or "$" not in one.original:
                raise self._source.error(getattr(error, "cause", error.message), one.location, one.keyword) from None
        return scope

    def _argument(self, told: _Told, one: Arg, scope: Scope) -> Scope:
        scope, _ = scope.with_arg(one, self._given, self._above, self._rules)
        values = scope.arguments[-len(one.definitions) :]
        for written, now in zip(one.definitions, values, strict=True):
            name = written.name
            told.declared.add(name)
            is_bare = written.default is None and name not in self._given.arguments
            if not (is_bare and name in self._above.values):  # else it is the one above
                told.own[name] = Parameter(name, now.default or "", described(one, name), one.location)
        return scope

    def _mounts(self, told: _Told, run: Run) -> None:
        for mount in run.mounts:
            if mount.type == "secret":
                name = secret_of(mount)
                told.secrets.setdefault(name, Need(name, mount.required, run.location))
            elif mount.type == "ssh":
                if mount.source:
                    raise InvalidInput("ssh does not support source")
                name = mount.id or "default"
                told.agents.setdefault(name, Need(name, mount.required, run.location))
            elif not mount.target:
                raise InvalidInput(f"RUN --mount=type={mount.type}: it needs a target")
            elif not mount.target.strip("/"):
                raise InvalidInput('invalid mount target "/"')


def secret_of(mount: Mount) -> str:
    """The name of the secret that a mount asks for."""
    return mount.source or mount.id or posixpath.basename(mount.target.rstrip("/")) or "/"


def _above(
    dockerfile: Dockerfile, given: Given, rules: Rules
) -> tuple[dict[str, Parameter], dict[str, frozenset[str]]]:
    """The arguments above the first FROM, and by name what their defaults use. They can be expanded."""
    known, found = given.predefined(), dict[str, Parameter]()
    behind: dict[str, frozenset[str]] = {}
    for argument in dockerfile.arguments:
        for one in argument.definitions:
            value, used = given.arguments.get(one.name), frozenset[str]()
            if value is None and one.default is not None:
                expansion = expand(one.default, known, rules)
                value, used = expansion.text, expansion.used
            if one.name in used:
                used = used - {one.name} | behind.get(one.name, frozenset())
            if value is not None:
                known[one.name] = value
            behind[one.name] = used
            found[one.name] = Parameter(one.name, value or "", described(argument, one.name), argument.location)
    return found, behind


def _place(one: Parameter | Need) -> int:
    return one.location.first
