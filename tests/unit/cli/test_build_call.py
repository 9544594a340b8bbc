"""``build --call`` and ``--check``: how the method is read, and how the answer is printed."""

from __future__ import annotations

import base64
from types import SimpleNamespace
from typing import Any, cast

import pytest

from corten.cli import build_call
from corten.cli.options import UsageError
from corten.client.response import Response
from corten.errors import InvalidInput, Unsupported

Asked = tuple[str, str, bool] | None


@pytest.mark.parametrize(
    ("text", "check", "expected"),
    [
        ("build", True, ("check", "", False)),
        ("build", False, None),
        ("build,format=json", False, None),
        ("", True, ("check", "", False)),
        ("check", True, ("check", "", False)),
        ("check,format=json", True, ("check", "json", False)),
        ("lint", False, ("check", "", False)),
        ("check,ignorestatus=true", False, ("check", "", True)),
        ("ignorestatus=1,format=text,lint", False, ("check", "text", True)),
        ("check,ignorestatus=f", False, ("check", "", False)),
        ("outline,format=json", False, ("outline", "json", False)),
        ("targets", False, ("targets", "", False)),
        ("subrequests.describe", False, ("subrequests.describe", "", False)),
    ],
)
def test_methods(text: str, check: bool, expected: Asked) -> None:
    found = build_call.asked(text, check=check)
    assert (found and (found.method, found.form, found.ignores_status)) == expected


@pytest.mark.parametrize(
    "text", ["bogus", "check,outline", "check,format=yaml", "check,ignorestatus=maybe", "check,a=b", "format=json", ","]
)
def test_what_is_no_method(text: str) -> None:
    with pytest.raises(UsageError, match='for "--call" flag'):
        build_call.asked(text, check=False)


def test_two_methods() -> None:
    with pytest.raises(InvalidInput, match="--check --call=outline"):
        build_call.asked("outline", check=True)


def test_an_engine_that_would_build() -> None:
    """One of before knows no ``call``: nothing is announced to it."""
    call = build_call.Call("check")
    call.agreed(cast(Response, SimpleNamespace(headers={"corten-call": "check"})))
    with pytest.raises(Unsupported, match="the engine is older"):
        call.agreed(cast(Response, SimpleNamespace(headers={"upgrade": "corten-build"})))


def ranges(first: int, last: int) -> list[dict[str, Any]]:
    return [{"start": {"line": line}, "end": {"line": line}} for line in range(first, last + 1)]


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        (5, 5, [3, 4, 5, 6, 7]),
        (1, 1, [1, 2, 3]),
        (2, 2, [1, 2, 3, 4]),
        (9, 9, [7, 8, 9]),
        (4, 5, [3, 4, 5, 6]),
        (1, 3, [1, 2, 3, 4]),
        (1, 9, list(range(1, 10))),
        (8, 20, [7, 8, 9]),
    ],
)
def test_excerpts(first: int, last: int, expected: list[int]) -> None:
    """As many lines around as BuildKit shows (its ``solver/errdefs``)."""
    head, rule, *rows, end = build_call.excerpt("D", [f"l{n}" for n in range(1, 10)], ranges(first, last))
    assert (head, rule, end) == (f"D:{first}", "-" * 20, "-" * 20)
    assert rows == [f" {n:3} | {'>>>' if first <= n <= last else '   '} l{n}" for n in expected]


def test_an_excerpt_of_lines_that_are_not_there() -> None:
    assert build_call.excerpt("D", ["a"], ranges(2, 2)) == []


def checked(*warnings: dict[str, Any], error: bool = False) -> dict[str, Any]:
    source = {"filename": "Dockerfile", "data": base64.b64encode(b"FROM a\r\nrun \x1b[31m\xff\n").decode()}
    told = {"buildError": {"message": "no", "location": {}}} if error else {}
    return {"warnings": list(warnings) or None, "sources": [source], **told}


WARNING = {
    "ruleName": "R", "description": "D", "url": "https://r", "detail": "say \x1b[2Jit",
    "location": {"ranges": ranges(2, 2)},
}  # fmt: skip


def test_a_check() -> None:
    assert build_call.check(checked()) == ["Check complete, no warnings found."]
    assert build_call.check(checked(error=True)) == []
    one = build_call.check(checked(WARNING))
    rule = "-" * 20
    assert one == [
        "Check complete, 1 warning has been found!", "", "WARNING: R - https://r", "say \ufffd[2Jit", "Dockerfile:2",
        rule, "   1 |     FROM a", "   2 | >>> run \ufffd[31m\ufffd", "   3 |     ", rule,
    ]  # fmt: skip
    bare = {name: value for name, value in WARNING.items() if name != "url"}
    two = build_call.check(checked(bare, WARNING, error=True))
    assert (two[0], two[2], two[-1]) == ("Check complete, 2 warnings have been found!", "WARNING: R", "")


def test_an_outline() -> None:
    result = {
        "name": "one", "description": "is \x07it",
        "args": [{"name": "a", "value": "1"}, {"name": "longer name", "description": "words"}],
        "secrets": [{"name": "s", "required": True}, {"name": "tt"}], "ssh": [{"name": "default"}],
    }  # fmt: skip
    assert build_call.outline(result) == [
        "TARGET:      one", "DESCRIPTION: is \ufffdit", "",
        "BUILD ARG     VALUE   DESCRIPTION", "a             1       ", "longer name           words", "",
        "SECRET   REQUIRED", "s        true", "tt       ", "",
        "SSH       REQUIRED", "default   ", "",
    ]  # fmt: skip
    assert build_call.outline({"description": "d"})[:2] == ["TARGET:      (default)", "DESCRIPTION: d"]
    assert build_call.outline({"name": "a"}) == ["TARGET: a", ""]
    assert build_call.outline({"sources": [""]}) == []


def test_stages() -> None:
    result = {"targets": [{"name": "one", "description": "d"}, {"name": "two", "default": True}, {"default": True}, {}]}
    assert build_call.targets(result) == [
        "TARGET        DESCRIPTION", "one           d", "two (default) ", "(default)     ", "              ",
    ]  # fmt: skip
