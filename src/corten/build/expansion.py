"""Variables and quotes in the words of a Dockerfile, as BuildKit's shell lexer has them.

``$name``, ``${name}`` and the modifiers ``:-`` ``-`` ``:+`` ``+`` ``:?`` ``?`` ``#`` ``##`` ``%`` ``%%`` ``/`` ``//``;
single quotes keep everything, double quotes all but variables, the escape character what follows it. A name may be one
of the shell's special parameters, which are never set: ``$$`` is empty. Time is linear in the text and what it becomes.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

from corten.build import wildcards
from corten.errors import InvalidInput

# What Go's unicode.IsSpace calls a space; str.isspace() also counts U+001C to U+001F.
SPACES = frozenset("\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000") | {chr(c) for c in range(0x2000, 0x200B)}
_SPACE = re.compile(f"[{''.join(SPACES)}]+")
_SPECIAL = frozenset("@*#?-$!0")
_MISSING = {"}": "'}'", "/": "'/' in ${}"}
_LACKING = {None: "is not allowed to be unset", "": "is not allowed to be empty"}
_DEEPEST = 100  # of ${a:-${b:-…}}: nobody writes that, and the interpreter's stack ends
_LARGEST = 1 << 20  # characters that variables may add to one text: a few doublings would fill the memory


@dataclasses.dataclass(frozen=True, slots=True)
class Rules:
    """How a text is read. ``raw_quotes`` and ``raw_escapes`` leave them in the result; ``plain_quotes`` makes them
    characters like others; ``keep_unset`` leaves ``$name`` alone where name has no value."""

    escape: str = "\\"
    raw_quotes: bool = False
    raw_escapes: bool = False
    plain_quotes: bool = False
    keep_unset: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Expansion:
    """A text expanded: as one, and split at the spaces that no quote held together; the names that had a value, and
    those that had none."""

    text: str
    words: tuple[str, ...]
    used: frozenset[str]
    unset: frozenset[str]


DEFAULT = Rules()


def expand(text: str, variables: Mapping[str, str], rules: Rules = DEFAULT) -> Expansion:
    """Expand a text. Raises InvalidInput in BuildKit's words: ``failed to process "…": …``."""
    lexer = _Lexer(text, variables, rules)
    words = _Words()
    try:
        result = lexer.until("", rules.raw_escapes, False, words)
    except InvalidInput as error:
        raise InvalidInput(f"failed to process {quoted(text)}: {error.message}") from None
    return Expansion(result, words.all(), frozenset(lexer.used), frozenset(lexer.unset))


def quoted(text: str) -> str:
    """A text between double quotes, for a message: control characters as escapes."""
    plain = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(char if char.isprintable() else _escaped(char) for char in plain) + '"'


def printable(text: str) -> str:
    """A text as a terminal may show it: what a stranger wrote gives no orders to it."""
    return (
        text if text.isprintable() else "".join(c if c.isprintable() else " " if c == "\t" else "\ufffd" for c in text)
    )


def _escaped(char: str) -> str:
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")


class _Words:
    """The words of a text, split where a space stands outside quotes. One that is empty is none, quoted or not."""

    __slots__ = ("_found", "_now")

    def __init__(self) -> None:
        self._found: list[str] = []
        self._now: list[str] = []

    def split(self, text: str) -> None:
        """What an unquoted text, or the value of an unquoted variable, adds."""
        first, *more = _SPACE.split(text) if len(text) > 1 or text in SPACES else (text,)
        self._now.append(first)
        for part in more:
            self._close()
            self._now.append(part)

    def whole(self, text: str) -> None:
        """What was quoted or escaped: its spaces split nothing."""
        self._now.append(text)

    def all(self) -> tuple[str, ...]:
        """All words; ends the last one."""
        self._close()
        return tuple(self._found)

    def _close(self) -> None:
        if word := "".join(self._now):
            self._found.append(word)
        self._now.clear()


class _NoWords(_Words):
    """Where only the text counts: inside a substitution."""

    __slots__ = ()

    def split(self, text: str) -> None:
        """Nothing."""

    def whole(self, text: str) -> None:
        """Nothing."""


_NO_WORDS = _NoWords()


class _Lexer:
    __slots__ = ("at", "depth", "rules", "size", "text", "unset", "used", "variables")

    def __init__(self, text: str, variables: Mapping[str, str], rules: Rules) -> None:
        self.text = text
        self.at = 0
        self.depth = 0
        self.size = 0
        self.variables = variables
        self.rules = rules
        self.used: set[str] = set()
        self.unset: set[str] = set()

    def peek(self) -> str:
        """The next character, '' at the end."""
        return self.text[self.at : self.at + 1]

    def next(self) -> str:
        """Take the next character, '' at the end."""
        char = self.text[self.at : self.at + 1]
        self.at += 1
        return char

    def until(self, stop: str, raw: bool, doubled: bool, words: _Words) -> str:
        """Everything before the stop character, or to the end if that is ''.

        ``raw`` leaves escapes in the result; ``doubled`` writes those twice that a quote made plain, since a pattern
        is read once more.
        """
        out: list[str] = []
        while char := self.peek():
            if char == stop:
                self.at += 1
                return "".join(out)
            if char == "$":
                out.append(self.dollar())
                words.split(out[-1])
            elif char == "<":
                out.append(self.here())
                words.whole(out[-1])
            elif char in "'\"" and not self.rules.plain_quotes:
                out.append(self.single(doubled) if char == "'" else self.double(raw, doubled))
                words.whole(out[-1])
            elif char == self.rules.escape:
                out.append(self.escaped(raw))
                words.whole(out[-1])
            else:
                self.at += 1
                out.append(char)
                words.split(char)
        if stop:
            raise InvalidInput(f"syntax error: missing {_MISSING[stop]}")
        return "".join(out)

    def escaped(self, raw: bool) -> str:
        """An escape and what it escapes; at the very end it escapes nothing and is gone."""
        escape, char = self.next(), self.next()
        return escape + char if raw else char

    def single(self, doubled: bool) -> str:
        """Everything to the next single quote."""
        quote = self.next()
        end = self.text.find("'", self.at)
        if end < 0:
            raise InvalidInput("unexpected end of statement while looking for matching single-quote")
        inner = self.text[self.at : end]
        self.at = end + 1
        if doubled:
            inner = inner.replace(self.rules.escape, self.rules.escape * 2)
        return quote + inner + quote if self.rules.raw_quotes else inner

    def double(self, raw: bool, doubled: bool) -> str:
        """Everything to the next double quote, with its variables; the escape is itself but before ``"``, ``$`` and
        another one."""
        quote = self.next()
        out = [quote] if self.rules.raw_quotes else []
        while char := self.peek():
            if char == "$":
                out.append(self.dollar())
                continue
            self.at += 1
            if char == '"':
                return "".join([*out, quote] if self.rules.raw_quotes else out)
            if char == self.rules.escape:
                char = self.escaped_in_quotes(raw, doubled)
            out.append(char)
        raise InvalidInput("unexpected end of statement while looking for matching double-quote")

    def escaped_in_quotes(self, raw: bool, doubled: bool) -> str:
        escape, char = self.rules.escape, self.peek()
        if not char:
            return ""
        if char in ('"', "$", escape):
            self.at += 1
            return escape + char if raw else char
        return escape * 2 if raw and (doubled or not self.rules.raw_quotes) else escape

    def here(self) -> str:
        """``<``, or ``<<`` with the blanks behind it, which are part of the same word."""
        start = self.at
        self.at += 1
        if self.peek() == "<":
            self.at += 1
            while self.peek() and self.peek() in "\t\r ":
                self.at += 1
        return self.text[start : self.at]

    def dollar(self) -> str:
        """The value of ``$name`` or ``${…}``; a dollar alone is itself."""
        self.at += 1
        if self.peek() != "{":
            name = self.name()
            if not name:
                return "$"
            value = self.value(name)
            return f"${name}" if value is None and self.rules.keep_unset else value or ""
        self.at += 1
        if self.depth >= _DEEPEST:
            raise InvalidInput(f"syntax error: more than {_DEEPEST} substitutions within each other")
        self.depth += 1
        try:
            return self.grown(self.braced())
        finally:
            self.depth -= 1

    def grown(self, text: str) -> str:
        """A value, or what a substitution made of one: all of them together have a limit, at whatever depth."""
        self.size += len(text)
        if self.size > _LARGEST:
            raise InvalidInput(f"variables make this longer than {_LARGEST} characters")
        return text

    def braced(self) -> str:
        """What stands behind ``${``, and the brace that closes it."""
        char = self.peek()
        if not char:
            raise InvalidInput("syntax error: missing '}'")
        if char in "{}:":
            raise InvalidInput("syntax error: bad substitution")
        name = self.name()
        modifier = self.next()
        if modifier == "}":
            value = self.value(name)
            return f"${{{name}}}" if value is None and self.rules.keep_unset else value or ""
        if not modifier:
            raise InvalidInput("syntax error: missing '}'")
        if modifier == "/":
            return self.replaced(name)
        if modifier not in ":+-?#%":
            raise InvalidInput(f"unsupported modifier ({modifier}) in substitution")
        return self.modified(name, modifier)

    def modified(self, name: str, modifier: str) -> str:
        """``${name:-word}`` and its like."""
        empty_is_unset = modifier == ":"
        if empty_is_unset:
            modifier = self.next()
            if modifier and modifier in "#%":
                raise InvalidInput(f"unsupported modifier (:{modifier}) in substitution")
        shown = ":" * empty_is_unset + modifier
        pattern = modifier != "" and modifier in "#%"
        word = self.until("}", pattern, pattern, _NO_WORDS)
        value = self.value(name)
        if value is None and self.rules.keep_unset:
            return f"${{{name}{shown}{word}}}"
        lacking = value is None or (empty_is_unset and not value)
        if modifier == "-":
            return word if lacking else value or ""
        if modifier == "+":
            return "" if lacking else word
        if modifier == "?":
            if lacking:
                raise InvalidInput(f"{name}: {word or _LACKING[value]}")
            return value or ""
        if pattern:
            return _trimmed(value or "", modifier, word)
        raise InvalidInput(f"unsupported modifier ({shown}) in substitution")

    def replaced(self, name: str) -> str:
        """``${name/pattern/replacement}``, ``${name//pattern/replacement}``."""
        every = self.peek() == "/"
        self.at += every
        pattern = self.until("/", True, True, _NO_WORDS)
        replacement = self.until("}", True, False, _NO_WORDS)
        value = self.value(name)
        if value is None and self.rules.keep_unset:
            return f"${{{name}/{pattern}/{replacement}}}"
        replace = wildcards.replace_all if every else wildcards.replace_first
        return replace(pattern, value or "", replacement)

    def name(self) -> str:
        """A variable's name: letters, digits and ``_``; digits alone; or one special parameter."""
        start = self.at
        char = self.peek()
        if char.isdecimal():
            while self.peek().isdecimal():
                self.at += 1
        elif char and char in _SPECIAL:
            self.at += 1
        else:
            while (char := self.peek()) and (char.isalpha() or char.isdecimal() or char == "_"):
                self.at += 1
        return self.text[start : self.at]

    def value(self, name: str) -> str | None:
        value = self.variables.get(name)
        self.grown(value or "")
        (self.unset if value is None else self.used).add(name)
        return value


def _trimmed(value: str, modifier: str, pattern: str) -> str:
    longest = pattern.startswith(modifier)
    trim = wildcards.trim_prefix if modifier == "#" else wildcards.trim_suffix
    return trim(pattern[longest:], value, longest=longest)
