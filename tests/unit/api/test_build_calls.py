"""The documents of what a build tells without being built: BuildKit's shapes, whatever the Dockerfile holds."""

from __future__ import annotations

import base64

import msgspec

from corten.api import build_calls
from corten.build import outline, rules
from corten.build.descriptions import DESCRIPTIONS
from corten.build.instructions import Location
from corten.build.outline import Need, Outline, Parameter
from corten.build.parser import parse
from corten.engine.build_calls import Checked
from corten.errors import DockerfileError, InvalidInput


def lines(first: int, last: int) -> dict[str, object]:
    return {"ranges": [{"start": {"line": n}, "end": {"line": n}} for n in range(first, last + 1)]}


def test_every_rule_has_a_description() -> None:
    assert DESCRIPTIONS.keys() == rules.SENTENCES.keys()


def test_a_check() -> None:
    content = b"FROM a\nRUN \\\n\n b\n"
    elsewhere = rules.finding("InvalidBaseImagePlatform", Location(1, 1), "a", "b", "c")
    found = [rules.finding("MaintainerDeprecated", Location(2, 4)), elsewhere]
    answer = build_calls.checked(Checked("sub/D", content, found))
    first, second = answer["warnings"]
    assert first == {
        "ruleName": "MaintainerDeprecated",
        "description": "The MAINTAINER instruction is deprecated, use a label instead to define an image author",
        "url": "https://docs.docker.com/go/dockerfile/rule/maintainer-deprecated/",
        "detail": "Maintainer instruction is deprecated in favor of using label",
        "location": lines(2, 4),
    }
    assert "url" not in second
    assert answer["sources"] == [
        {"filename": "sub/D", "data": base64.b64encode(content).decode(), "language": "Dockerfile"}
    ]
    assert "buildError" not in answer


def test_a_check_of_what_cannot_be_built() -> None:
    located = build_calls.checked(Checked("D", b"", error=DockerfileError("c", line=2, last_line=3)))
    assert (located["warnings"], located["buildError"]) == (
        None, {"message": "dockerfile parse error on line 2: c", "location": lines(2, 3)},
    )  # fmt: skip
    placeless = build_calls.checked(Checked("D", b"", error=InvalidInput("no such target")))
    assert placeless["buildError"] == {"message": "no such target", "location": {}}


def test_an_outline() -> None:
    where = Location(1, 1)
    bare = build_calls.outlined(b"x", Outline("", ""))
    assert bare == {"sources": ["eA=="]}
    found = Outline("n", "d", (Parameter("a", "", "", where),), (Need("s", True, where),), (Need("k", False, where),))
    assert build_calls.outlined(b"x", found) == {
        "name": "n", "description": "d", "args": [{"name": "a", "location": lines(1, 1)}],
        "secrets": [{"name": "s", "required": True, "location": lines(1, 1)}],
        "ssh": [{"name": "k", "location": lines(1, 1)}], "sources": ["eA=="],
    }  # fmt: skip


def test_a_comment_that_is_no_text() -> None:
    content = b"# x \xff\xed\xa0\x80\nFROM a AS x\n"
    answer = build_calls.listed(content, outline.targets(parse(content)))
    (target,) = msgspec.json.decode(msgspec.json.encode(answer))["targets"]
    assert (target["description"], target["base"]) == ("\ufffd" * 4, "a")
    assert base64.b64decode(answer["sources"][0]) == content


def test_an_instruction_of_very_many_lines() -> None:
    """What is told stays as long as the file, not as its square."""
    found = [rules.finding("UndefinedVar", Location(1, 9000), f"v{n}", "") for n in range(100)]
    answer = build_calls.checked(Checked("D", b"", found))
    assert answer["warnings"][0]["location"] == {"ranges": [{"start": {"line": 1}, "end": {"line": 9000}}]}
    few = build_calls.checked(Checked("D", b"", found[:10]))
    assert len(few["warnings"][0]["location"]["ranges"]) == 9000
