"""A Dockerfile of whatever bytes is read, expanded, sorted by stages, checked and outlined, or refused in one way."""

from __future__ import annotations

from corten.build import checks, rules, stages
from corten.build.applied import base_of
from corten.build.arguments import Given, Scope, global_arguments
from corten.build.failure import Source
from corten.build.instructions import Dockerfile, Onbuild
from corten.build.outline import Walk, targets
from corten.build.parser import parse, parse_trigger
from corten.build.state import State
from corten.errors import DockerfileError

_GIVEN = Given({"a": "b", "HTTP_PROXY": "p"})


def one(data: bytes) -> None:
    """Read it; an error has its place and shows it."""
    error = None
    try:
        _follow(parse(data))
    except DockerfileError as caught:
        error = caught
    if error:
        assert 0 <= error.line <= error.last_line <= data.count(b"\n") + 1, (error.line, error.last_line)
        assert (f"{error.line:4} | >>>" in error.excerpt) == (error.line > 0), error.excerpt
        assert error.message.isprintable(), error.message


def _follow(dockerfile: Dockerfile) -> None:
    """Everything that comes before the first file is touched."""
    source = Source(dockerfile.source, dockerfile.text)
    for stage in dockerfile.stages:
        for instruction in stage.instructions:
            assert instruction.location.first <= instruction.location.last
            if isinstance(instruction, Onbuild):
                _trigger(instruction, source)
    above = global_arguments(dockerfile, _GIVEN)
    bases = [base_of(stage.from_, above, dockerfile.escape, source) for stage in dockerfile.stages]
    graph = stages.plan(dockerfile, bases, contexts=("context",))
    assert graph.target in graph.needed
    asked = rules.settings(dockerfile)
    checks.of_file(dockerfile, _GIVEN, asked)
    for stage in dockerfile.stages:
        begin = checks.Inherited(Scope.of_image(["a=1"]))
        checks.of_stage(dockerfile, stage, begin, _GIVEN, above, asked)
    assert len(targets(dockerfile)) == len(dockerfile.stages)
    walk = Walk(dockerfile, _GIVEN, above, graph, {node.stage.index: State() for node in graph.nodes})
    walk.follow(graph.needed)
    parameters = walk.outline().parameters
    assert len({one.name for one in parameters}) == len(parameters)


def _trigger(instruction: Onbuild, source: Source) -> None:
    """What an image keeps is read again when another is built on it."""
    try:
        again = parse_trigger(instruction.trigger, instruction.location, source)
    except DockerfileError:
        return
    assert again.location == instruction.location
