""".dockerignore, and the patterns of ``--exclude`` and ``--parents``: moby's ``patternmatcher`` and its ``ignorefile``.

A pattern that begins with ``!`` takes back what one before it excluded; a pattern that matches a directory matches all
below it; ``**`` matches any number of directories. The last pattern that matches decides.

A pattern is what Go's ``filepath.Match`` calls one, and a malformed one is refused. Moby makes a regular expression of
it, in which ``[*]``, ``[?]`` and a backslash before a letter mean something else: here they are those characters.
"""

from __future__ import annotations

import dataclasses
import posixpath
from collections.abc import Iterable

from corten.build import patterns, words
from corten.build.automaton import DEEP, Automaton, Token, anything_but, literal
from corten.build.patience import Check, always
from corten.errors import InvalidInput

_REST = anything_but("\n", run=True)


class Rule:
    """One pattern: what it says, without its ``!``, and whether it takes back. Raises InvalidInput."""

    __slots__ = ("_automaton", "_ends", "_equals", "_starts", "takes_back", "text")

    def __init__(self, text: str) -> None:
        cleaned = patterns.clean(text)
        self.takes_back = cleaned.startswith("!")
        self.text = cleaned.removeprefix("!")
        if not self.text:
            raise InvalidInput('illegal exclusion pattern: "!"')
        patterns.tokens(self.text)
        self._ends: str | None = None
        self._starts: str | None = None
        self._equals: str | None = None
        self._automaton: Automaton | None = None
        self._compile()

    def _compile(self) -> None:
        inner, leads, trails = self.text, self.text.startswith("**"), False
        if leads:
            inner = inner[2:]
        elif inner.endswith("**"):
            inner, trails = inner[:-2], True
        plain = not patterns.has_wildcards(inner) and "\\" not in inner and "]" not in inner
        if plain and leads:
            self._ends = inner
        elif plain and trails:
            self._starts = inner
        elif plain:
            self._equals = inner
        else:
            self._automaton = Automaton(_tokens(self.text))

    def matches(self, path: str) -> bool:
        """Whether the pattern matches the whole of a path."""
        if self._equals is not None:
            return path == self._equals
        if self._starts is not None:
            return path.startswith(self._starts)
        if self._ends is not None:
            return path.endswith(self._ends) or (self._ends.startswith("/") and path == self._ends[1:])
        return self._automaton is not None and self._automaton.matches(path)


@dataclasses.dataclass(frozen=True, slots=True)
class Ignore:
    """Rules in their order. Paths are relative, with slashes, and cleaned."""

    rules: tuple[Rule, ...] = ()

    @property
    def takes_back(self) -> bool:
        """Whether a rule begins with ``!``: an excluded directory may then hold what is not excluded."""
        return any(rule.takes_back for rule in self.rules)

    def matches(self, path: str, check: Check = always) -> bool:
        """Whether the rules match a path, or one of its parents, and no later one takes it back."""
        parents = _parents(path)
        matched = False
        for rule in self.rules:
            check()
            if rule.takes_back == matched and any(rule.matches(one) for one in (path, *parents)):
                matched = not rule.takes_back
        return matched

    def below(self, path: str, above: int = 0, check: Check = always) -> tuple[bool, int]:
        """The same for a path whose directory's result is known, with this one's result for what is in it: what a
        walk from the root asks, as Docker does to make a context. A result has a bit for each rule; the root's is 0.

        As in moby, a rule that did not count for a directory is held against what is in it anew, but not against the
        directory again: of ``a``, ``!a/b``, ``a`` the last does not exclude ``a/b``, as it does for :meth:`matches`.
        """
        matched, found = False, 0
        for place, rule in enumerate(self.rules):
            hit = bool(above >> place & 1) if above else False
            if not hit and rule.takes_back == matched:
                check()
                hit = rule.matches(path)
            if hit:
                found |= 1 << place
                matched = not rule.takes_back
        return matched, found

    def may_hold(self, directory: str) -> bool:
        """Whether something in an excluded directory may be taken back, so that one has to look."""
        return any(rule.takes_back and _may_reach(rule.text, directory) for rule in self.rules)

    def keeping(self, *names: str) -> Ignore:
        """Rules that exclude all but these names: what the builder itself reads."""
        return Ignore((*self.rules, *(Rule(f"!{name}") for name in names if self.matches(name))))


def of_patterns(texts: Iterable[str]) -> Ignore:
    """Rules of patterns as they stand in an option. Raises InvalidInput."""
    return Ignore(tuple(Rule(text) for one in texts if (text := words.trim(one))))


def parse(data: bytes | str) -> Ignore:
    """Read a .dockerignore. Raises InvalidInput for a malformed pattern, naming its line."""
    text = data.decode("utf-8", "surrogateescape") if isinstance(data, bytes) else data
    rules = []
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        pattern = words.trim(line)
        if line.startswith("#") or not pattern:
            continue
        try:
            rules.append(Rule(_normalized(pattern)))
        except InvalidInput as error:
            raise InvalidInput(f"line {number} of .dockerignore: {error.message}") from None
    return Ignore(tuple(rules))


def candidates(dockerfile: str) -> tuple[str, str]:
    """The names to look for, the first that exists counts: beside the Dockerfile, and in the context's root."""
    return f"{dockerfile}.dockerignore", ".dockerignore"


def _normalized(pattern: str) -> str:
    takes_back = pattern.startswith("!")
    if takes_back:
        pattern = words.trim(pattern[1:])
    if pattern:
        pattern = patterns.clean(pattern)
        pattern = pattern[1:] if len(pattern) > 1 and pattern.startswith("/") else pattern
    return words.trim("!" * takes_back + pattern)  # once more: "/ a" is " a" by now


def _tokens(text: str) -> list[Token]:
    found: list[Token] = []
    at = 0
    while at < len(text):
        if text.startswith("**", at):
            at += 2
            at += text.startswith("/", at)
            token = _REST if at == len(text) else DEEP
            if found[-1:] != [token]:
                found.append(token)
            continue
        if text[at] == "[":
            token, at = patterns.bracket(text, at)
        elif text[at] in "*?":
            token, at = patterns.STAR if text[at] == "*" else patterns.ANY, at + 1
        else:
            at += text[at] == "\\"
            token, at = literal(text[at]), at + 1
        found.append(token)
    return found


def _parents(path: str) -> list[str]:
    found = []
    while path := posixpath.dirname(path):
        found.append(path)
    return found


def _may_reach(pattern: str, directory: str) -> bool:
    """Whether a pattern may match below a directory: exact for one without wildcards."""
    before, _ = patterns.split(pattern)
    if before == pattern:
        return f"{pattern}/".startswith(f"{directory}/")
    prefix = f"{before}/" if before else ""
    return prefix.startswith(f"{directory}/") or f"{directory}/".startswith(prefix)
