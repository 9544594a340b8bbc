"""Go templates (text/template), as far as ``--format`` uses them, with the functions that Docker adds.

A template is compiled into closures over a :class:`Scope`. Values are those of JSON, and objects with a ``field``
method (rows of a listing). A field of an object is looked up by its exact name, then without regard to case: a
template may use the API's names (``.Id``) or those of Go's structures (``.ID``).
"""

from __future__ import annotations

from corten.errors import InvalidInput

from .template_functions import FUNCTIONS, text_of, truth
from .template_lexer import Token, split

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    Evaluate = Callable[["Scope"], Any]
    Render = Callable[["Scope", list[str]], None]

_STOPPERS = ("else", "end")


class Scope:
    """What a piece of template sees: the dot, and the variables, which inner scopes share with outer ones."""

    __slots__ = ("dot", "variables")

    def __init__(self, dot: Any, variables: dict[str, list[Any]]) -> None:
        self.dot = dot
        self.variables = variables

    def inner(self, dot: Any) -> Scope:
        """A scope within this one: new variables stay there, old ones can be set from there."""
        return Scope(dot, dict(self.variables))


class Template:
    """A parsed template. Raises InvalidInput where it cannot be parsed."""

    def __init__(self, text: str) -> None:
        self._render = _Parser(list(split(text))).block(())

    def render(self, dot: Any) -> str:
        """The text for a value. Raises InvalidInput where the value does not fit."""
        output: list[str] = []
        self._render(Scope(dot, {"$": [dot]}), output)
        return "".join(output)


class _Parser:
    """Recursive descent over text and actions; each method gives a closure."""

    def __init__(self, pieces: list[str | list[Token]]) -> None:
        self._pieces: Iterator[str | list[Token]] = iter(pieces)
        self._stopper: list[Token] = []

    def block(self, stoppers: tuple[str, ...]) -> Render:
        """Pieces up to one of the stoppers, which stays in ``_stopper``."""
        parts: list[Render] = []
        for piece in self._pieces:
            if isinstance(piece, str):
                parts.append(_literal(piece))
                continue
            word = piece[0].text if piece else ""
            if word in _STOPPERS and piece[0].kind == "word":
                if word not in stoppers:
                    raise InvalidInput(f"template: :1: unexpected {{{{{word}}}}}")
                self._stopper = piece
                return _sequence(parts)
            parts.append(self._action(piece, word))
        if stoppers:
            raise InvalidInput("template: :1: unexpected EOF")
        return _sequence(parts)

    def _action(self, tokens: list[Token], word: str) -> Render:
        if not tokens:
            raise InvalidInput("template: :1: missing value for command")
        if tokens[0].kind == "word" and word in ("if", "with"):
            return self._conditional(tokens[1:], rebinds=word == "with")
        if tokens[0].kind == "word" and word == "range":
            return self._range(tokens[1:])
        names, evaluate = _Pipeline(tokens).declaration()
        if names:
            return _assignment(names[0], tokens[1].text, evaluate)
        return lambda scope, output: output.append(text_of(evaluate(scope)))

    def _conditional(self, tokens: list[Token], *, rebinds: bool) -> Render:
        names, condition = _Pipeline(tokens).declaration()
        then = self.block(_STOPPERS)
        other = self._otherwise()

        def render(scope: Scope, output: list[str]) -> None:
            value = condition(scope)
            inside = scope.inner(value if rebinds and truth(value) else scope.dot)
            if names:
                inside.variables[names[0]] = [value]
            (then if truth(value) else other)(inside, output)

        return render

    def _otherwise(self) -> Render:
        """What follows a stopper: nothing after ``end``, a block after ``else``, a chain after ``else if``."""
        if self._stopper[0].text == "end":
            return _sequence([])
        rest = self._stopper[1:]
        if rest:
            return self._conditional(rest[1:], rebinds=rest[0].text == "with")
        return self.block(("end",))

    def _range(self, tokens: list[Token]) -> Render:
        names, items = _Pipeline(tokens).declaration()
        body = self.block(_STOPPERS)
        other = self._otherwise()

        def render(scope: Scope, output: list[str]) -> None:
            value = items(scope)
            for key, item in _entries(value):
                inside = scope.inner(item)
                for name, bound in zip(reversed(names), (item, key), strict=False):
                    inside.variables[name] = [bound]
                body(inside, output)
            if not truth(value):
                other(scope.inner(scope.dot), output)

        return render


def _entries(value: Any) -> list[tuple[Any, Any]]:
    if value is None:
        return []
    if isinstance(value, dict):
        return sorted(value.items())
    if isinstance(value, int) and not isinstance(value, bool):
        return [(number, number) for number in range(value)]
    if isinstance(value, list):
        return list(enumerate(value))
    raise InvalidInput(f"template: :1: range can't iterate over {text_of(value)}")


def _literal(text: str) -> Render:
    return lambda scope, output: output.append(text)


def _sequence(parts: list[Render]) -> Render:
    def render(scope: Scope, output: list[str]) -> None:
        for part in parts:
            part(scope, output)

    return render


def _assignment(name: str, sign: str, evaluate: Evaluate) -> Render:
    def render(scope: Scope, output: list[str]) -> None:
        value = evaluate(scope)
        if sign == "=":
            scope.variables[name][0] = value
        else:
            scope.variables[name] = [value]

    return render


class _Pipeline:
    """``$x, $y := command | command``: each command's value is the last argument of the next."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._at = 0

    def declaration(self) -> tuple[list[str], Evaluate]:
        """The names that are declared, if any, and the value."""
        names: list[str] = []
        signs = [number for number, token in enumerate(self._tokens) if token.is_sign(":=", "=")]
        if signs:
            names = [token.text for token in self._tokens[: signs[0]] if token.kind == "variable"]
            self._at = signs[0] + 1
        evaluate = self._pipeline()
        if self._at != len(self._tokens):
            raise self._unexpected()
        return names, evaluate

    def _unexpected(self) -> InvalidInput:
        return InvalidInput(f"template: :1: unexpected {self._tokens[self._at].text!r} in operand")

    def _peek(self) -> Token | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _pipeline(self) -> Evaluate:
        evaluate = self._command(None)
        while (token := self._peek()) is not None and token.is_sign("|"):
            self._at += 1
            evaluate = self._command(evaluate)
        return evaluate

    def _command(self, piped: Evaluate | None) -> Evaluate:
        operands: list[Evaluate] = []
        first = self._peek()
        while (token := self._peek()) is not None and not token.ends_command():
            operands.append(self._operand())
        if first is None or not operands:
            raise InvalidInput("template: :1: missing value for command")
        arguments = operands[1:] + ([piped] if piped is not None else [])
        if first.kind == "word" and first.text in ("and", "or"):
            return _short_circuit(first.text, arguments)
        if not arguments and not (first.kind == "word" and first.text in FUNCTIONS):
            return operands[0]
        return _call(operands[0], arguments, first)

    def _operand(self) -> Evaluate:
        token = self._tokens[self._at]
        self._at += 1
        evaluate = self._term(token)
        chain = token if token.kind == "field" and token.text != "." else None
        while (following := self._peek()) is not None and following.kind == "field" and following.glued:
            self._at += 1
            chain = Token("field", chain.text + following.text if chain else following.text, following.column, True)
            evaluate = _field(evaluate, following.text, chain)
        return evaluate

    def _term(self, token: Token) -> Evaluate:
        text = token.text
        if token.kind == "field":
            return _dot if text == "." else _field(_dot, text, token)
        if token.kind == "variable":
            return _variable(text)
        if token.kind in ("string", "number"):
            value = token.value
            return lambda scope: value
        if text == "(":
            inner = self._pipeline()
            if (closing := self._peek()) is None or closing.text != ")":
                raise InvalidInput("template: :1: unclosed left paren")
            self._at += 1
            return inner
        return _word(text)


def _dot(scope: Scope) -> Any:
    return scope.dot


def _variable(name: str) -> Evaluate:
    def evaluate(scope: Scope) -> Any:
        if name not in scope.variables:
            raise InvalidInput(f'template: :1: undefined variable "{name}"')
        return scope.variables[name][0]

    return evaluate


_CONSTANTS = {"true": True, "false": False, "nil": None}


def _word(name: str) -> Evaluate:
    if name in _CONSTANTS:
        return lambda scope: _CONSTANTS[name]
    if name not in FUNCTIONS and name not in ("and", "or"):
        raise InvalidInput(f'template: :1: function "{name}" not defined')
    return lambda scope: FUNCTIONS[name]


def _field(base: Evaluate, field: str, where: Token) -> Evaluate:
    name = field.removeprefix(".")

    def evaluate(scope: Scope) -> Any:
        return _lookup(base(scope), name, where)

    return evaluate


def _lookup(value: Any, name: str, token: Token) -> Any:
    if isinstance(value, dict):
        if name in value:
            return value[name]
        folded = name.lower()
        for key, item in value.items():
            if key.lower() == folded:
                return item
        raise _at(token, f'map has no entry for key "{name}"')
    if hasattr(value, "field"):
        found = value.field(name)
        if found is not None:
            return found
    if value is None:
        raise _at(token, f"nil pointer evaluating interface {{}}.{name}")
    raise _at(token, f"can't evaluate field {name} in type {_type(value)}")


def _type(value: Any) -> str:
    names = {"str": "string", "bool": "bool", "int": "int", "list": "[]interface {}", "float": "float64"}
    return names.get(type(value).__name__, f"*formatter.{getattr(value, 'kind', '')}Context")


def _at(token: Token, cause: str) -> InvalidInput:
    return InvalidInput(f'template: :1:{token.column}: executing "" at <{token.text}>: {cause}')


def _call(function: Evaluate, arguments: list[Evaluate], first: Token) -> Evaluate:
    def evaluate(scope: Scope) -> Any:
        called = function(scope)
        if not callable(called):
            raise _at(first, f"can't give argument to non-function {first.text}")
        try:
            return called(*(argument(scope) for argument in arguments))
        except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
            raise _at(first, f"error calling {first.text}: {error}") from None

    return evaluate


def _short_circuit(name: str, arguments: list[Evaluate]) -> Evaluate:
    wanted = name == "or"

    def evaluate(scope: Scope) -> Any:
        value: Any = None
        for argument in arguments:
            value = argument(scope)
            if truth(value) == wanted:
                break
        return value

    return evaluate
