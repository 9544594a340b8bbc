"""ARG and ENV: which value a name has, where."""

from __future__ import annotations

import pytest

from corten.build.applied import base_of
from corten.build.arguments import DEFAULT_PATH, Given, Globals, Scope, global_arguments, unconsumed
from corten.build.expansion import Rules
from corten.build.failure import Source
from corten.build.instructions import Arg, Dockerfile, Pair
from corten.build.parser import parse
from corten.errors import DockerfileError, InvalidInput
from corten.spec.platform import Platform

ARM = Platform("linux", "arm", "v7")
AMD = Platform("linux", "amd64")


def arg(text: str) -> Arg:
    (found,) = parse(f"FROM a\nARG {text}").stages[0].instructions
    assert isinstance(found, Arg)
    return found


def scope_after(*lines: str, given: Given = Given(), above: Globals = Globals({})) -> Scope:  # noqa: B008
    scope = Scope.of_image(["IMAGE=1"])
    for line in lines:
        name, _, value = line.removeprefix("ENV ").partition("=")
        if line.startswith("ENV "):
            scope = scope.with_env([Pair(name, value)])
        else:
            scope, _ = scope.with_arg(arg(line), given, above, Rules())
    return scope


def globals_of(text: str, **arguments: str) -> dict[str, str]:
    found = global_arguments(parse(text + "\nFROM a"), Given(arguments, AMD, ARM, "t"))
    return dict(found.values)


def test_the_platforms_are_predefined() -> None:
    assert globals_of("", TARGETOS="mine") == {
        "BUILDPLATFORM": "linux/amd64",
        "BUILDOS": "linux",
        "BUILDOSVERSION": "",
        "BUILDARCH": "amd64",
        "BUILDVARIANT": "",
        "TARGETPLATFORM": "linux/arm/v7",
        "TARGETOS": "mine",
        "TARGETOSVERSION": "",
        "TARGETARCH": "arm",
        "TARGETVARIANT": "v7",
        "TARGETSTAGE": "t",
    }
    assert Given().predefined()["TARGETSTAGE"] == "default"


@pytest.mark.parametrize(
    ("text", "given", "expected"),
    [
        ("ARG a=1", {}, {"a": "1"}),
        ("ARG a=1", {"a": "2"}, {"a": "2"}),
        ("ARG a", {}, {}),
        ("ARG a", {"a": "2"}, {"a": "2"}),
        ("ARG a=1\nARG b=${a}x", {}, {"a": "1", "b": "1x"}),
        ("ARG a=1 b=${a}x", {"a": "2"}, {"a": "2", "b": "2x"}),
        ("ARG a=1\nARG a=2", {}, {"a": "2"}),
        ("ARG a=1\nARG a", {}, {"a": "1"}),
        ("ARG a='$b' b=\"c d\"", {}, {"a": "$b", "b": "c d"}),
        ("ARG a=$TARGETARCH", {}, {"a": "arm"}),
        ("ARG a=1", {"other": "2"}, {"a": "1"}),
    ],
)
def test_arguments_above_the_first_stage(text: str, given: dict[str, str], expected: dict[str, str]) -> None:
    found = globals_of(text, **given)
    assert {name: value for name, value in found.items() if name.upper() != name} == expected


def test_a_wrong_default_names_its_line() -> None:
    with pytest.raises(DockerfileError, match=r'on line 2: failed to process "\$\{b\?\}": b: is not allowed') as caught:
        globals_of("ARG a=1\nARG c=${b?}")
    assert (caught.value.instruction, caught.value.line) == ("ARG", 2)


@pytest.mark.parametrize(
    ("lines", "given", "expected"),
    [
        (("a=1",), {}, "1"),
        (("a=1",), {"a": "2"}, "2"),
        (("a",), {}, None),
        (("a",), {"a": "2"}, "2"),
        ((), {"a": "2"}, None),
        (("top",), {}, None),
        (("b=1", "a=x$b"), {}, "x1"),
        (("a=$IMAGE",), {}, "1"),
        (("a=1", "ENV a=2"), {}, "2"),
        (("ENV a=2", "a=1"), {}, "1"),
        (("ENV a=2", "a"), {}, "2"),
        (("a=1", "a"), {}, "1"),
    ],
)
def test_a_variable_of_a_stage(lines: tuple[str, ...], given: dict[str, str], expected: str | None) -> None:
    assert scope_after(*lines, given=Given(given)).variables.get("a") == expected


def test_a_stage_sees_a_global_argument_when_it_says_so() -> None:
    above = Globals({"top": "T", "TARGETARCH": "arm"})
    assert "top" not in scope_after(above=above).variables
    scope = scope_after("top", "TARGETARCH", "other=$top", above=above)
    assert {name: scope.variables[name] for name in ("top", "TARGETARCH", "other")} == {
        "top": "T", "TARGETARCH": "arm", "other": "T",
    }  # fmt: skip
    assert scope_after("top=mine", above=above).variables["top"] == "mine"


def test_the_image_keeps_env_alone_and_a_path() -> None:
    scope = scope_after("a=1", "ENV b=2", "ENV a=3")
    assert scope.environment == {"IMAGE": "1", "PATH": DEFAULT_PATH, "b": "2", "a": "3"}
    assert list(scope.variables) == ["IMAGE", "PATH", "a", "b"]
    assert Scope.of_image(["PATH=/x"]).environment == {"PATH": "/x"}


def test_the_arguments_in_an_images_history() -> None:
    assert scope_after().in_history() == ()
    assert scope_after("b=1", "a", "b=2", "ENV a=4").in_history() == ("|2", "b=2", "a=4")


def test_names_without_a_value_in_a_default() -> None:
    _, unset = Scope.of_image([]).with_arg(arg("a=$b${c:-1}$a d=$a"), Given(), Globals({}), Rules())
    assert unset == {"a", "b", "c"}
    declared, _ = Scope.of_image([]).with_arg(arg("b"), Given(), Globals({}), Rules())
    assert declared.with_arg(arg("a=$b"), Given(), Globals({}), Rules())[1] == frozenset()


def test_proxies_are_for_commands_in_both_cases() -> None:
    given = Given({"http_proxy": "a", "NO_PROXY": "b", "ftp_proxy": "", "other": "c"})
    assert given.proxies() == {"HTTP_PROXY": "a", "http_proxy": "a", "NO_PROXY": "b", "no_proxy": "b"}


def test_arguments_that_nothing_takes() -> None:
    dockerfile = parse("ARG a\nFROM b\nARG c\nFROM d\nARG e=1")
    given = Given(dict.fromkeys(["a", "c", "e", "z", "y", "HTTPS_PROXY", "all_proxy", "TARGETOS", "BUILDKIT_X"], ""))
    assert unconsumed(dockerfile, given) == ("y", "z")


def test_a_variable_that_no_command_could_have() -> None:
    with pytest.raises(InvalidInput, match="the value of a is longer than a command can be given"):
        Scope().with_env([Pair("a", "x" * 131_070)])
    assert Scope().with_env([Pair("a", "x" * 131_069)])
    with pytest.raises(InvalidInput, match="all variables together are longer"):
        Scope().with_env(Pair(f"a{number}", "x" * 100_000) for number in range(70))


def base(text: str) -> tuple[str, str, set[str], set[str]]:
    dockerfile: Dockerfile = parse(f"ARG name=debian tag=12\n{text}")
    above = global_arguments(dockerfile, Given({}, AMD, ARM))
    found = base_of(dockerfile.stages[0].from_, above, dockerfile.escape, Source("Dockerfile", dockerfile.text))
    return found.image, found.platform, set(found.unset), set(found.used)


def test_what_a_from_means() -> None:
    assert base("FROM $name:${tag}") == ("debian:12", "", set(), {"name", "tag"})
    assert base("FROM --platform=$BUILDPLATFORM a") == ("a", "linux/amd64", set(), {"BUILDPLATFORM"})
    assert base("FROM ${other:-scratch}") == ("scratch", "", {"other"}, set())


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("FROM $other", "base name ($other) should not be blank"),
        ("FROM --platform=$other a", "empty platform value from expression $other"),
        ("FROM ${name:=x}", 'failed to process "${name:=x}": unsupported modifier (:=) in substitution'),
    ],
)
def test_a_from_that_means_nothing(text: str, cause: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        base(text)
    assert (caught.value.cause, caught.value.line, caught.value.instruction) == (cause, 2, "FROM")
