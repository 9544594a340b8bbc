"""Solving: the stages that a target needs, each a task of its own, each waiting only for what it uses."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from corten.build import keys
from corten.build.applied import base_of
from corten.build.arguments import DEFAULT_PATH, Given, Scope, global_arguments
from corten.build.checks import Inherited
from corten.build.failure import Source
from corten.build.ground import Files, Ground, Output, Record
from corten.build.instructions import Dockerfile, Instruction, Label, Location, Pair
from corten.build.linting import Linter, begin
from corten.build.parser import parse_trigger
from corten.build.patience import beside
from corten.build.stage import Options, Other, StageRun
from corten.build.stages import FromContext, FromImage, FromNothing, FromStage, Graph, Node, Origin, plan
from corten.build.state import Layer, State
from corten.errors import CortenError, InvalidInput

_TURN = 8
"""Instructions after which others have their turn."""
_MOST_TOLD = 1000
"""Steps after which their IDs are not told: each is the digest of a document that tells of all before it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Wish:
    """What a build is asked for, besides its Dockerfile."""

    given: Given
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    contexts: tuple[str, ...] = ()
    no_cache: bool = False
    no_cache_filter: tuple[str, ...] = ()
    network: str = "default"
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    allowed: tuple[str, ...] = ()


Begun = Callable[[str, Ground, Options, Output, Other, State, Scope, str], StageRun]
"""Of the ID of the image that a stage begins with ('' for none), and what :class:`StageRun` is given."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Outcome:
    state: State
    scope: Scope
    inherited: Inherited | None = None


class Solver:
    """One build."""

    def __init__(
        self, dockerfile: Dockerfile, wish: Wish, ground: Ground, outputs: Callable[[int], Output],
        linter: Linter | None = None, begun: Begun | None = None,
    ) -> None:  # fmt: skip
        """``outputs`` gives each stage, by its place among those that are built, where it tells how it goes; ``linter``
        sees what each begins with. ``begun`` makes the run of a stage that is to be another than the usual one.

        Raises DockerfileError, and InvalidInput for a target that is none.
        """
        if not dockerfile.stages:
            raise InvalidInput("the Dockerfile is empty: there is no FROM in it")
        self._dockerfile, self._wish, self._ground, self._linter = dockerfile, wish, ground, linter
        self._source = Source(dockerfile.source, dockerfile.text)
        above = global_arguments(dockerfile, wish.given)
        bases = [base_of(stage.from_, above, dockerfile.escape, self._source) for stage in dockerfile.stages]
        self.graph: Graph = plan(dockerfile, bases, wish.given.target, wish.contexts)
        self._options = Options(
            wish.given, above, dockerfile.escape, self._source, wish.no_cache, wish.no_cache_filter, wish.network,
            wish.extra, wish.allowed,
        )  # fmt: skip
        self._outputs = outputs
        self._begun = begun
        self._tasks: dict[int, asyncio.Task[_Outcome]] = {}

    @property
    def total(self) -> int:
        """How many steps there are: the ARGs above the first FROM, and all of the stages that are needed."""
        own = sum(len(_instructions(node)) + 1 for node in self._nodes)
        return len(self._dockerfile.arguments) + own + len(self._wish.labels)

    @property
    def _nodes(self) -> list[Node]:
        return [self.graph.nodes[index] for index in self.graph.needed]

    async def solve(self) -> State:
        """Build the target. Raises what stopped it: DockerfileError, CommandFailed, CortenError."""
        number = len(self._dockerfile.arguments) + 1
        for place, node in enumerate(self._nodes):
            self._tasks[node.stage.index] = asyncio.ensure_future(self._stage(node, number, self._outputs(place)))
            number += len(_instructions(node)) + 1
        tasks = [*self._tasks.values()]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for place, task in enumerate(tasks):
                if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                    self._outputs(place).stopped()
                    raise error
            return self._tasks[self.graph.target].result().state
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    # --- one stage

    async def _stage(self, node: Node, number: int, output: Output) -> _Outcome:
        output.begin(number, node.stage.from_.original)
        with self._source.shown(node.stage.from_.location):
            state, scope = await self._base(node, output)
        inherited = await self._lint(node, state, scope)
        triggers, parent = self._triggers(state, node.stage.from_.location), state.image
        if triggers:
            state = dataclasses.replace(state, config={**state.config, "OnBuild": None}, image="")
        output.made(state.id)
        other = Other(self._layers_of(output), self._files_of(output))
        given = (self._ground, self._options, output, other, state, scope, node.title)
        run = self._begun(parent, *given) if self._begun else StageRun(*given)
        if triggers:
            output.say(f"# Executing {len(triggers)} build trigger{'s' if len(triggers) > 1 else ''}")
        for trigger in triggers:
            await run.do(trigger)
        for instruction in _instructions(node):
            number += 1
            output.begin(number, instruction.original)
            await run.do(instruction)
            if run.state.image or len(run.state.history) <= _MOST_TOLD:
                output.made(run.state.id)
            if number % _TURN == 0:  # most instructions wait for nothing
                await asyncio.sleep(0)
        if node.stage.index == self.graph.target:
            await self._label(run, number + 1, output)
        else:
            run.end()
        output.end()
        return _Outcome(run.state, run.scope, inherited)

    async def _lint(self, node: Node, state: State, scope: Scope) -> Inherited | None:
        """What the checks find, before anything is done. Raises DockerfileError where that is to be an error."""
        if self._linter is None or node.replaced:
            return None
        origin = node.origin
        below = (await self._outcome(origin.index)).inherited if isinstance(origin, FromStage) else None
        if isinstance(origin, FromImage):
            self._linter.base(node.stage, origin.name, node.base.platform, state)
        linter, beginning, above = self._linter, begin(state, scope, below), self._options.above
        cost = len(node.stage.instructions) ** 2  # each variable that is set copies those before it
        return await beside(lambda check: linter.stage(node.stage, beginning, above), cost)

    async def _label(self, run: StageRun, number: int, output: Output) -> None:
        """The labels that the user asked for are the target's last instructions, and mean what they say."""
        where = Location(0, 0)
        for place, (name, value) in enumerate(sorted(self._wish.labels.items()), number):
            label = Label(location=where, original="", pairs=(Pair(name, value),))
            output.begin(place, f"LABEL {name}={value}")
            await run.label(label)
            output.made(run.state.id)

    def _triggers(self, state: State, where: Location) -> list[Instruction]:
        return [parse_trigger(text, where, self._source) for text in state.config.get("OnBuild") or ()]

    async def _base(self, node: Node, output: Output) -> tuple[State, Scope]:
        origin = node.origin
        if isinstance(origin, FromStage):
            outcome = await self._outcome(origin.index)
            return dataclasses.replace(outcome.state, has_command=False), outcome.scope
        if isinstance(origin, FromNothing):
            config = {"Env": [f"PATH={DEFAULT_PATH}"], "WorkingDir": "/"}
            created = await self._first_built(node)
            state = State(config=config, platform=self._wish.given.target_platform, created=created)
            return state, Scope.of_image(config["Env"])
        state = await self._image(origin, node.base.platform, output)
        if self._ground.epoch is not None:
            state = dataclasses.replace(state, moment=self._ground.moment())
        return state, Scope.of_image(state.config.get("Env") or ())

    async def _first_built(self, node: Node) -> str:
        """When a stage on nothing was first built as it is written: one that has no layer is the same image again."""
        ground, wish = self._ground, self._wish
        steps = [one.original for one in _instructions(node)]
        key = keys.key_of("scratch", platform=str(wish.given.target_platform), epoch=ground.epoch, steps=steps)
        fresh = wish.no_cache or node.title in wish.no_cache_filter
        if not fresh and (known := await ground.find(key, ())) is not None:
            return known.created
        record = Record(None, ground.moment(), "FROM scratch")
        await ground.keep(key, record, ())
        return record.created

    async def _image(self, origin: Origin, platform: str, output: Output) -> State:
        if isinstance(origin, FromContext):
            state = await self._ground.context_image(origin.name, output)
            if state is None:
                files = await self._ground.named_context(origin.name)
                layer = await self._ground.layer((), list(files.tree.walk("")), [files.spool])
                state = State(layers=(layer,), platform=self._wish.given.target_platform, created=self._ground.moment())
            return state
        assert isinstance(origin, FromImage)
        return await self._ground.image(origin.name, platform, output)

    async def _outcome(self, index: int) -> _Outcome:
        return await asyncio.shield(self._tasks[index])

    # --- what a stage takes from elsewhere

    def _layers_of(self, output: Output) -> Callable[[str, bool], Any]:
        async def layers(name: str, number: bool) -> tuple[Layer, ...] | None:
            """The layers that a name leads to, None for a directory that is a named context."""
            origin = self.graph.names.origin(name, number=number)
            if isinstance(origin, FromStage):
                return (await self._outcome(origin.index)).state.layers
            if isinstance(origin, FromNothing):
                return ()
            if isinstance(origin, FromContext):
                state = await self._ground.context_image(origin.name, output)
                return state.layers if state else None
            try:
                return (await self._ground.image(origin.name, "", output)).layers
            except CortenError as error:
                raise type(error)(f"invalid from flag value {name}: {error.message}", hint=error.hint) from error

        return layers

    def _files_of(self, output: Output) -> Callable[[str], Any]:
        async def files(name: str) -> Files:
            origin = self.graph.names.origin(name)
            assert isinstance(origin, FromContext)
            return await self._ground.named_context(origin.name)

        return files


def _instructions(node: Node) -> Sequence[Instruction]:
    return () if node.replaced else node.stage.instructions


def steps_above(dockerfile: Dockerfile) -> Iterable[tuple[int, str]]:
    """The ARGs above the first FROM, which are steps, too."""
    return [(number, one.original) for number, one in enumerate(dockerfile.arguments, 1)]
