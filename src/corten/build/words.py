"""How the rest of a line becomes words: the line parsers of BuildKit's ``frontend/dockerfile/parser``."""

from __future__ import annotations

import json
import math
import re

from corten.build.expansion import SPACES, quoted
from corten.build.instructions import Pair
from corten.errors import InvalidInput

_SPACES = "".join(SPACES)
_ASCII_SPACES = "\t\n\v\f\r "  # BuildKit looks at bytes here, and takes parts of some letters for a space
_BLANKS = re.compile(r"[\t\v\f\r ]+")
_SURROGATES = re.compile("[\ud800-\udfff]")


def trim(text: str) -> str:
    """The text without spaces around it, in Go's sense of the word."""
    return text.strip(_SPACES)


def split_command(line: str, escape: str) -> tuple[str, tuple[str, ...], str]:
    """The keyword, the flags and the rest of an instruction's line."""
    keyword, *more = _BLANKS.split(trim(line), maxsplit=1)
    flags, rest = _flags(more[0], escape) if more else ((), "")
    return keyword, flags, trim(rest)


def by_blanks(rest: str) -> tuple[str, ...]:
    """Words between blanks; quotes mean nothing."""
    return tuple(_BLANKS.split(rest)) if rest else ()


def json_words(rest: str) -> tuple[str, ...] | None:
    """The strings of a JSON array, None if the text is none. Raises InvalidInput if it holds anything but strings.

    What only looks like JSON is not: ``['a']`` is a command of the shell.
    """
    text = rest.lstrip(_SPACES)
    if not text.startswith("["):
        return None
    try:
        found = json.loads(text, parse_constant=_refused, parse_int=_number, parse_float=_number)
    except (ValueError, RecursionError):
        return None
    if not all(isinstance(word, str) for word in found):
        raise InvalidInput("when using JSON array syntax, arrays must be comprised of strings only")
    return tuple(_SURROGATES.sub("\ufffd", word) for word in found)


def _refused(constant: str) -> object:
    raise ValueError(f"{constant} is not JSON")


def _number(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError("too large for Go's decoder")
    return number


def pairs(rest: str, keyword: str, escape: str) -> tuple[Pair, ...]:
    """``name=value …`` of ENV and LABEL, or the old ``name value``: the first word decides. Raises InvalidInput."""
    found = quoted_words(rest, escape)
    if not found:
        raise InvalidInput(f"{keyword} requires at least one argument")
    if "=" not in found[0]:
        name, *value = _BLANKS.split(rest, maxsplit=1)
        if not value:
            raise InvalidInput(f"{keyword} must have two arguments")
        return (Pair(name, value[0], legacy=True),)
    for word in found:
        if "=" not in word:
            raise InvalidInput(f"Syntax error - can't find = in {quoted(word)}. Must be of the form: name=value")
    return tuple(Pair(name, value) for name, _, value in (word.partition("=") for word in found))


def quoted_words(rest: str, escape: str) -> tuple[str, ...]:
    """Words between spaces that no quote or escape holds together; quotes and escapes stay in them."""
    words: list[str] = []
    now: list[str] = []
    quote = ""
    chars = iter(rest)
    for char in chars:
        if not quote and char in SPACES:
            if now:
                words.append("".join(now))
                now = []
            continue
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        if char == escape and quote != "'":
            following = next(chars, None)
            if following is None:
                break
            now += (char, following)
        else:
            now.append(char)
    return (*words, "".join(now)) if now else tuple(words)


def _flags(rest: str, escape: str) -> tuple[tuple[str, ...], str]:
    """The words that begin with ``--``, without their quotes and escapes, and what follows the last one."""
    flags: list[str] = []
    at = 0
    while True:
        while at < len(rest) and rest[at] in _ASCII_SPACES:
            at += 1
        if not rest.startswith("--", at):
            return tuple(flags), rest[at:]
        word, at = _flag(rest, at, escape)
        if word == "--":
            return tuple(flags), rest[at:]
        flags.append(word)


def _flag(rest: str, at: int, escape: str) -> tuple[str, int]:
    """One word that begins there, and where it ends."""
    out: list[str] = []
    quote = ""
    while at < len(rest):
        char = rest[at]
        if not quote and char in _ASCII_SPACES:
            break
        at += 1
        if quote and char == quote:
            quote = ""
        elif not quote and char in "'\"":
            quote = char
        elif char == escape:
            out.append(rest[at : at + 1])
            at += 1
        else:
            out.append(char)
    return "".join(out), at
