"""Twice as long a file takes twice as many steps: counted in lines of Python that are executed, not in seconds."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from tests.fuzz import dockerfile, expansion, ignore

FILES: dict[str, Callable[[int], str]] = {
    "comments": lambda n: "# a\n" * n + "FROM a",
    "blank lines": lambda n: "\n" * n + "FROM a",
    "continuations": lambda n: "FROM a\nRUN b" + " \\\n c" * n,
    "empty continuations": lambda n: "FROM a\nRUN b \\\n" + "\n" * n,
    "backslashes": lambda n: "FROM a\nRUN " + "\\" * n,
    "spaces": lambda n: "FROM a\nRUN b" + " " * n + "c",
    "spaces of a directive": lambda n: "# check=" + " " * n + "x" + " " * n + "\nFROM a",
    "flags": lambda n: "FROM a\nCOPY " + "--exclude=a " * n + "b c",
    "unknown flags": lambda n: "FROM a\nCOPY " + "--a " * n + "b c",
    "mounts": lambda n: "FROM a\nRUN " + "--mount=target=/a " * n + "b",
    "fields of a mount": lambda n: "FROM a\nRUN --mount=target=/a" + ",ro" * n + " b",
    "quotes of a mount": lambda n: "FROM a\nRUN --mount='\"" + '""' * n + "' b",
    "marks": lambda n: "FROM a\nRUN " + "<<A " * n + "\n" + "A\n" * n,
    "marks without an end": lambda n: "FROM a\nRUN " + "<<A " * n,
    "a mark of blanks": lambda n: "FROM a\nRUN <<" + " " * n + "a<b",
    "here-documents": lambda n: "FROM a\n" + "RUN <<A\nb\nA\n" * n,
    "a here-document": lambda n: "FROM a\nCOPY <<A /\n" + "$b\n" * n + "A",
    "pairs": lambda n: "FROM a\nENV" + "".join(f" a{i}=b" for i in range(n)),
    "variables": lambda n: "FROM a\n" + "".join(f"ENV a{i}=$b{i}\n" for i in range(n)),
    "arguments one by one": lambda n: "FROM a\n" + "".join(f"ARG a{i}=$b\n" for i in range(n)),
    "global arguments": lambda n: "".join(f"ARG a{i}=1\n" for i in range(n)) + "FROM a",
    "undeclared names": lambda n: "FROM a\n" + "".join(f"FROM ${{a{i}:-b}}\n" for i in range(n)),
    "labels": lambda n: "FROM a\nLABEL" + " 'a'=\"b\"" * n,
    "arguments": lambda n: "FROM a\nARG" + "".join(f" a{i}=$b" for i in range(n)),
    "words": lambda n: "FROM a\nCOPY " + "b " * n,
    "a long word": lambda n: "FROM a\nUSER " + "b" * n,
    "a long keyword": lambda n: "R" * n + " a",
    "stages": lambda n: "".join(f"FROM s{i} AS s{i + 1}\n" for i in range(n)),
    "stages by arguments": lambda n: (
        "".join(f"ARG p{i}=s{i}\n" for i in range(n)) + "".join(f"FROM $p{i} AS s{i + 1}\nARG q{i}\n" for i in range(n))
    ),
    "arguments that use each other": lambda n: (
        "ARG a0=b\n" + "".join(f"ARG a{i + 1}=$a{i}\n" for i in range(n)) + f"FROM $a{n}\n" * 2
    ),
    "mounts of secrets": lambda n: "FROM a\nRUN " + "".join(f"--mount=type=secret,id=s{i} " for i in range(n)) + "b",
    "copies from stages": lambda n: "FROM a AS b\n" * n + "COPY --from=b c d\n" * n,
    "volumes": lambda n: "FROM a\nVOLUME [" + '"a",' * n + '"b"]',
    "brackets": lambda n: "FROM a\nCMD " + "[" * n,
    "triggers": lambda n: "FROM a\n" + "ONBUILD " * n,
    "durations": lambda n: "FROM a\nHEALTHCHECK --interval=" + "1h" * n + " CMD x",
    "secrets": lambda n: "FROM a\nARG " + "key_" * n + "x",
}

TEXTS: dict[str, Callable[[int], str]] = {
    "variables": lambda n: "$a" * n,
    "unset variables": lambda n: "$x${y}" * n,
    "dollars": lambda n: "$" * n,
    "quotes": lambda n: "'a'\"b\"" * n,
    "open quotes": lambda n: "'" * (2 * n + 1),
    "defaults": lambda n: "${x:-a}" * n,
    "nested defaults": lambda n: ("${x:-" * 50 + "}" * 50) * (n // 50),
    "open braces": lambda n: "${x:-" * n,
    "a long default": lambda n: "${x:-" + "a" * n + "}",
    "patterns": lambda n: "${a#*b}${a%%b*}" * n,
    "a long pattern": lambda n: "${a##" + "*b" * n + "}",
    "replacements": lambda n: "${a//b/c}" * n,
    "everything replaced": lambda n: "${a//?/" + "c" * n + "}",
    "marks": lambda n: "<<" * n,
    "blanks": lambda n: " " * n,
}

PATTERNS: dict[str, Callable[[int], str]] = {
    "stars": lambda n: "*" * n,
    "stars and letters": lambda n: "*a" * n,
    "deep stars": lambda n: "**/a/" * n,
    "classes": lambda n: "[a-c]" * n,
    "a class": lambda n: "[" + "a" * n + "]",
    "lines": lambda n: "a*b\n" * n,
    "dots": lambda n: "../" * n + "a",
}

FAMILIES = [
    (f"{kind}: {name}", one, make)
    for kind, one, families in (
        ("Dockerfile", dockerfile.one, FILES), ("word", expansion.one, TEXTS), (".dockerignore", ignore.one, PATTERNS)
    )
    for name, make in families.items()
]  # fmt: skip


def steps(one: Callable[[bytes], None], text: str) -> int:
    """How many lines of Python it takes."""
    count = 0

    def local(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        count += event == "line"
        return local

    before = sys.gettrace()
    sys.settrace(lambda frame, event, argument: local)
    try:
        one(text.encode())
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize(("one", "make"), [case[1:] for case in FAMILIES], ids=[case[0] for case in FAMILIES])
def test_twice_the_length_takes_twice_the_steps(one: Callable[[bytes], None], make: Callable[[int], str]) -> None:
    short, long = steps(one, make(100)), steps(one, make(200))
    assert long <= 2.2 * short + 200
