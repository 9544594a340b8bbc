"""The patterns of ``${name#pattern}``, ``%`` and ``/``: ``*`` and ``?``, neither of which matches a newline.

As BuildKit has it: no brackets, a backslash before ``*``, ``?`` and itself. Patterns and texts are a stranger's, so the
matching never backtracks: a set of states goes once over the text.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

from corten.errors import InvalidInput

_STAR, _ANY = "*", "?"
_LONGEST_PATTERN = 4096  # characters: what a step costs grows with the pattern
_LARGEST = 4 << 20  # characters of a result
_GROUP = re.compile(r"\$(?:\$|\{(\w+)\}|(\w+))")


@dataclasses.dataclass(frozen=True, slots=True)
class _Token:
    kind: str  # _STAR, _ANY or '' for a literal
    char: str = ""


class _States:
    """Which tokens of a pattern may come next, as bits of a number: one step a character, whatever the pattern."""

    def __init__(self, tokens: Sequence[_Token]) -> None:
        self.stars = self.any = 0
        self.literal: dict[str, int] = {}
        for place, token in enumerate(tokens):
            if token.kind == _STAR:
                self.stars |= 1 << place
            elif token.kind == _ANY:
                self.any |= 1 << place
            else:
                self.literal[token.char] = self.literal.get(token.char, 0) | 1 << place
        self.start = self._closed(1)
        self.accepting = 1 << len(tokens)

    def _closed(self, states: int) -> int:
        return states | (states & self.stars) << 1

    def step(self, states: int, char: str) -> int:
        """The states after one more character."""
        wild = char != "\n"
        consumed = states & (self.literal.get(char, 0) | (self.any if wild else 0))
        return self._closed(consumed << 1 | (states & self.stars if wild else 0))


def trim_prefix(pattern: str, value: str, *, longest: bool) -> str:
    """The value without the shortest or longest beginning that the pattern matches. Raises InvalidInput."""
    end = _end(_States(_tokens(pattern)), value, 0, longest)
    return value if end is None else value[end:]


def trim_suffix(pattern: str, value: str, *, longest: bool) -> str:
    """The value without the shortest or longest end that the pattern matches. Raises InvalidInput."""
    turned = value[::-1]
    end = _end(_States(_tokens(pattern)[::-1]), turned, 0, longest)
    return value if end is None else turned[end:][::-1]


def replace_first(pattern: str, value: str, replacement: str) -> str:
    """The value with its first longest match replaced. Raises InvalidInput."""
    tokens = _tokens(pattern)
    begin = _beginnings(tokens, value).find(1)
    if begin < 0:
        return value
    end = _end(_States(tokens), value, begin, longest=True)
    return value[:begin] + replacement + value[end or 0 :]


def replace_all(pattern: str, value: str, replacement: str) -> str:
    """The value with every match replaced. Raises InvalidInput.

    ``$0`` in the replacement is what was matched: BuildKit hands it to Go's ``Regexp.ReplaceAllString``.
    """
    tokens = _tokens(pattern)
    begins, states = _beginnings(tokens, value), _States(tokens)
    out: list[str] = []
    search = last = size = 0
    while (begin := begins.find(1, search)) >= 0:
        end = _end(states, value, begin, longest=True) or 0
        out.append(value[last:begin])
        if end > last or begin == 0:  # an empty match right behind another does not count
            out.append(_filled(replacement, value[begin:end]))
            size += len(out[-1])
            if size > _LARGEST:
                raise InvalidInput(f"the result of a substitution is longer than {_LARGEST} characters")
        last = end
        search = max(end, search + 1)
    return "".join(out) + value[last:]


def _tokens(pattern: str) -> list[_Token]:
    if len(pattern) > _LONGEST_PATTERN:
        raise InvalidInput(f"a pattern in a substitution is longer than {_LONGEST_PATTERN} characters")
    found: list[_Token] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "\\" and pattern[at : at + 1] not in ("}", "/"):
            following = pattern[at : at + 1]
            if following not in ("*", "?", "\\"):
                raise InvalidInput(f"invalid pattern ({pattern}) in substitution: invalid escape '\\{following}'")
            found.append(_Token("", pattern[at]))
            at += 1
        elif char == "*":
            if not found or found[-1].kind != _STAR:
                found.append(_Token(_STAR))
        elif char == "?":
            found.append(_Token(_ANY))
        elif char != "\\":
            found.append(_Token("", char))
    return found


def _end(states: _States, value: str, begin: int, longest: bool) -> int | None:
    """Where a match that begins there ends, None without one."""
    now, found = states.start, None
    for place in range(begin, len(value) + 1):
        if now & states.accepting:
            found = place
            if not longest:
                break
        if not now or place == len(value):
            break
        now = states.step(now, value[place])
    return found


def _beginnings(tokens: Sequence[_Token], value: str) -> bytearray:
    """For each place of the value, its end too, whether a match begins there: the pattern run backwards."""
    states = _States(tokens[::-1])
    found = bytearray(len(value) + 1)
    now = states.start
    for place in range(len(value), -1, -1):
        found[place] = bool(now & states.accepting)
        if place:
            now = states.step(now, value[place - 1]) | states.start
    return found


def _filled(template: str, matched: str) -> str:
    def group(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        return matched if (found[1] or found[2]) == "0" else ""

    return _GROUP.sub(group, template)
