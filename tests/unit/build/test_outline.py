"""What a Dockerfile tells of itself: parameters, secrets and agents of a target, and the stages."""

from __future__ import annotations

import pytest

from corten.build.applied import base_of
from corten.build.arguments import Given, global_arguments
from corten.build.failure import Source
from corten.build.outline import Outline, Target, Walk, targets
from corten.build.parser import parse
from corten.build.stages import FromStage, plan
from corten.build.state import State
from corten.errors import DockerfileError


def outline(
    text: str, target: str = "", given: dict[str, str] | None = None, base: State | None = State(),  # noqa: B008 (frozen)
) -> Outline:  # fmt: skip
    dockerfile, asked = parse(text), Given(given or {}, target=target)
    above = global_arguments(dockerfile, asked)
    source = Source(dockerfile.source, dockerfile.text)
    bases = [base_of(stage.from_, above, dockerfile.escape, source) for stage in dockerfile.stages]
    graph = plan(dockerfile, bases, target, ("replaced",))
    begin = {node.stage.index: base for node in graph.nodes if not isinstance(node.origin, FromStage)}
    walk = Walk(dockerfile, asked, above, graph, begin)
    walk.follow(graph.needed)
    return walk.outline()


def parameters(text: str, target: str = "", **given: str) -> list[tuple[str, str, int]]:
    return [(one.name, one.value, one.location.first) for one in outline(text, target, given).parameters]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM a\nARG x\nARG y=1 z=$y", [("x", "", 2), ("y", "1", 3), ("z", "1", 3)]),
        ("ARG x=a\nFROM b", []),  # nobody uses it
        ("ARG x=a\nFROM $x", [("x", "a", 1)]),
        ("ARG x=a\nARG y=$x\nARG z\nFROM ${y:-b}", [("x", "a", 1), ("y", "a", 2)]),
        ("ARG x=a\nARG x=${x}b\nFROM $x", [("x", "ab", 2)]),
        ("ARG x=amd64\nFROM --platform=$x a", [("x", "amd64", 1)]),
        ("ARG x=a\nFROM b\nARG x", [("x", "a", 1)]),
        ("ARG x=a\nFROM b\nARG x=c", [("x", "c", 3)]),
        ("FROM a\nARG TARGETARCH\nARG HTTP_PROXY", [("HTTP_PROXY", "", 3)]),
        ("FROM a\nENV e=1\nARG x=$e", [("x", "1", 3)]),
        ("FROM a AS one\nARG x=1\nFROM one\nARG y=$x", [("x", "1", 2), ("y", "1", 4)]),
        ("ARG x=a\nFROM $x AS one\nARG x=b\nFROM one", [("x", "a", 1)]),
        ("FROM a AS one\nARG x=1\nFROM b\nCOPY --from=one c d\nARG x=2", [("x", "2", 5)]),
        ("FROM a AS one\nARG x=1\nFROM b\nRUN --mount=from=one,target=/c d", [("x", "1", 2)]),
        ("FROM a AS one\nARG x=1\nFROM b", []),
        ("FROM a AS one\nONBUILD ARG x=1\nFROM one", [("x", "1", 3)]),
        ("ARG r=1\nFROM $r AS replaced\nARG x=1\nFROM replaced\nARG y=2", [("y", "2", 5)]),
    ],
)  # fmt: skip
def test_parameters(text: str, expected: list[tuple[str, str, int]]) -> None:
    assert parameters(text) == expected


def test_what_is_given_and_what_is_the_target() -> None:
    text = "ARG base=a\nFROM $base AS one\nARG x=1\nFROM one AS two\nARG y"
    assert parameters(text, "one", base="b", x="2") == [("base", "b", 1), ("x", "2", 3)]
    assert parameters(text, "", y="3") == [("base", "a", 1), ("x", "1", 3), ("y", "3", 5)]


def test_an_image_brings_its_variables_and_triggers() -> None:
    base = State(config={"Env": ["E=1"], "OnBuild": ["ARG t=$E"]})
    found = outline("FROM a\nARG x=$E\n", base=base)
    assert [(one.name, one.value) for one in found.parameters] == [("t", "1"), ("x", "1")]


def test_secrets_and_agents() -> None:
    text = (
        "FROM a AS one\nRUN --mount=type=secret,id=s,required --mount=type=secret,target=/x/t b\n"
        "FROM one\nARG n=u\nRUN --mount=type=secret,src=$n --mount=type=secret,id=s c\n"
        "RUN --mount=type=ssh d\nRUN --mount=type=ssh,id=k,required=true e\n"
    )
    found = outline(text)
    assert [(one.name, one.required, one.location.first) for one in found.secrets] == [
        ("t", False, 2), ("u", False, 5), ("s", False, 5),
    ]  # fmt: skip
    assert [(one.name, one.required) for one in found.agents] == [("default", False), ("k", True)]


def test_descriptions() -> None:
    text = (
        "# x is above\nARG x=a\n# other words\n# Two is the second\n# two is the last\nFROM $x AS Two\n"
        "# y and more\n# z is next\nARG y z\n\n# w\n\nARG w\n"
    )
    found = outline(text)
    assert (found.name, found.description) == ("two", "is the last")
    told = [(one.name, one.description) for one in found.parameters]
    assert told == [("x", "is above"), ("y", "and more"), ("z", "is next"), ("w", "")]


def test_stages() -> None:
    text = "ARG v=1\n# one begins\nFROM --platform=$p a:$v AS one\nFROM one\nRUN --mount=type=bogus x\n"
    dockerfile = parse(text)
    first, last = dockerfile.stages
    assert targets(dockerfile) == (
        Target("one", "begins", "a:$v", "$p", first.from_.location, is_default=False),
        Target("", "", "one", "", last.from_.location, is_default=True),
    )


@pytest.mark.parametrize(
    ("instruction", "cause"),
    [
        ("RUN --mount=type=bogus x", 'unsupported mount type "bogus"'),
        ("RUN --mount=type=ssh,source=/x y", "ssh does not support source"),
        ("STOPSIGNAL x", "x"),
        ("EXPOSE a", "a"),
        ("ENV ${a?b} c", "b"),
    ],
)
def test_what_cannot_be_applied(instruction: str, cause: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        outline(f"FROM a\n{instruction}\n")
    assert (cause in caught.value.message, caught.value.line) == (True, 2)


def test_a_variable_of_a_base_that_is_not_known_is_no_error() -> None:
    assert outline("FROM a\nEXPOSE $PORT\nENV ${a?b} c\n", base=None) == Outline("", "")
    with pytest.raises(DockerfileError):
        outline("FROM a\nEXPOSE b\n", base=None)


def test_many_stages_on_each_other() -> None:
    text = "FROM a AS s0\n" + "".join(f"FROM s{n} AS s{n + 1}\nARG a{n}\n" for n in range(3000))
    assert len(outline(text).parameters) == 3000
