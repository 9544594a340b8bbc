"""What was probably meant: the nearest word within two edits."""

from __future__ import annotations

from collections.abc import Iterable

_TOO_FAR = 3


def nearest(written: str, known: Iterable[str]) -> str:
    """The known word that is nearest, '' if none is near or if it is one of them."""
    best, distance = "", _TOO_FAR
    for word in known:
        if word == written:
            return ""
        found = _distance(written, word)
        if found < distance:
            best, distance = word, found
    return best


def hinted(message: str, written: str, known: Iterable[str]) -> str:
    """The message, with ``(did you mean …?)`` behind it where something is near."""
    meant = nearest(written, known)
    return f"{message} (did you mean {meant}?)" if meant else message


def _distance(one: str, other: str) -> int:
    """Edits from one word to the other, neighbours that changed places being one; _TOO_FAR where the lengths say so,
    for what a stranger wrote may be long."""
    if abs(len(one) - len(other)) >= _TOO_FAR:
        return _TOO_FAR
    before: list[int] = []
    above = list(range(len(other) + 1))
    for place, char in enumerate(one, 1):
        row = [place]
        for column, known in enumerate(other, 1):
            row.append(min(above[column] + 1, row[-1] + 1, above[column - 1] + (char != known)))
            if before and column > 1 and char == other[column - 2] and one[place - 2] == known:
                row[-1] = min(row[-1], before[column - 2] + 1)
        before, above = above, row
    return above[-1]
