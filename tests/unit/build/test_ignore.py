""".dockerignore: what each pattern excludes, and what is taken back."""

from __future__ import annotations

import pytest

from corten.build import ignore
from corten.errors import InvalidInput

FILES = (
    ".git/config", "Dockerfile", "README.md", "a", "a.txt", "b/a", "b/a.txt", "b/c/a.txt", "b/c/d", "bb/a", "dir [x]/f",
)  # fmt: skip

EXCLUDED = [
    ("", ""),
    ("# a", ""),
    ("a", "a"),
    (" a \r", "a"),
    ("/a", "a"),
    ("./a/", "a"),
    ("/ a /", "a"),
    ("x/../a", "a"),
    ("b", "b/a b/a.txt b/c/a.txt b/c/d"),
    ("b/", "b/a b/a.txt b/c/a.txt b/c/d"),
    ("b/c", "b/c/a.txt b/c/d"),
    ("b/*", "b/a b/a.txt b/c/a.txt b/c/d"),
    ("*", " ".join(FILES)),
    ("*.txt", "a.txt"),
    ("*/*.txt", "b/a.txt"),
    ("**/*.txt", "a.txt b/a.txt b/c/a.txt"),
    ("b/**/a.txt", "b/a.txt b/c/a.txt"),
    ("**/c", "b/c/a.txt b/c/d"),
    ("**/a", "a b/a bb/a"),
    ("**", " ".join(FILES)),
    ("**a", "a b/a bb/a"),
    ("b/**", "b/a b/a.txt b/c/a.txt b/c/d"),
    ("b**", "b/a b/a.txt b/c/a.txt b/c/d bb/a"),
    ("?", "a b/a b/a.txt b/c/a.txt b/c/d"),
    ("[ab]", "a b/a b/a.txt b/c/a.txt b/c/d"),
    ("[^a]?/a", "bb/a"),
    ("[a-z].txt", "a.txt"),
    ("dir \\[x\\]", "dir~[x]/f"),
    (".*", ".git/config"),
    ("*\n!README.md", ".git/config Dockerfile a a.txt b/a b/a.txt b/c/a.txt b/c/d bb/a dir~[x]/f"),
    ("*.md\n!README.md\nREADME*", "README.md"),
    ("b\n!b/c", "b/a b/a.txt"),
    ("b\n!b/c\nb/c/d", "b/a b/a.txt b/c/d"),
    ("b/c\n!**/*.txt", "b/c/d"),
    ("!a\na", "a"),
    ("a\n! /a", ""),
]


@pytest.mark.parametrize(("text", "expected"), EXCLUDED)
def test_what_is_excluded(text: str, expected: str) -> None:
    rules = ignore.parse(text)
    expected_files = (
        set(FILES) if expected == " ".join(FILES) else {name.replace("~", " ") for name in expected.split()}
    )
    assert {name for name in FILES if rules.matches(name)} == expected_files
    assert {name for name in FILES if walked(rules, name)} == expected_files


def walked(rules: ignore.Ignore, path: str) -> bool:
    """The same by way of the directories, looking only into those that may hold something."""
    parts = path.split("/")
    above = 0
    for depth in range(1, len(parts) + 1):
        here = "/".join(parts[:depth])
        matched, above = rules.below(here, above)
        if depth < len(parts) and matched and not rules.may_hold(here):
            return True
    return matched


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("a\n!", 'line 2 of .dockerignore: illegal exclusion pattern: "!"'),
        ("[", "line 1 of .dockerignore: [: syntax error in pattern"),
        ("a[]", "line 1 of .dockerignore: a[]: syntax error in pattern"),
        ("[a-]", "line 1 of .dockerignore: [a-]: syntax error in pattern"),
        ("a\\", "line 1 of .dockerignore: a\\: syntax error in pattern"),
    ],
)
def test_a_malformed_pattern(text: str, cause: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        ignore.parse(text)
    assert caught.value.message == cause


def test_a_directory_that_holds_nothing_need_not_be_looked_into() -> None:
    rules = ignore.parse("node_modules\nb\n!b/keep/this\n!c/*/d")
    held = {name: rules.may_hold(name) for name in ("node_modules", "b", "b/keep", "b/other", "c", "c/x", "c/x/y", "d")}
    assert held == {
        "node_modules": False, "b": True, "b/keep": True, "b/other": False, "c": True, "c/x": True, "c/x/y": True,
        "d": False,
    }  # fmt: skip
    assert rules.takes_back
    assert not ignore.parse("a").takes_back


def test_a_rule_that_did_not_count_for_a_directory_is_not_asked_again() -> None:
    rules = ignore.parse("a\n!a/b\na")
    assert rules.matches("a/b")
    assert not walked(rules, "a/b")


def test_what_the_builder_reads_is_kept() -> None:
    rules = ignore.parse("*").keeping("Dockerfile", ".dockerignore")
    assert not rules.matches("Dockerfile")
    assert rules.matches("a")


def test_the_file_of_a_dockerfile_comes_first() -> None:
    assert ignore.candidates("docker/app.Dockerfile") == ("docker/app.Dockerfile.dockerignore", ".dockerignore")


def test_patterns_of_an_option() -> None:
    assert [rule.text for rule in ignore.of_patterns([" a/./b ", "", "!c"]).rules] == ["a/b", "c"]


def test_bytes_that_are_not_utf8_are_names_too() -> None:
    assert ignore.parse(b"\xff*\n").matches(b"\xffx".decode("utf-8", "surrogateescape"))


def test_many_wildcards_do_not_go_back() -> None:
    """A pattern for which a backtracking matcher would need years."""
    rules = ignore.parse("*a" * 100 + "b\n" + "**/*a" * 50 + "/b")
    assert not rules.matches("a" * 250)
    assert not rules.matches("/".join(["a" * 50] * 50))
