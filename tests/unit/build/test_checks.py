"""Build checks: each rule finds what it is for, once, and can be turned off."""

from __future__ import annotations

import pytest

from corten.build import checks, rules, stages
from corten.build.applied import base_of
from corten.build.arguments import Given, Scope, global_arguments
from corten.build.failure import Source
from corten.build.ignore import Ignore
from corten.build.ignore import parse as ignored
from corten.build.instructions import Finding, Location
from corten.build.parser import parse
from corten.build.rules import Settings
from corten.errors import DockerfileError, InvalidInput
from corten.spec.platform import Platform

AMD = Platform("linux", "amd64")
OF_IMAGE = checks.Inherited(Scope.of_image(["FROM_IMAGE=1"]))


def found(text: str, given: dict[str, str] | None = None, ignore: Ignore | None = None) -> list[Finding]:
    dockerfile = parse(text)
    asked, request = rules.settings(dockerfile), Given(given or {}, AMD, AMD)
    result = list(checks.of_file(dockerfile, request, asked))
    above = global_arguments(dockerfile, request)
    source = Source("Dockerfile", dockerfile.text)
    bases = [base_of(stage.from_, above, dockerfile.escape, source) for stage in dockerfile.stages]
    done: dict[int, checks.Inherited] = {}
    for node in stages.plan(dockerfile, bases).nodes:
        begin = done[node.origin.index] if isinstance(node.origin, stages.FromStage) else OF_IMAGE
        more, end = checks.of_stage(dockerfile, node.stage, begin, request, above, asked, ignore)
        done[node.stage.index] = end
        result += more
    return result


def told(text: str, given: dict[str, str] | None = None, ignore: Ignore | None = None) -> list[tuple[str, int, str]]:
    return [(one.rule, one.location.first, one.message) for one in found(text, given, ignore)]


FOUND = [
    ("FROM a AS Bee", "StageNameCasing", 1, "Stage name 'Bee' should be lowercase"),
    ("FROM a as b", "FromAsCasing", 1, "'as' and 'FROM' keywords' casing do not match"),
    ("FROM a\nRUN b \\\n\n c", "NoEmptyContinuation", 4, "Empty continuation line"),
    (
        "FROM a\nRUN b\nuser c",
        "ConsistentInstructionCasing",
        3,
        "Command 'user' should match the case of the command majority (uppercase)",
    ),
    (
        "from a\nrun b\nUser c",
        "ConsistentInstructionCasing",
        3,
        "Command 'User' should match the case of the command majority (lowercase)",
    ),
    ("FROM a AS b\nFROM c AS b", "DuplicateStageName", 2, 'Duplicate stage name "b", stage names should be unique'),
    (
        "FROM a AS scratch",
        "ReservedStageName",
        1,
        'Stage name should not use the same name as reserved stage "scratch"',
    ),
    (
        "FROM a\nCMD b",
        "JSONArgsRecommended",
        2,
        "JSON arguments recommended for CMD to prevent unintended behavior related to OS signals",
    ),
    (
        "FROM a\nENTRYPOINT b",
        "JSONArgsRecommended",
        2,
        "JSON arguments recommended for ENTRYPOINT to prevent unintended behavior related to OS signals",
    ),
    ("FROM a\nMAINTAINER b", "MaintainerDeprecated", 2, "Maintainer instruction is deprecated in favor of using label"),
    ("FROM ${b:-c}", "UndefinedArgInFrom", 1, "FROM argument 'b' is not declared"),
    (
        "ARG bases=c\nFROM ${base:-c}",
        "UndefinedArgInFrom",
        2,
        "FROM argument 'base' is not declared (did you mean bases?)",
    ),
    ("FROM --platform=linux/${ARCH:-s390x} a", "UndefinedArgInFrom", 1, "FROM argument 'ARCH' is not declared"),
    (
        "FROM a\nWORKDIR b",
        "WorkdirRelativePath",
        2,
        'Relative workdir "b" can have unexpected results if the base image changes',
    ),
    ("FROM a\nCOPY $b /", "UndefinedVar", 2, "Usage of undefined variable '$b'"),
    ("FROM a\nCOPY x $PAHT", "UndefinedVar", 2, "Usage of undefined variable '$PAHT' (did you mean $PATH?)"),
    ("FROM a\nARG b=$c", "UndefinedVar", 2, "Usage of undefined variable '$c'"),
    ("FROM a\nRUN --mount=target=/x,source=$b c", "UndefinedVar", 2, "Usage of undefined variable '$b'"),
    (
        'FROM a\nCMD ["b"]\nCMD ["c"]',
        "MultipleInstructionsDisallowed",
        2,
        "Multiple CMD instructions should not be used in the same stage because only the last one will be used",
    ),
    (
        "FROM a\nHEALTHCHECK NONE\nHEALTHCHECK NONE",
        "MultipleInstructionsDisallowed",
        2,
        "Multiple HEALTHCHECK instructions should not be used in the same stage because only the last one will be used",
    ),
    (
        "FROM a\nENV b c",
        "LegacyKeyValueFormat",
        2,
        '"ENV key=value" should be used instead of legacy "ENV key value" format',
    ),
    (
        "FROM a\nLABEL b c",
        "LegacyKeyValueFormat",
        2,
        '"LABEL key=value" should be used instead of legacy "LABEL key value" format',
    ),
    (
        "FROM --platform=$TARGETPLATFORM a",
        "RedundantTargetPlatform",
        1,
        "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
    ),
    (
        "FROM a\nENV API_KEY=b",
        "SecretsUsedInArgOrEnv",
        2,
        'Do not use ARG or ENV instructions for sensitive data (ENV "API_KEY")',
    ),
    (
        "FROM a\nARG token",
        "SecretsUsedInArgOrEnv",
        2,
        'Do not use ARG or ENV instructions for sensitive data (ARG "token")',
    ),
    (
        "ARG b\nFROM a:$b",
        "InvalidDefaultArgInFrom",
        2,
        "Default value for ARG a:$b results in empty or invalid base image name",
    ),
    (
        "FROM --platform=linux/arm64 a",
        "FromPlatformFlagConstDisallowed",
        1,
        'FROM --platform flag should not use constant value "linux/arm64"',
    ),
    (
        "FROM a\nEXPOSE 80/TCP",
        "ExposeProtoCasing",
        2,
        "Defined protocol '80/TCP' in EXPOSE instruction should be lowercase",
    ),
    (
        "FROM a\nEXPOSE 80:80",
        "ExposeInvalidFormat",
        2,
        "EXPOSE instruction should not define an IP address or host-port mapping, found '80:80'",
    ),
]


@pytest.mark.parametrize(
    ("text", "rule", "line", "message"), FOUND, ids=[f"{case[1]}-{case[0][:20]}" for case in FOUND]
)
def test_what_a_rule_finds(text: str, rule: str, line: int, message: str) -> None:
    given = {"b": "1"} if rule == "InvalidDefaultArgInFrom" else {}
    assert told(text, given) == [(rule, line, message)]
    assert told(f"# check=skip=other, {rule}\n{text}", given) == [(rule, line + 1, message)]  # a space ends the value
    assert told(f"# check=skip=other,{rule}\n{text}", given) == []
    assert told(f"#!/x\n# check=skip=all\n{text}", given) == []


FINE = [
    "FROM a AS b\nRUN c\n",
    "from a as b\nrun c\n",
    "FROM a\nSHELL [\"x\"]\nCMD b",
    "FROM a AS b\nSHELL [\"x\"]\nFROM b\nENTRYPOINT c",
    "FROM a AS b\nCMD [\"x\"]\nFROM b\nCMD [\"y\"]",
    "FROM a\nWORKDIR /b\nWORKDIR c",
    "FROM a AS b\nWORKDIR /b\nFROM b\nWORKDIR c",
    "FROM a\nCOPY $FROM_IMAGE $PATH",
    "FROM a\nARG b\nCOPY x$b /",
    "FROM a\nENV b=1\nCOPY x$b /",
    "FROM a AS b\nARG c\nENV d=1\nFROM b\nCOPY x$c$d /",
    "FROM a\nEXPOSE 1$b",
    "FROM a\nRUN $b",
    "FROM a\nENV PUBLIC_KEY=b TOKEN_FILE=c KEYBOARD=d",
    "FROM --platform=$BUILDPLATFORM a",
    "FROM --platform=linux/arm64 a AS b-arm64",
    "ARG b=c\nFROM a:$b",
    "# a is something\nFROM x AS a",
    "FROM a\n# b is something\nARG b",
]  # fmt: skip


@pytest.mark.parametrize("text", FINE)
def test_what_is_fine(text: str) -> None:
    assert told(text) == []


def test_a_finding_has_a_page() -> None:
    (one,) = found("FROM a\nCMD b")
    assert one.location == Location(2, 2)
    assert one.url == "https://docs.docker.com/go/dockerfile/rule/json-args-recommended/"
    assert found("FROM a\nENV b c")[0].url.endswith("/legacy-key-value-format/")
    assert found("FROM a as b")[0].url.endswith("/from-as-casing/")


def test_a_comment_turns_a_rule_off_for_one_instruction() -> None:
    text = "FROM a\n# check=skip=UndefinedVar\nCOPY $b /\nCOPY $b /\n"
    assert [line for _, line, _ in told(text)] == [4]
    assert [line for _, line, _ in told(text.replace("skip=", "nothing="))] == [3, 4]


def test_experimental_rules_are_asked_for() -> None:
    text = "FROM a\n# nothing\nARG b c\n# check=experimental=InvalidDefinitionDescription\n# x\nARG d"
    message = "Comment for ARG should follow the format: `# {} <description>`"
    assert told(text) == [("InvalidDefinitionDescription", 6, message.format("d"))]
    assert told(f"# check=experimental=all\n{text}")[0] == (
        "InvalidDefinitionDescription", 4, message.format("<arg_key>"),
    )  # fmt: skip


def test_files_that_are_ignored() -> None:
    text = "FROM a\nCOPY b ./c/ /\nADD d https://b/b /\nCOPY --from=x b /\nCOPY . /"
    assert told(text, ignore=ignored("b\nc\nd")) == [
        ("CopyIgnoredFile", 2, 'Attempting to Copy file "b" that is excluded by .dockerignore'),
        ("CopyIgnoredFile", 2, 'Attempting to Copy file "c" that is excluded by .dockerignore'),
        ("CopyIgnoredFile", 3, 'Attempting to Add file "d" that is excluded by .dockerignore'),
    ]
    assert told(text, ignore=ignored("*\n!b")) == []
    assert ("CopyIgnoredFile", 5, 'Attempting to Copy file "." that is excluded by .dockerignore') in told(
        text, ignore=ignored("*")
    )


def test_an_image_of_another_platform() -> None:
    from_ = parse("FROM a").stages[0].from_
    assert checks.of_platform(from_, "a", AMD, AMD) is None
    one = checks.of_platform(from_, "a", AMD, Platform("linux", "arm64", "v8"))
    assert one
    assert one.message == (
        'Base image a was pulled with platform "linux/arm64", expected "linux/amd64" for current build'
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Settings()),
        ("skip=all", Settings(skip=frozenset({"all"}), skip_all=True)),
        ("skip=A,B;error=true", Settings(skip=frozenset({"A", "B"}), error=True)),
        (" error = 1 ; skip = A ", Settings(skip=frozenset({"A"}), error=True)),
    ],
)
def test_settings(text: str, expected: Settings) -> None:
    parsed = rules.parse(text)
    assert (parsed.skip - {""}, parsed.skip_all, parsed.error) == (expected.skip, expected.skip_all, expected.error)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("x", 'failed to parse check options: invalid check option "x"'),
        ("x=y", 'failed to parse check options: invalid check option "x"'),
        ("error=maybe", 'failed to parse check options: failed to parse check option "error=maybe"'),
    ],
)
def test_settings_that_are_none(text: str, cause: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        rules.parse(text)
    assert caught.value.message == cause
    with pytest.raises(DockerfileError) as placed:
        rules.settings(parse(f"# syntax=a\n# check={text}\nFROM a"))
    assert (placed.value.cause, placed.value.line) == (cause, 2)
    assert rules.settings(parse(f"# check={text}\nFROM a"), "error=true").error


def test_findings_may_be_errors() -> None:
    text = "# check=error=true\nFROM a\nCMD b\nCMD c"
    dockerfile = parse(text)
    with pytest.raises(DockerfileError) as caught:
        rules.refuse(rules.settings(dockerfile), found(text), Source("Dockerfile", text))
    assert caught.value.cause == ("lint violation found for rules: JSONArgsRecommended, MultipleInstructionsDisallowed")
    rules.refuse(rules.parse("error=true"), [], Source("Dockerfile", text))
    rules.refuse(Settings(), found(text), Source("Dockerfile", text))


def test_an_instruction_that_cannot_be_applied_is_passed_over() -> None:
    assert told("FROM a\nENV b=${c?}\nCOPY $d /") == [("UndefinedVar", 3, "Usage of undefined variable '$d'")]
