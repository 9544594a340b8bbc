"""One table a command gives its parser, its help and its completion; the rules are those of Docker's pflag.

An option is written ``--name value``, ``--name=value``, ``-n value``, ``-nvalue``, ``-n=value``; flags without a
value can be bundled (``-it``) and take one only after ``=``. ``--`` ends the options. Where a command is told to
run in a container (``run IMAGE COMMAND …``), the first argument ends them, too.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from .context import Context

FLAG, OPTIONAL, STRING, LIST, INT, MAP = "", "[=format]", "string", "list", "int", "map"
"""Kinds of value; any other word is a string with that word in the help, or one in LISTS a list of them.
OPTIONAL takes a value only after ``=``; without one it is ``text``."""
LISTS = frozenset((LIST, "filter", "strings", "ulimit", "mount", "network", MAP))
_TRUE, _FALSE = ("1", "t", "T", "TRUE", "true", "True"), ("0", "f", "F", "FALSE", "false", "False")
_INTEGERS = (INT, "uint16", "uint")
_EMPTY: dict[str, Any] = {FLAG: False, **dict.fromkeys(_INTEGERS, 0)}
_WITHOUT = {FLAG: "true", OPTIONAL: "text"}
_USAGE_CODE = 125


class UsageError(Exception):
    """The command line is wrong. ``see`` is the word that leads to the help; ``code`` the exit code."""

    def __init__(self, message: str, *, code: int = 1, see: str = "Run", usage: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.see = see
        self.usage = usage


class Option:
    """One row of a table. ``flags`` is ``-a, --all`` or ``--all``; ``word`` names the value in the help."""

    __slots__ = ("default", "flags", "help", "hidden", "kind", "name", "short")

    def __init__(self, flags: str, kind: str, help: str, default: Any = None, *, hidden: bool = False) -> None:
        self.flags = flags
        self.kind = kind
        self.help = help
        self.hidden = hidden
        # `run` has a hundred of these, made at each of its starts.
        self.short = "" if flags[1] == "-" else flags[1]
        self.name = flags[6:] if self.short else flags[2:]
        if default is None:
            default = [] if kind in LISTS else _EMPTY.get(kind, "")
        self.default = default

    def value(self, text: str) -> Any:
        """The value that a text means. Raises UsageError."""
        if self.kind == FLAG:
            return self._boolean(text)
        if self.kind in _INTEGERS:
            return self._integer(text)
        if self.kind == "filter" and "=" not in text:
            raise self.invalid(text, "bad format of filter (expected name=value)")
        return text

    def _boolean(self, text: str) -> bool:
        if text not in _TRUE and text not in _FALSE:
            raise self.invalid(text, f'strconv.ParseBool: parsing "{text}": invalid syntax')
        return text in _TRUE

    def _integer(self, text: str) -> int:
        digits = text[1:] if text[:1] in ("-", "+") else text
        if not (digits.isascii() and digits.isdigit()):
            raise self.invalid(text, f'strconv.ParseInt: parsing "{text}": invalid syntax')
        return int(text)

    def invalid(self, text: str, cause: str) -> UsageError:
        """The error for a value that this option does not take."""
        return UsageError(f'invalid argument "{text}" for "{self.flags}" flag: {cause}', code=_USAGE_CODE)


class Values:
    """The options of one command line: ``values.no_trunc`` is what ``--no-trunc`` was given, or its default."""

    __slots__ = ("_given", "_table")

    def __init__(self, table: dict[str, Option]) -> None:
        self._table = table
        self._given: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        option = self._table[name.replace("_", "-")]
        return self._given.get(option.name, option.default)

    def given(self, name: str) -> bool:
        """Whether the option stood on the command line."""
        return name in self._given

    def add(self, option: Option, text: str) -> None:
        """Take one occurrence of an option. Raises UsageError."""
        value = option.value(text)
        if option.kind in LISTS:
            self._given.setdefault(option.name, []).append(value)
        else:
            self._given[option.name] = value


class Command:
    """A command: its table, how many arguments it takes, and the function that does it.

    ``usage`` is what follows the name, e.g. ``CONTAINER [CONTAINER...]``; ``most`` None is any number;
    ``interspersed`` False ends the options at the first argument.
    """

    __slots__ = ("description", "interspersed", "least", "most", "options", "run", "summary", "usage")

    def __init__(
        self,
        run: Callable[[Context, Values, list[str]], int],
        summary: str,
        usage: str = "",
        options: Sequence[Option] = (),
        *,
        arguments: tuple[int, int | None] = (0, 0),
        interspersed: bool = True,
        description: str = "",
    ) -> None:
        self.run = run
        self.summary = summary
        self.usage = usage
        self.options = (*options, HELP)
        self.least, self.most = arguments
        self.interspersed = interspersed
        self.description = description

    def parse(self, words: Sequence[str], path: str) -> tuple[Values, list[str]]:
        """The options and arguments of a command line. Raises UsageError; ``--help`` alone excuses all else."""
        values, arguments = parse(self.options, words, interspersed=self.interspersed)
        if not values.help:
            self._count(len(arguments), path)
        return values, arguments

    def _count(self, count: int, path: str) -> None:
        least, most = self.least, self.most
        if count >= least and (most is None or count <= most):
            return
        if most is None:
            raise UsageError(f"'{path}' requires at least {_arguments(least)}", see="See")
        if most == 0:
            raise UsageError(f"'{path}' accepts no arguments")
        if least == most:
            raise UsageError(f"'{path}' requires {_arguments(least)}")
        raise UsageError(f"'{path}' requires at least {least} and at most {_arguments(most)}")


def _arguments(count: int) -> str:
    return f"{count} argument{'' if count == 1 else 's'}"


HELP = Option("--help", FLAG, "Print usage", hidden=True)
DETACH_KEYS = Option("--detach-keys", STRING, "Override the key sequence for detaching a container")
SIG_PROXY = Option("--sig-proxy", FLAG, "Proxy received signals to the process", True)


def parse(options: Sequence[Option], words: Sequence[str], *, interspersed: bool = True) -> tuple[Values, list[str]]:
    """Split a command line into options and arguments. Raises UsageError."""
    names = {option.name: option for option in options}
    shorts = {option.short: option for option in options if option.short}
    values = Values(names)
    arguments: list[str] = []
    rest = list(reversed(words))
    while rest:
        word = rest.pop()
        if word == "--":
            return values, arguments + rest[::-1]
        if word.startswith("--"):
            _long(values, names, word, rest)
        elif len(word) > 1 and word[0] == "-":
            _bundle(values, shorts, names, word, rest)
        elif interspersed:
            arguments.append(word)
        else:
            return values, [word, *rest[::-1]]
    return values, arguments


def _long(values: Values, names: dict[str, Option], word: str, rest: list[str]) -> None:
    name, equals, text = word[2:].partition("=")
    option = names.get(name)
    if option is None:
        raise UsageError(f"unknown flag: --{name}", code=_USAGE_CODE)
    if option.kind in _WITHOUT and not equals:
        text = _WITHOUT[option.kind]
    elif not equals:
        if not rest:
            raise UsageError(f"flag needs an argument: --{name}", code=_USAGE_CODE)
        text = rest.pop()
    values.add(option, text)


def _bundle(values: Values, shorts: dict[str, Option], names: dict[str, Option], word: str, rest: list[str]) -> None:
    """``-it``, ``-p80:80``, ``-p=80:80``, ``-p 80:80``."""
    letters = word[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        option = shorts.get(letter) or (names["help"] if letter == "h" and "help" in names else None)
        if option is None:
            raise UsageError(f"unknown shorthand flag: '{letter}' in {word}", code=_USAGE_CODE)
        if option.kind == FLAG and not letters.startswith("="):
            values.add(option, "true")
            continue
        if not letters and not rest:
            raise UsageError(f"flag needs an argument: '{letter}' in {word}", code=_USAGE_CODE)
        values.add(option, letters.removeprefix("=") if letters else rest.pop())
        return
