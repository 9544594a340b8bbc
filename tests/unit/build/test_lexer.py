"""Lines: continuations, comments, directives, here-documents."""

from __future__ import annotations

import pytest

from corten.build.failure import Source
from corten.build.instructions import Directive, HereDocument, Location, Run
from corten.build.lexer import here_document, lex, sole_document
from corten.build.parser import parse
from corten.errors import DockerfileError

LINES = [
    ("RUN a", ["RUN a"]),
    ("RUN a\n\nRUN b\n", ["RUN a", "RUN b"]),
    ("  RUN a\r\nRUN b\r\n", ["RUN a", "RUN b"]),
    ("\ufeffRUN a", ["RUN a"]),
    ("RUN a \\\n  b", ["RUN a   b"]),
    ("RUN a\\\nb", ["RUN ab"]),
    ("RUN a \\  \t\n b", ["RUN a  b"]),
    ("RUN a\\\\\nRUN b", ["RUN a\\\\", "RUN b"]),
    ("RUN a\\\\\\\nRUN b", ["RUN a\\\\\\", "RUN b"]),
    ("RUN a \\", ["RUN a "]),
    ("\\\nRUN a", ["RUN a"]),
    ("RUN a \\\n# comment\n  # comment \\\n b", ["RUN a  b"]),
    ("RUN a \\\n\n \t\n b", ["RUN a  b"]),
    ("RUN a # b", ["RUN a # b"]),
    ("# a\nRUN b\n#c", ["RUN b"]),
    ("# escape=`\nRUN a `\n b\\", ["RUN a  b\\"]),
    ("#escape = ` \nRUN a `\n b", ["RUN a  b"]),
    ("# a\n# escape=`\nRUN a `\nRUN b", ["RUN a `", "RUN b"]),
    ("\n# escape=`\nRUN a `\nRUN b", ["RUN a `", "RUN b"]),
    ("# unknown=x\n# escape=`\nRUN a `\nRUN b", ["RUN a `", "RUN b"]),
    ("#!/bin/x\n# escape=`\nRUN a `\nRUN b", ["RUN a `", "RUN b"]),
    ("# syntax=x\n# escape=`\nRUN a `\n b", ["RUN a  b"]),
]


@pytest.mark.parametrize(("text", "expected"), LINES)
def test_lines_of(text: str, expected: list[str]) -> None:
    assert [line.text for line in lex(Source("Dockerfile", text)).lines] == expected


def test_a_line_knows_where_it_stood_and_what_was_said_above() -> None:
    first, second = lex(Source("Dockerfile", "# one\n# two\n\nRUN a \\\n b\n#\n# three\nRUN c")).lines
    assert (first.location, first.comments) == (Location(4, 5), ("one", "two"))
    assert (second.location, second.comments) == (Location(8, 8), ("three",))


def test_directives_are_values() -> None:
    found = lex(Source("Dockerfile", "# syntax=docker/dockerfile:1 x\n#CHECK = skip=all;error=true \nRUN a"))
    assert found.directives == (
        Directive("syntax", "docker/dockerfile:1 x", 1),
        Directive("check", "skip=all;error=true", 2),
    )


@pytest.mark.parametrize(
    ("text", "cause", "line"),
    [
        ("# escape=x\nRUN a", "invalid escape token 'x' does not match ` or \\", 1),
        ("# escape= \nRUN a", "invalid escape token ' ' does not match ` or \\", 1),
        ("# syntax=a\n# syntax=b\nRUN a", "only one syntax parser directive can be used", 2),
        ("FROM a\nRUN a <<A <<B\nA\nB ", "unterminated heredoc", 2),
        ("FROM a\nRUN \\\n \udcff", "instruction contains bytes that are not UTF-8", 2),
    ],
)
def test_lines_that_are_refused(text: str, cause: str, line: int) -> None:
    with pytest.raises(DockerfileError) as caught:
        lex(Source("Dockerfile", text))
    assert (caught.value.cause, caught.value.line) == (cause, line)


def test_an_empty_continuation_is_warned_of() -> None:
    (found,) = lex(Source("Dockerfile", "RUN a \\\n\n b\nRUN c")).warnings
    assert (found.rule, found.message) == ("NoEmptyContinuation", "Empty continuation line found in: RUN a  b")
    assert found.location == Location(3, 3)


DOCUMENTS = [
    ("RUN <<A\n1\nA\nRUN b", [HereDocument("A", "1\n")]),
    ("RUN <<A\nA", [HereDocument("A")]),
    ("RUN cat <<A <<B\n1\nA\n2\nB", [HereDocument("A", "1\n"), HereDocument("B", "2\n")]),
    ("RUN <<-A\n\t1\n\tA", [HereDocument("A", "\t1\n", chomp=True)]),
    ("RUN <<A\n\tA\nA", [HereDocument("A", "\tA\n")]),
    ("RUN << A\n1\nA", [HereDocument("A", "1\n")]),
    ("RUN 3<<A\n1\nA", [HereDocument("A", "1\n", descriptor=3)]),
    ("RUN <<'A'\n1\nA", [HereDocument("A", "1\n", expand=False)]),
    ('RUN <<"A b"\n1\nA b', [HereDocument("A b", "1\n", expand=False)]),
    ("RUN <<A'B'\n1\nAB", [HereDocument("AB", "1\n", expand=False)]),
    ("RUN <<A\n1\r\nA\r\n", [HereDocument("A", "1\r\n")]),
    ("RUN <<A\n# 1 \\\n\n 2\nA", [HereDocument("A", "# 1 \\\n\n 2\n")]),
    ("RUN <<A \\\n && b\n1\nA", [HereDocument("A", "1\n")]),
    ("ONBUILD RUN <<A\n1\nA", [HereDocument("A", "1\n")]),
    ("ADD <<A /\n\udcff\nA", [HereDocument("A", "\udcff\n")]),
    ("RUN a<<A", []),
    ("RUN <<<A", []),
    ("RUN '<<A'", []),
    ("RUN \\<<A", []),
    ("RUN echo 'a <<A", []),
    ('RUN ["<<A"]', []),
    ("CMD <<A", []),
    ("ONBUILD CMD <<A", []),
    ("LABEL a=<<A", []),
]


@pytest.mark.parametrize(("text", "expected"), DOCUMENTS, ids=[text[:20] for text, _ in DOCUMENTS])
def test_here_documents_of(text: str, expected: list[HereDocument]) -> None:
    assert list(lex(Source("Dockerfile", text)).lines[0].documents) == expected


@pytest.mark.parametrize("word", ["", "a", "<<", "<<-", "a<<b", "<<a<", "x<<'a'", "<< "])
def test_a_word_that_is_no_mark(word: str) -> None:
    assert here_document(word) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("RUN <<A\n1\nA", "1\n"),
        ("RUN << A\n1\nA", "1\n"),
        ("RUN <<-'A b'\n\t1\n\tA b", "1\n"),
        ("RUN 3<<A\n1\nA", "1\n"),
        ("RUN <<A <<B\n1\nA\n2\nB", None),
        ("RUN <<A cat\n1\nA", None),
        ("RUN cat <<A\n1\nA", None),
        ("RUN a", None),
        ('RUN ["<<A"]', None),
    ],
)
def test_a_here_document_that_is_all_there_is(text: str, expected: str | None) -> None:
    (run,) = parse(f"FROM a\n{text}").stages[0].instructions
    assert isinstance(run, Run)
    found = sole_document(run.command)
    assert (found.data if found else None) == expected
