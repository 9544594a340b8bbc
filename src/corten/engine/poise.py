"""Whether the last starts differed in nothing but their command: only then somebody is poised for the next one."""

from __future__ import annotations

import collections
import dataclasses

_STRAYS = 3
"""Starts of other kinds, one after the other, before those who are poised for one are let go."""
_MOST_REMEMBERED, _MOST_LIKENESSES = 256, 8


@dataclasses.dataclass(slots=True)
class Poise:
    """What one row of starts has in common. ``text`` is what is done beside the command by who is made to stand by now,
    '' for nothing: the last two starts differed."""

    text: str = ""
    _row: object = None
    _last: object = None
    _strays: int = 0
    _likenesses: list[object] = dataclasses.field(default_factory=list)
    """What containers of the row were asked for with: another client says the same in other words."""
    _asked: collections.OrderedDict[str, object] = dataclasses.field(default_factory=collections.OrderedDict)

    def remember(self, id: str, likeness: object) -> None:
        """What a container was asked for with, until it is started."""
        self._asked[id] = likeness
        if len(self._asked) > _MOST_REMEMBERED:
            self._asked.popitem(last=False)

    def knows(self, likeness: object) -> bool:
        """Whether a container that is asked for like this is started as the row's were."""
        return likeness in self._likenesses

    def learn(self, id: str, kind: object, text: str) -> bool:
        """Take note of a start of a kind, which could be done ahead but for its command by ``text``; whether those who
        are poised are of no more use."""
        likeness, in_row = self._asked.pop(id, None), kind == self._last
        self._last, self.text = kind, text if in_row else ""
        if kind == self._row:
            self._strays = 0
            if likeness is not None and likeness not in self._likenesses:
                self._likenesses = [likeness, *self._likenesses[: _MOST_LIKENESSES - 1]]
            return False
        self._strays += 1
        if not in_row and self._strays < _STRAYS:
            return False
        self._row, self._strays = kind if in_row else None, 0
        self._likenesses = [likeness] if in_row and likeness is not None else []
        return True

    def give_up(self) -> None:
        """Nobody is made to be poised until two starts were alike again."""
        self.text, self._last = "", None
