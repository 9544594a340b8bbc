"""A Dockerfile's lines: continuations joined, comments taken out, here-documents and parser directives read.

As BuildKit's ``frontend/dockerfile/parser`` has it, but for its limit of 65,535 bytes a line, which this has not.
"""

from __future__ import annotations

import dataclasses
import re

from corten.build import words
from corten.build.expansion import SPACES, Rules, expand
from corten.build.failure import Source
from corten.build.instructions import CommandLine, Directive, Finding, HereDocument, Location
from corten.errors import InvalidInput

_SPACES = "".join(SPACES)
_BLANKS = "\t\n\f\r "
_DIRECTIVE = re.compile(r"([a-zA-Z][a-zA-Z0-9]*+)[\t\n\f\r ]*+=(.+)", re.DOTALL)
_DIRECTIVES = ("syntax", "escape", "check")
_MARK = re.compile(r"([0-9]*+)<<(-?)[\t\n\f\r ]*+([^<]*+)")
_TAKES_DOCUMENTS = ("add", "copy", "run")
_EMPTY_CONTINUATION = "https://docs.docker.com/go/dockerfile/rule/no-empty-continuation/"
_NOT_UTF8 = re.compile("[\udc80-\udcff]")


@dataclasses.dataclass(frozen=True, slots=True)
class Line:
    """One instruction: its text on one line, where it stood, the comments above it, its here-documents."""

    text: str
    location: Location
    comments: tuple[str, ...] = ()
    documents: tuple[HereDocument, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Lines:
    """What a file holds before anything is understood."""

    lines: tuple[Line, ...]
    directives: tuple[Directive, ...]
    warnings: tuple[Finding, ...]
    escape: str


def lex(source: Source) -> Lines:
    """Read the lines of a Dockerfile, or of one instruction. Raises DockerfileError."""
    return _Reader(source).read()


def here_document(word: str) -> HereDocument | None:
    """The mark of a here-document that a word is, None if it is none. Raises InvalidInput for an open quote."""
    found = _MARK.fullmatch(word)
    if not found or not found[3]:
        return None
    plain = expand(found[3], {}, Rules(keep_unset=True)).words
    if len(plain) != 1:
        return None
    kept = expand(found[3], {}, Rules(keep_unset=True, raw_quotes=True)).words
    # A name of which some part is quoted has a content in which nothing is expanded.
    quotes = [sum(name.count(quote) for quote in "'\"") for name in (plain[0], kept[0])]
    descriptor = int(found[1]) if found[1] and len(found[1]) < 10 else 0
    return HereDocument(plain[0], "", quotes[0] == quotes[1], bool(found[2]), descriptor)


def sole_document(command: CommandLine) -> HereDocument | None:
    """The here-document that is all there is of a RUN: the shell gets its content, and whoever its first line names
    after ``#!`` gets it as a file. None where the mark is part of a command, which the shell is to read with it."""
    if not command.in_shell or not command.files:
        return None
    try:
        return command.files[0] if here_document(command.words[0]) else None
    except InvalidInput:
        return None


def directive(text: str, name: str) -> Directive | None:
    """The parser directive of that name, which a first line ``#!`` may precede."""
    for number, row in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        if number == 1 and row.startswith("#!"):
            continue
        found = _directive(row.rstrip("\r"))
        if not found or found[0] == name:
            return Directive(name, found[1], number) if found else None
    return None


def _directive(row: str) -> tuple[str, str] | None:
    """Name and value of the directive that a row is."""
    found = _DIRECTIVE.fullmatch(row[1:].lstrip(_SPACES)) if row.startswith("#") else None
    if not found or found[1].lower() not in _DIRECTIVES:
        return None
    return found[1].lower(), found[2].strip(_BLANKS) or found[2][-1]


class _Reader:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.rows = [row + "\n" for row in source.text.removeprefix("\ufeff").split("\n")]
        self.rows[-1] = self.rows[-1][:-1]
        if not self.rows[-1]:
            self.rows.pop()
        self.at = 0
        self.escape = "\\"
        self.directives: list[Directive] = []
        self.may_be_directive = True
        self.comments: list[str] = []
        self.warnings: list[Finding] = []

    def read(self) -> Lines:
        if not self.source.text:
            raise self.source.error("the Dockerfile cannot be empty", None)
        lines = []
        while self.at < len(self.rows):
            if line := self.line():
                lines.append(line)
        if not lines:
            raise self.source.error("file with no instructions", None, expected="a FROM")
        return Lines(tuple(lines), tuple(self.directives), tuple(self.warnings), self.escape)

    def line(self) -> Line | None:
        """The instruction that begins in the next row, None if that is empty or a comment."""
        row = self.rows[self.at]
        self.at += 1
        if self.comment(row):
            return None
        self.may_be_directive = False
        text, more = self.continued(row.rstrip("\r\n").lstrip(_SPACES))
        if not more and not text:
            return None
        first = self.at
        text = self.joined(text, more)
        where = Location(first, self.at)
        self.check_text(text, where)
        documents = self.documents(text, first)
        comments, self.comments = tuple(self.comments), []
        return Line(text, Location(first, self.at), comments, documents)

    def comment(self, row: str) -> bool:
        """Whether the row is a comment, which is kept for what follows, or a directive."""
        stripped = row.lstrip(_SPACES)
        if not stripped.startswith("#"):
            return False
        text = words.trim(row[1:])
        if self.may_be_directive and self.directive(stripped.rstrip("\r\n")):
            return True
        self.may_be_directive = False
        if text:
            self.comments.append(text)
        else:
            self.comments = []
        return True

    def directive(self, row: str) -> bool:
        found = _directive(row)
        if not found:
            return False
        name, value = found
        here = Location(self.at, self.at)
        if any(one.name == name for one in self.directives):
            raise self.source.error(f"only one {name} parser directive can be used", here)
        if name == "escape":
            if value not in ("\\", "`"):
                cause = f"invalid escape token '{value}' does not match ` or \\"
                raise self.source.error(cause, here, expected="a backslash or a backtick")
            self.escape = value
        self.directives.append(Directive(name, value, self.at))
        return True

    def continued(self, row: str) -> tuple[str, bool]:
        """The row without the escape at its end, and whether there was one: it must not be escaped itself."""
        bare = row.rstrip("\t ")
        if bare.endswith(self.escape) and not bare.endswith(self.escape * 2):
            return bare[:-1], True
        return row, False

    def joined(self, text: str, more: bool) -> str:
        """The text with the rows that continue it; comments between them do not count, empty ones are warned of."""
        parts, empty = [text], False
        while more and self.at < len(self.rows):
            row = self.rows[self.at].rstrip("\r\n")
            self.at += 1
            stripped = row.lstrip(_SPACES)
            if stripped.startswith("#"):
                continue
            if not stripped:
                empty = True
                continue
            text, more = self.continued(row)
            parts.append(text)
        if empty:
            here = Location(self.at, self.at)
            message = "Empty continuation line found in: " + "".join(parts)
            self.warnings.append(Finding("NoEmptyContinuation", message, here, _EMPTY_CONTINUATION))
        return "".join(parts)

    def check_text(self, text: str, where: Location) -> None:
        """An instruction becomes arguments, names and JSON: bytes that are no text have no place in it."""
        if _NOT_UTF8.search(text) or "\0" in text:
            what = "a NUL character" if "\0" in text else "bytes that are not UTF-8"
            raise self.source.error(f"instruction contains {what}", where, expected="text in UTF-8")

    def documents(self, text: str, first: int) -> tuple[HereDocument, ...]:
        """The here-documents that follow an instruction which can have some."""
        if "<<" not in text or not self.takes_documents(text):
            return ()
        try:
            split = expand(text, {}, Rules(raw_quotes=True, raw_escapes=True, keep_unset=True)).words
        except InvalidInput:  # an open quote: the shell is to complain, if it is its text
            return ()
        try:
            marks = [found for word in split if (found := here_document(word))]
        except InvalidInput as error:
            raise self.source.error(error.message, Location(first, self.at), text.split(None, 1)[0].upper()) from None
        return tuple(dataclasses.replace(mark, content=self.content(mark, first)) for mark in marks)

    def takes_documents(self, text: str) -> bool:
        keyword, _, rest = words.split_command(text, self.escape)
        if keyword.lower() == "onbuild":
            keyword, _, rest = words.split_command(rest, self.escape)
        if keyword.lower() not in _TAKES_DOCUMENTS:
            return False
        try:
            return words.json_words(rest) is None
        except InvalidInput:  # the parser says it, with its place
            return False

    def content(self, mark: HereDocument, first: int) -> str:
        """The rows up to the one that is the name."""
        begin = self.at
        while self.at < len(self.rows):
            row = self.rows[self.at].rstrip("\r\n")
            self.at += 1
            if (row.lstrip("\t") if mark.chomp else row) == mark.name:
                return "".join(self.rows[begin : self.at - 1])
        raise self.source.error("unterminated heredoc", Location(first, begin), expected=f"a line that is {mark.name}")
