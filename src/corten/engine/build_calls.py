"""What a build can be asked for in place of an image: the checks of its Dockerfile, its parameters, its stages.

Nothing is built, pulled or run. Of the context, the Dockerfile and its ignore file are read; an image that a stage
begins with is looked at if it is here, and is unknown otherwise: what hangs on it is then not told.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence

from corten.build import outline
from corten.build.applied import base_of
from corten.build.arguments import DEFAULT_PATH, Given, Globals, Scope, global_arguments
from corten.build.checks import Inherited
from corten.build.expansion import quoted
from corten.build.failure import Source
from corten.build.ground import Files
from corten.build.instructions import Dockerfile, Finding, Instruction
from corten.build.linting import Linter, begin
from corten.build.outline import Outline, Target, Walk
from corten.build.patience import Check, always, beside
from corten.build.stages import (
    FromContext,
    FromImage,
    FromNothing,
    FromStage,
    Graph,
    Node,
    plan,
    refuse_what_comes_later,
)
from corten.build.state import State, of_image
from corten.engine.build_contexts import Contexts
from corten.engine.build_files import BuildFiles, ignored
from corten.engine.builds import BuildRequest, located, parsed
from corten.errors import InvalidInput
from corten.spec import platform as platforms
from corten.spec import reference
from corten.spec.image import Image
from corten.spec.platform import Platform

_DEFAULT = "Dockerfile"
_TURN = 64
"""Stages after which others have their turn."""
_A_STAGE = 16
"""What a stage costs, in the measure of :func:`beside`."""


@dataclasses.dataclass(frozen=True, slots=True)
class Checked:
    """What was found in a Dockerfile, and why it cannot be built; ``unknown`` are bases that are not here."""

    name: str
    content: bytes
    found: Sequence[Finding] = ()
    unknown: Sequence[str] = ()
    error: InvalidInput | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Outlined:
    """The parameters of a target; ``unknown`` are bases that are not here."""

    content: bytes
    outline: Outline
    unknown: Sequence[str] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Listed:
    """The stages of a Dockerfile."""

    content: bytes
    targets: Sequence[Target]


Answer = Checked | Outlined | Listed


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """The stages that are looked at, in order, and what they begin with."""

    dockerfile: Dockerfile
    given: Given
    above: Globals
    graph: Graph
    chosen: Sequence[int]
    bases: dict[int, State | None] = dataclasses.field(default_factory=dict)

    @property
    def nodes(self) -> list[Node]:
        """Their nodes."""
        return [self.graph.nodes[index] for index in self.chosen]

    @property
    def cost(self) -> int:
        """Each variable that is set copies those before it."""
        return sum(_A_STAGE + len(node.stage.instructions) ** 2 for node in self.nodes)

    @property
    def unknown(self) -> tuple[str, ...]:
        """Names of bases that are not here."""
        origins = (node.origin for node in self.nodes if self.bases.get(node.stage.index, State()) is None)
        return tuple(dict.fromkeys(one.name for one in origins if isinstance(one, FromImage | FromContext)))

    def walk(self, check: Check) -> Walk:
        """Go through the stages. Raises DockerfileError."""
        walk = Walk(self.dockerfile, self.given, self.above, self.graph, self.bases)
        walk.follow(self.chosen, check)
        return walk

    def lint(self, linter: Linter, check: Check) -> None:
        """Have all of it checked."""
        done: dict[int, Inherited] = {}
        for node in self.nodes:
            check()
            beginning = self._beginning(node, done)
            if isinstance(node.origin, FromImage) and (base := self.bases[node.stage.index]) is not None:
                linter.base(node.stage, node.origin.name, node.base.platform, base)
            replaced = node.replaced
            done[node.stage.index] = beginning if replaced else linter.stage(node.stage, beginning, self.above)

    def _beginning(self, node: Node, done: dict[int, Inherited]) -> Inherited:
        if isinstance(node.origin, FromStage):
            below = done[node.origin.index]
            return begin(None, below.scope, below)
        base = self.bases[node.stage.index]
        return begin(base, Scope.of_image(base.config.get("Env") or () if base else ()), None)


def plan_of(
    dockerfile: Dockerfile, given: Given, contexts: Sequence[str] = (), *, whole: bool = False, check: Check = always
) -> Plan:
    """What is to be gone through: what the target needs, or the whole. Raises DockerfileError, and InvalidInput for a
    target that is none."""
    source, above = Source(dockerfile.source, dockerfile.text), global_arguments(dockerfile, given)
    bases = [base_of(stage.from_, above, dockerfile.escape, source) for stage in dockerfile.stages]
    graph = plan(dockerfile, bases, given.target, contexts)
    planned = Plan(dockerfile, given, above, graph, range(len(graph.nodes)) if whole else graph.needed)
    for node in planned.nodes:
        check()
        refuse_what_comes_later(node, source)
        for use in node.uses:
            if isinstance(use.origin, FromImage):
                with _located(f"invalid from flag value {use.name}", use.instruction, source):
                    reference.parse(use.origin.name)
    return planned


def _cost(dockerfile: Dockerfile) -> int:
    return _A_STAGE * len(dockerfile.stages)


@contextlib.contextmanager
def _located(what: str, instruction: Instruction, source: Source) -> Iterator[None]:
    """What is invalid within is so at this instruction. Raises DockerfileError."""
    try:
        yield
    except InvalidInput as error:
        raise source.error(f"{what}: {error.message}", instruction.location, instruction.keyword) from None


class BuildCall:
    """One such request. ``find`` gives the image of a name that is here."""

    def __init__(
        self, request: BuildRequest, given: Given, contexts: Contexts, find: Callable[[str], Image | None]
    ) -> None:
        self._request, self._given, self._contexts, self._find = request, given, contexts, find
        self._known: dict[tuple[str, Platform | None], State | None] = {}

    async def answer(self, files: BuildFiles) -> Answer:
        """What is told. Raises DockerfileError and InvalidInput, which a check has in its answer, and what makes the
        context unavailable."""
        name = self._request.dockerfile
        own = await self._contexts.own(files)
        content, path = await located(own, name, self._contexts.client.dockerfile)
        if self._request.call == "check":
            return await self._checked(own, content, path)
        dockerfile = await parsed(content, name)
        if self._request.call == "targets":
            return Listed(content, await beside(lambda _: outline.targets(dockerfile), _cost(dockerfile)))
        planned = await self._planned(dockerfile)
        found = await beside(lambda check: planned.walk(check).outline(), planned.cost)
        return Outlined(content, found, planned.unknown)

    async def _checked(self, own: Files, content: bytes, path: str) -> Checked:
        answer = Checked(self._request.dockerfile or _DEFAULT, content)
        linter: Linter | None = None
        try:
            dockerfile = await parsed(content, self._request.dockerfile)
            override = self._request.arguments.get("BUILDKIT_DOCKERFILE_CHECK", "")
            rules = await ignored(own, path)
            given, cost = self._given, _cost(dockerfile) + len(content) // _A_STAGE
            linter = await beside(lambda _: Linter(dockerfile, given, override, rules, at_once=False), cost)
            answer = dataclasses.replace(answer, unknown=await self._linted(dockerfile, linter))
            linter.refuse()
        except InvalidInput as error:
            answer = dataclasses.replace(answer, error=error)
        return dataclasses.replace(answer, found=linter.sorted if linter else ())

    async def _linted(self, dockerfile: Dockerfile, linter: Linter) -> Sequence[str]:
        """Have the stages checked; the names of bases that are not here. Raises DockerfileError, InvalidInput for why
        it cannot be built."""
        planned = await self._planned(dockerfile, whole=not self._given.target)
        await beside(lambda check: planned.lint(linter, check), planned.cost)
        await beside(planned.walk, planned.cost)
        return planned.unknown

    async def _planned(self, dockerfile: Dockerfile, *, whole: bool = False) -> Plan:
        """The plan with what its stages begin with. Raises DockerfileError, InvalidInput."""
        given, names = self._given, self._contexts.names
        planned = await beside(
            lambda check: plan_of(dockerfile, given, names, whole=whole, check=check), _cost(dockerfile)
        )
        source = Source(dockerfile.source, dockerfile.text)
        for node in planned.nodes:
            if not isinstance(node.origin, FromStage):
                planned.bases[node.stage.index] = self._base(node, source)
            if node.stage.index % _TURN == 0:
                await asyncio.sleep(0)
        return planned

    def _base(self, node: Node, source: Source) -> State | None:
        """What a stage begins with, None if that is not here. Raises DockerfileError."""
        origin, from_, target = node.origin, node.stage.from_, self._given.target_platform
        if isinstance(origin, FromNothing):
            return State(config={"Env": [f"PATH={DEFAULT_PATH}"]}, platform=target)
        if isinstance(origin, FromContext):
            kind, place = self._contexts.kind(origin.name)
            return self._here(place, None) if kind == "image" else None if kind == "layout" else State(platform=target)
        assert isinstance(origin, FromImage)
        with _located(f"failed to parse platform {from_.platform}", from_, source):
            wanted = platforms.parse(node.base.platform, target) if node.base.platform else None
        with _located(f"failed to parse stage name {quoted(origin.name)}", from_, source):
            reference.parse(origin.name)
        return self._here(origin.name, wanted)

    def _here(self, name: str, wanted: Platform | None) -> State | None:
        """The image that a build would begin with, if it need not be pulled."""
        if (name, wanted) not in self._known:
            self._known[name, wanted] = self._looked(name, wanted)
        return self._known[name, wanted]

    def _looked(self, name: str, wanted: Platform | None) -> State | None:
        image = self._find(name)
        if image is None or (wanted and platforms.choose([image.platform], wanted) is None):
            return None
        return of_image(image.raw, (), image.platform, image.id)
