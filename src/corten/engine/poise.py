"""Whether the last starts differed in nothing but their command: only then somebody is poised for the next one."""

from __future__ import annotations

import collections
import dataclasses

_STRAYS = 3
"""Starts of other kinds, one after the other, before those who are poised for one are let go."""
_MOST_REMEMBERED = 256


@dataclasses.dataclass(slots=True)
class Poise:
    """What one row of starts has in common. ``text`` is what is done beside the command by who is made to stand by now,
    '' for nothing: the last two starts differed. ``likeness`` is what its containers were asked for with."""

    text: str = ""
    likeness: object = None
    _row: object = None
    _last: object = None
    _strays: int = 0
    _asked: collections.OrderedDict[str, object] = dataclasses.field(default_factory=collections.OrderedDict)

    def remember(self, id: str, likeness: object) -> None:
        """What a container was asked for with, until it is started."""
        self._asked[id] = likeness
        if len(self._asked) > _MOST_REMEMBERED:
            self._asked.popitem(last=False)

    def learn(self, id: str, kind: object, text: str) -> bool:
        """Take note of a start of a kind, which could be done ahead but for its command by ``text``; whether those who
        are poised are of no more use."""
        likeness, in_row = self._asked.pop(id, None), kind == self._last
        self._last, self.text = kind, text if in_row else ""
        if kind == self._row:
            self._strays = 0
            return False
        self._strays += 1
        if not in_row and self._strays < _STRAYS:
            return False
        self._row, self.likeness, self._strays = (kind, likeness, 0) if in_row else (None, None, 0)
        return True

    def give_up(self) -> None:
        """Nobody is made to be poised until two starts were alike again."""
        self.text, self._last = "", None
