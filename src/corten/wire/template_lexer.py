"""The words of a Go template: text, and the tokens of the actions between ``{{`` and ``}}``."""

from __future__ import annotations

from corten.errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


class Token:
    """One token. ``glued`` says that no blank stands before it; ``column`` counts from 1, in the template."""

    __slots__ = ("column", "glued", "kind", "text", "value")

    def __init__(self, kind: str, text: str, column: int, glued: bool, value: Any = None) -> None:
        self.kind = kind
        self.text = text
        self.column = column
        self.glued = glued
        self.value = value

    def is_sign(self, *texts: str) -> bool:
        """Whether this is one of some punctuation marks (and no string that looks like one)."""
        return self.kind == "sign" and self.text in texts

    def ends_command(self) -> bool:
        """Whether a command of a pipeline ends before this token."""
        return self.is_sign("|", ")")


def split(text: str) -> Iterator[str | list[Token]]:
    """Pieces of text, and actions as lists of tokens; comments are left out. Raises InvalidInput."""
    at, trim = 0, False
    while True:
        start = text.find("{{", at)
        piece = text[at : len(text) if start < 0 else start]
        if trim:
            piece = piece.lstrip()
        if start < 0:
            if piece:
                yield piece
            return
        inside, at, left, right = _action(text, start)
        piece = piece.rstrip() if left else piece
        if piece:
            yield piece
        if not inside.startswith("/*"):
            yield action_tokens(inside, start + (4 if left else 2))
        trim = right


def _action(text: str, start: int) -> tuple[str, int, bool, bool]:
    """What is between the braces, where the text goes on, and whether blanks are trimmed left and right."""
    end = _closing(text, start + 2)
    inside = text[start + 2 : end]
    left, right = inside[:2] in ("- ", "-\n", "-\t"), inside[-2:] in (" -", "\n-", "\t-")
    inside = inside[2 if left else 0 : -2 if right else None]
    return inside, end + 2, left, right


def _closing(text: str, at: int) -> int:
    quote = ""
    while at < len(text):
        character = text[at]
        if quote:
            if character == "\\" and quote == '"':
                at += 1
            elif character == quote:
                quote = ""
        elif character in '"`':
            quote = character
        elif text.startswith("}}", at):
            return at
        at += 1
    raise InvalidInput("template: :1: unclosed action")


def action_tokens(text: str, offset: int = 0) -> list[Token]:
    """The tokens of one action. Raises InvalidInput."""
    tokens: list[Token] = []
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        glued = at > 0 and not text[at - 1].isspace()
        kind, length, value = _token(text, at)
        tokens.append(Token(kind, text[at : at + length], offset + at, glued, value))
        at += length
    return tokens


def _token(text: str, at: int) -> tuple[str, int, Any]:
    """Kind, length and value of the token at a place."""
    character = text[at]
    if character in '"`':
        return _string(text, at)
    if character in "().|,=" or text.startswith(":=", at):
        if character == ".":
            return "field", 1 + _name_length(text, at + 1), None
        return "sign", 2 if character == ":" else 1, None
    if character == "$":
        return "variable", 1 + _name_length(text, at + 1), None
    if character.isdigit() or (character in "-+" and text[at + 1 : at + 2].isdigit()):
        return _number(text, at)
    if character in _NAME:
        return "word", _name_length(text, at), None
    raise InvalidInput(f"template: :1: unexpected {character!r} in command")


def _name_length(text: str, at: int) -> int:
    end = at
    while end < len(text) and text[end] in _NAME:
        end += 1
    return end - at


def _number(text: str, at: int) -> tuple[str, int, Any]:
    end = at + 1
    while end < len(text) and (text[end] in _NAME or text[end] == "."):
        end += 1
    word = text[at:end]
    try:
        return "number", end - at, int(word, 0) if "." not in word else float(word)
    except ValueError:
        raise InvalidInput(f"template: :1: bad number syntax: {word!r}") from None


def _string(text: str, at: int) -> tuple[str, int, Any]:
    quote, value, end = text[at], "", at + 1
    while end < len(text) and text[end] != quote:
        if text[end] == "\\" and quote == '"':
            end += 1
            value += _ESCAPES.get(text[end], text[end])
        else:
            value += text[end]
        end += 1
    if end >= len(text):
        raise InvalidInput("template: :1: unterminated quoted string")
    return "string", end + 1 - at, value
