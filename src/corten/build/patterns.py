"""The wildcards of a path as Go's ``filepath.Match`` has them: ``*``, ``?``, ``[a-z]``, ``[^a-z]`` and a backslash.

None matches a slash, so ``**`` is no more than ``*`` here: sources of COPY and ADD are such patterns. Those that may go
deeper are :mod:`corten.build.ignore`'s.
"""

from __future__ import annotations

import posixpath

from corten.build.automaton import Automaton, Token, anything_but, literal
from corten.build.expansion import printable
from corten.errors import InvalidInput

STAR, ANY = anything_but("/", run=True), anything_but("/")


class Pattern:
    """A compiled pattern. Raises InvalidInput for one that is malformed."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._automaton = Automaton(tokens(text))

    def matches(self, path: str) -> bool:
        """Whether the pattern matches the whole of a path."""
        return self._automaton.matches(path)


def clean(path: str) -> str:
    """Go's ``path.Clean``: no ``.``, ``..`` or empty components where they can be taken out; ``.`` for nothing."""
    cleaned = posixpath.normpath(path)
    return cleaned[1:] if cleaned.startswith("//") else cleaned


def has_wildcards(text: str) -> bool:
    """Whether something in it is more than itself."""
    at = 0
    while at < len(text):
        if text[at] in "*?[":
            return True
        at += 2 if text[at] == "\\" else 1
    return False


def split(source: str) -> tuple[str, str]:
    """A cleaned source's components before the first with a wildcard, and the rest, which is '' without one."""
    parts = source.split("/")
    for place, part in enumerate(parts):
        if has_wildcards(part):
            return "/".join(parts[:place]) or ("/" if place else ""), "/".join(parts[place:])
    return source, ""


def tokens(text: str) -> list[Token]:
    """The pieces of a pattern. Raises InvalidInput for a bracket that is not closed, an empty range, a backslash
    at the end."""
    found: list[Token] = []
    at = 0
    while at < len(text):
        char = text[at]
        if char == "*":
            if found[-1:] != [STAR]:
                found.append(STAR)
        elif char == "?":
            found.append(ANY)
        elif char == "[":
            token, at = bracket(text, at)
            found.append(token)
            continue
        else:
            if char == "\\":
                at += 1
            if at == len(text):
                raise malformed(text)
            found.append(literal(text[at]))
        at += 1
    return found


def bracket(text: str, at: int) -> tuple[Token, int]:
    """The class that begins there, and the place behind it. Raises InvalidInput."""
    at += 1
    negated = text.startswith("^", at)
    at += negated
    ranges: list[tuple[str, str]] = []
    while not (text.startswith("]", at) and ranges):
        low, at = _end_of_range(text, at)
        high = low
        if text.startswith("-", at):
            high, at = _end_of_range(text, at + 1)
        ranges.append((low, high))
    return Token("one", tuple(ranges), negated), at + 1


def _end_of_range(text: str, at: int) -> tuple[str, int]:
    if text.startswith("\\", at):
        at += 1
    elif text[at : at + 1] in ("-", "]"):
        raise malformed(text)
    if at + 1 >= len(text):  # nothing is left that could close it
        raise malformed(text)
    return text[at], at + 1


def malformed(text: str) -> InvalidInput:
    """The error for a pattern that is none."""
    return InvalidInput(f"{printable(text)}: syntax error in pattern")
