"""Which stages a target needs, and where names lead."""

from __future__ import annotations

import pytest

from corten.build.applied import base_of
from corten.build.arguments import Given, global_arguments
from corten.build.failure import Source
from corten.build.parser import parse
from corten.build.stages import FromContext, FromImage, FromNothing, FromStage, Graph, context_key, plan
from corten.errors import DockerfileError, InvalidInput


def graph(text: str, target: str = "", contexts: tuple[str, ...] = ()) -> Graph:
    dockerfile = parse(text)
    above = global_arguments(dockerfile, Given())
    source = Source(dockerfile.source, dockerfile.text)
    bases = [base_of(stage.from_, above, dockerfile.escape, source) for stage in dockerfile.stages]
    return plan(dockerfile, bases, target, contexts)


THREE = "FROM a AS one\nFROM one AS Two\nFROM b AS three\nCOPY --from=one x y\n"


@pytest.mark.parametrize(
    ("target", "expected"),
    [("", (0, 2)), ("three", (0, 2)), ("two", (0, 1)), ("TWO", (0, 1)), ("one", (0,))],
)
def test_what_a_target_needs(target: str, expected: tuple[int, ...]) -> None:
    found = graph(THREE, target)
    assert (found.needed, found.target) == (expected, expected[-1])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM a\nFROM b\nCOPY --from=0 x y", (0, 1)),
        ("FROM a AS x\nFROM b\nRUN --mount=from=x,target=/y z", (0, 1)),
        ("FROM a AS x\nFROM b\nRUN --mount=from=0,target=/y z", (1,)),
        ("FROM a AS x\nFROM b AS x\nFROM c\nCOPY --from=x y z", (1, 2)),
        ("FROM x AS x\nFROM x", (0, 1)),
        ("FROM a\nFROM a\nFROM a", (2,)),
        ("ARG n=one\nFROM a AS one\nFROM $n", (0, 1)),
    ],
)
def test_what_the_last_stage_needs(text: str, expected: tuple[int, ...]) -> None:
    assert graph(text).needed == expected


def test_where_names_lead() -> None:
    text = (
        "FROM debian:12 AS base\nFROM scratch\nCOPY --from=Base a b\nCOPY --from=nginx a b\nCOPY --from=docs a b\n"
        "COPY a b\nRUN --mount=type=cache,target=/x y\nCOPY --from=scratch a b\nCOPY --from=0 a b\n"
    )
    first, last = graph(text, contexts=("docs",)).nodes
    assert (first.origin, first.title) == (FromImage("debian:12"), "base")
    assert (last.origin, last.title) == (FromNothing(), "stage-1")
    assert [use.origin for use in last.uses] == [
        FromStage(0), FromImage("nginx"), FromContext("docs"), FromNothing(), FromStage(0),
    ]  # fmt: skip


def test_a_named_context_stands_in_for_a_stage_or_an_image() -> None:
    found = graph("FROM nothing/there AS Base\nRUN x\nFROM docker.io/library/alpine:latest\nCOPY --from=base a b",
                  contexts=("base", "alpine"))  # fmt: skip
    assert found.nodes[0].replaced
    assert [node.origin for node in found.nodes] == [FromContext("base"), FromContext("alpine")]
    assert found.needed == (0, 1)
    assert graph("FROM scratch", contexts=("scratch",)).nodes[0].origin == FromNothing()


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("docker.io/library/a:latest", "a"),
        ("a", "a"),
        ("a:1", "a:1"),
        ("x.y/a", "x.y/a"),
        ("NOT an image", "NOT an image"),
    ],
)
def test_the_key_of_a_context(name: str, key: str) -> None:
    assert context_key(name) == key


def test_names_that_a_trigger_brings_in() -> None:
    names = graph(THREE).names
    assert names.origin("TWO") == FromStage(1)
    assert names.origin("1", number=True) == FromStage(1)
    assert names.origin("1") == FromImage("1")
    with pytest.raises(InvalidInput, match="invalid stage index 3"):
        names.origin("3", number=True)


@pytest.mark.parametrize(
    ("text", "cause", "line"),
    [
        ("FROM a\nCOPY --from=1 x y", "invalid stage index 1", 2),
        ("FROM a\nCOPY --from=-1 x y", "invalid stage index -1", 2),
        (
            "FROM a\nCOPY --from=$x y z",
            "variable expansion is not supported for --from, define a new stage with FROM using ARG from global scope"
            " as a workaround",
            2,
        ),
        ("FROM a AS x\nCOPY --from=x y z", "invalid from flag value x: refers to current build stage", 2),
        ("FROM a\nRUN y\nCOPY --from=0 y z", "invalid from flag value 0: refers to current build stage", 3),
        ("FROM a AS x\nRUN --mount=from=x y", "circular dependency detected on stage: x", 1),
        ("FROM a AS x\nCOPY --from=1 y z\nFROM x", "circular dependency detected on stage: x", 1),
    ],
)
def test_names_that_lead_nowhere(text: str, cause: str, line: int) -> None:
    with pytest.raises(DockerfileError) as caught:
        graph(text)
    assert (caught.value.cause, caught.value.line) == (cause, line)


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        (
            "COPY --from=last x y",
            'cannot copy from stage "last", it needs to be defined before current stage "first"',
        ),
        (
            "RUN --mount=from=Last,target=/x y",
            'cannot mount from stage "Last", stage needs to be defined before current command',
        ),
    ],
)
def test_a_stage_is_not_used_before_it_is_there(line: str, cause: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        graph(f"FROM a AS first\n{line}\nFROM b AS last", target="first")
    assert (caught.value.cause, caught.value.line) == (cause, 2)


def test_what_is_wrong_in_a_stage_that_is_not_needed_does_not_matter() -> None:
    assert graph("FROM a\nCOPY --from=last x y\nFROM b AS last").needed == (1,)


@pytest.mark.parametrize(
    ("target", "cause"),
    [
        ("thre", 'target stage "thre" could not be found (did you mean three?)'),
        ("elsewhere", 'target stage "elsewhere" could not be found'),
        ("0", 'target stage "0" could not be found'),
    ],
)
def test_a_target_that_is_none(target: str, cause: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        graph(THREE, target)
    assert caught.value.message == cause


def test_thousands_of_stages_are_resolved_at_once() -> None:
    text = "FROM a AS s0\n" + "".join(f"FROM s{number} AS s{number + 1}\n" for number in range(2_000))
    assert len(graph(text).needed) == 2_001
