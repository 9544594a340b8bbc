"""``$NAME`` in Dockerfile instructions: what stands for an image's variables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

_REFERENCE = re.compile(r"\$(?:(\w+)|\{(\w+)(?::([-+])([^}]*))?\})", re.ASCII)


def expand(text: str, variables: Mapping[str, str], *, words: bool) -> str:
    """``text`` with its references replaced, but for those in single quotes or behind a backslash.

    ``words``: it is to be taken apart into words afterwards, so that a value's blanks and quotes are protected.
    """
    return "".join(_pieces(text, variables, words))


def _pieces(text: str, variables: Mapping[str, str], words: bool) -> Iterator[str]:
    place, quote = 0, ""
    while place < len(text):
        letter = text[place]
        if letter == "\\" and quote != "'" and place + 1 < len(text):
            follows = text[place + 1]
            yield follows if follows == "$" and not words else text[place : place + 2]
            place += 2
            continue
        if letter == "$" and quote != "'" and (matched := _REFERENCE.match(text, place)):
            value = _value(matched, variables)
            yield _protected(value, quote) if words else value
            place = matched.end()
            continue
        if letter in "'\"" and quote in ("", letter):
            quote = "" if quote else letter
        yield letter
        place += 1


def _value(matched: re.Match[str], variables: Mapping[str, str]) -> str:
    value = variables.get(matched[1] or matched[2], "")
    if matched[3] == "-":
        return value or matched[4]
    if matched[3] == "+":
        return matched[4] if value else ""
    return value


def _protected(value: str, quote: str) -> str:
    return re.sub(r'(["\\])' if quote else r"""([\s"'\\])""", r"\\\1", value)
