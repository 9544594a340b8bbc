"""The patterns of ``${name#pattern}``, ``%`` and ``/``: ``*`` and ``?``, neither of which matches a newline.

As BuildKit has it: no brackets, a backslash before ``*``, ``?`` and itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from corten.build.automaton import LONGEST, Automaton, Token, anything_but, literal
from corten.errors import InvalidInput

_STAR, _ANY = anything_but("\n", run=True), anything_but("\n")
_LARGEST = 1 << 20  # characters of a result
_GROUP = re.compile(r"\$(?:\$|\{(\w+)\}|(\w+))")
_ESCAPED = re.compile(r"\\.|.", re.DOTALL)


def trim_prefix(pattern: str, value: str, *, longest: bool) -> str:
    """The value without the shortest or longest beginning that the pattern matches. Raises InvalidInput."""
    tokens = _tokens(pattern)
    plain = _plain(tokens)
    if plain is not None:
        return value.removeprefix(plain)
    end = _end(Automaton(tokens), value, 0, longest)
    return value if end is None else value[end:]


def trim_suffix(pattern: str, value: str, *, longest: bool) -> str:
    """The value without the shortest or longest end that the pattern matches. Raises InvalidInput."""
    turned = "".join(reversed(_ESCAPED.findall(pattern[: LONGEST + 1])))
    return trim_prefix(turned, value[::-1], longest=longest)[::-1]


def replace_first(pattern: str, value: str, replacement: str) -> str:
    """The value with its first longest match replaced. Raises InvalidInput."""
    tokens = _tokens(pattern)
    plain = _plain(tokens)
    if plain is not None:
        return value.replace(plain, replacement, 1)
    begin = _beginnings(tokens, value).find(1)
    if begin < 0:
        return value
    end = _end(Automaton(tokens), value, begin, longest=True)
    return value[:begin] + replacement + value[end or 0 :]


def replace_all(pattern: str, value: str, replacement: str) -> str:
    """The value with every match replaced. Raises InvalidInput.

    ``$0`` in the replacement is what was matched: BuildKit hands it to Go's ``Regexp.ReplaceAllString``.
    """
    tokens = _tokens(pattern)
    plain = _plain(tokens)
    if plain is not None:
        filled = _filled(replacement, plain)
        _check(value.count(plain) * len(filled))
        return value.replace(plain, filled)
    begins, states = _beginnings(tokens, value), Automaton(tokens)
    out: list[str] = []
    search = last = size = 0
    while (begin := begins.find(1, search)) >= 0:
        end = _end(states, value, begin, longest=True) or 0
        out.append(value[last:begin])
        if end > last or begin == 0:  # an empty match right behind another does not count
            out.append(_filled(replacement, value[begin:end]))
            size += len(out[-1])
            _check(size)
        last = end
        search = max(end, search + 1)
    return "".join(out) + value[last:]


def _check(size: int) -> None:
    if size > _LARGEST:
        raise InvalidInput(f"the result of a substitution is longer than {_LARGEST} characters")


def _plain(tokens: Sequence[Token]) -> str | None:
    """The text that a pattern without wildcards is."""
    if all(token.kind == "one" and not token.negated for token in tokens):
        return "".join(token.ranges[0][0] for token in tokens)
    return None


def _tokens(pattern: str) -> list[Token]:
    if len(pattern) > LONGEST:
        raise InvalidInput(f"a pattern is longer than {LONGEST} characters")
    found: list[Token] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "\\" and pattern[at : at + 1] not in ("}", "/"):
            following = pattern[at : at + 1]
            if following not in ("*", "?", "\\"):
                raise InvalidInput(f"invalid pattern ({pattern}) in substitution: invalid escape '\\{following}'")
            found.append(literal(following))
            at += 1
        elif char == "*":
            if found[-1:] != [_STAR]:
                found.append(_STAR)
        elif char == "?":
            found.append(_ANY)
        elif char != "\\":
            found.append(literal(char))
    return found


def _end(states: Automaton, value: str, begin: int, longest: bool) -> int | None:
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


def _beginnings(tokens: Sequence[Token], value: str) -> bytearray:
    """For each place of the value, its end too, whether a match begins there: the pattern run backwards."""
    states = Automaton(tokens[::-1])
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
