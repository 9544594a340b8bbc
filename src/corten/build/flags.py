"""``--name=value`` between an instruction's keyword and its arguments."""

from __future__ import annotations

from collections.abc import Iterable

from corten.build.suggestions import hinted
from corten.errors import InvalidInput


class Flags:
    """The flags of one instruction, read by the table of those that it takes.

    ``text`` are names that take a value, ``many`` those that may be repeated, ``truth`` those that are true without a
    value. Raises InvalidInput for a flag that is unknown, repeated, or has no value or a wrong one.
    """

    def __init__(
        self, given: Iterable[str], *, text: Iterable[str] = (), many: Iterable[str] = (), truth: Iterable[str] = ()
    ) -> None:
        self._text, self._many, self._truth = tuple(text), tuple(many), tuple(truth)
        self._values: dict[str, list[str]] = {}
        for flag in given:
            self._read(flag)

    def _read(self, flag: str) -> None:
        written, equals, value = flag.partition("=")
        name = written[2:]
        known = (*self._text, *self._many, *self._truth)
        if name not in known:
            raise InvalidInput(hinted(f"unknown flag: {written}", name, known))
        if name in self._values and name not in self._many:
            raise InvalidInput(f"duplicate flag specified: {written}")
        if (equals and not value) if name in self._truth else not equals:
            raise InvalidInput(f"missing a value on flag: {written}")
        if name in self._truth and value.lower() not in ("true", "false", ""):
            raise InvalidInput(f"expecting boolean value for flag {written}, not: {value}")
        self._values.setdefault(name, []).append(value)

    def text(self, name: str, default: str = "") -> str:
        """The value of a flag, or the default."""
        return self._values.get(name, [default])[0]

    def many(self, name: str) -> tuple[str, ...]:
        """All values of a flag that may be repeated."""
        return tuple(self._values.get(name, ()))

    def truth(self, name: str) -> bool | None:
        """Whether a flag is on, None where it was not given."""
        found = self._values.get(name)
        return found[0].lower() != "false" if found else None
