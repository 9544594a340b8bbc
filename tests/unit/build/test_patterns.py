"""Wildcards as Go's ``filepath.Match`` has them."""

from __future__ import annotations

import pytest

from corten.build.patterns import Pattern, clean, has_wildcards, split
from corten.errors import InvalidInput

MATCHES = [
    ("abc", "abc", True),
    ("*", "abc", True),
    ("*", "", True),
    ("*c", "abc", True),
    ("a*", "a", True),
    ("a*", "ab/c", False),
    ("a*/b", "abc/b", True),
    ("a*/b", "a/c/b", False),
    ("**", "a/b", False),
    ("**/b", "a/b", True),
    ("**/b", "a/c/b", False),
    ("a*b*c*d*e*/f", "axbxcxdxe/f", True),
    ("a*b*c*d*e*/f", "axbxcxdxexxx/fff", False),
    ("a*b?c*x", "abxbbxdbxebxczzx", True),
    ("a*b?c*x", "abxbbxdbxebxczzy", False),
    ("ab[c]", "abc", True),
    ("ab[b-d]", "abc", True),
    ("ab[e-g]", "abc", False),
    ("ab[^c]", "abc", False),
    ("ab[^e-g]", "abc", True),
    ("a[\\]]", "a]", True),
    ("a[\\-x]", "a-", True),
    ("a[x\\-]", "ax", True),
    ("a\\*b", "a*b", True),
    ("a\\*b", "axb", False),
    ("a?b", "aüb", True),
    ("a???b", "aüb", False),
    ("a?b", "a/b", False),
    ("[a-ζ]*", "α", True),
    ("*[a-ζ]", "A", False),
    ("*x", "xxx", True),
]


@pytest.mark.parametrize(("pattern", "path", "expected"), MATCHES)
def test_a_pattern(pattern: str, path: str, expected: bool) -> None:
    assert Pattern(pattern).matches(path) is expected


@pytest.mark.parametrize(
    "pattern", ["[", "[]a]", "[-]", "[x-]", "[-x]", "[^", "[^bc", "a[", "[a-b-c]", "\\", "[a", "[\\"]
)
def test_a_malformed_pattern(pattern: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Pattern(pattern)
    assert caught.value.message == f"{pattern}: syntax error in pattern"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a/b", ("a/b", "")),
        ("/a/b*/c", ("/a", "b*/c")),
        ("a/[b]", ("a", "[b]")),
        ("*", ("", "*")),
        ("/*", ("/", "*")),
        ("a\\*/b", ("a\\*/b", "")),
    ],
)
def test_the_part_before_a_wildcard(source: str, expected: tuple[str, str]) -> None:
    assert split(source) == expected
    assert has_wildcards(source) is bool(expected[1])


@pytest.mark.parametrize(
    ("path", "expected"), [("", "."), ("//a", "/a"), ("a//b/../c/.", "a/c"), ("../a", "../a"), ("/..", "/")]
)
def test_a_clean_path(path: str, expected: str) -> None:
    assert clean(path) == expected
