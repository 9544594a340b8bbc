"""Patterns of wildcards, matched without ever going back: a set of states goes once over the text.

Patterns and the names they are held against are a stranger's; a backtracking regular expression of many ``*`` would
take a time that grows with a power of the name's length.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Literal

from corten.errors import InvalidInput

LONGEST = 4096
"""Characters of a pattern at most: what a step costs grows with it. A path has no more, either."""


@dataclasses.dataclass(frozen=True, slots=True)
class Token:
    """One piece of a pattern: a character that is in the ranges (or in none of them, ``negated``), exactly once or,
    as a ``run``, any number of times; or ``deep``: nothing, or anything that ends with a slash."""

    kind: Literal["one", "run", "deep"]
    ranges: tuple[tuple[str, str], ...] = ()
    negated: bool = False

    def holds(self, char: str) -> bool:
        """Whether the character is one of those."""
        return any(low <= char <= high for low, high in self.ranges) != self.negated


def literal(char: str) -> Token:
    """This character."""
    return Token("one", ((char, char),))


def anything_but(char: str, *, run: bool = False) -> Token:
    """Any character but one, or a run of such."""
    return Token("run" if run else "one", ((char, char),), negated=True)


DEEP = Token("deep", (("\n", "\n"),), negated=True)


class Automaton:
    """A compiled pattern. Raises InvalidInput for one of more than LONGEST tokens."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        if len(tokens) > LONGEST:
            raise InvalidInput(f"a pattern is longer than {LONGEST} characters")
        self._kinds: dict[Token, tuple[int, int]] = {}
        self._runs = self._deep = 0
        place = 0
        for token in tokens:
            ones, stays = self._kinds.get(token, (0, 0))
            if token.kind == "one":
                ones |= 1 << place
            elif token.kind == "run":
                stays |= 1 << place
                self._runs |= 1 << place
            else:  # two states: before it, from where it may be left out, and inside, which a slash alone ends
                self._deep |= 1 << place
                place += 1
                stays |= 1 << place
                ends = literal("/")
                self._kinds[ends] = (self._kinds.get(ends, (0, 0))[0] | 1 << place, 0)
            self._kinds[token] = (ones, stays)
            place += 1
        self._moves: dict[str, tuple[int, int]] = {}
        self.start = self._closed(1)
        self.accepting = 1 << place

    def matches(self, text: str) -> bool:
        """Whether the whole text matches."""
        states = self.start
        for char in text:
            states = self.step(states, char)
            if not states:
                return False
        return bool(states & self.accepting)

    def step(self, states: int, char: str) -> int:
        """The states after one more character; 0 when nothing can match any more."""
        if char not in self._moves:
            held = [masks for token, masks in self._kinds.items() if token.holds(char)]
            self._moves[char] = (_union(ones for ones, _ in held), _union(stays for _, stays in held))
        ones, stays = self._moves[char]
        return self._closed((states & ones) << 1 | states & stays)

    def _closed(self, states: int) -> int:
        """With those that a run or a deep of no characters leads to."""
        while True:
            deep = states & self._deep
            more = states | (states & self._runs) << 1 | deep << 1 | deep << 2
            if more == states:
                return states
            states = more


def _union(masks: Iterable[int]) -> int:
    result = 0
    for mask in masks:
        result |= mask
    return result
