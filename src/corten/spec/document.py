"""Typed members of a JSON document that a stranger wrote: a wrong type is an error that names the member.

A member that is absent or ``null`` yields the empty value of its type, as Go's decoder does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from corten.errors import DataCorrupt

T = TypeVar("T")


class Document:
    """One JSON object. ``what`` names it in errors: ``image config sha256:…``."""

    __slots__ = ("members", "what")

    def __init__(self, members: Mapping[str, Any], what: str) -> None:
        self.members = members
        self.what = what

    @classmethod
    def parse(cls, content: bytes, what: str) -> Document:
        """Decode UTF-8 JSON. Raises DataCorrupt when it is not an object."""
        try:
            value = json.loads(content)
            json.dumps(value, ensure_ascii=False).encode()  # a lone surrogate would fail later, far from here
        except (ValueError, RecursionError) as error:
            raise DataCorrupt(f"decode {what}: {error}") from None
        if not isinstance(value, dict):
            raise DataCorrupt(f"decode {what}: not a JSON object")
        return cls(value, what)

    def text(self, name: str) -> str:
        """A string."""
        return self._typed(name, str, "")

    def number(self, name: str) -> int:
        """An integer."""
        value = self._typed(name, int, 0)
        return value if not isinstance(value, bool) else self._refuse(name, "a number")

    def flag(self, name: str) -> bool:
        """A boolean."""
        return self._typed(name, bool, False)

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of strings."""
        values = self._typed(name, list, [])
        if not all(isinstance(value, str) for value in values):
            self._refuse(name, "a list of strings")
        return tuple(values)

    def mapping(self, name: str) -> dict[str, str]:
        """An object whose values are strings."""
        values = self._typed(name, dict, {})
        if not all(isinstance(value, str) for value in values.values()):
            self._refuse(name, "an object of strings")
        return dict(values)

    def keys(self, name: str) -> tuple[str, ...]:
        """The names of an object whose values say nothing: Go's way to write a set."""
        return tuple(self._typed(name, dict, {}))

    def child(self, name: str) -> Document:
        """An object."""
        return Document(self._typed(name, dict, {}), f"{self.what} {name}")

    def children(self, name: str) -> tuple[Document, ...]:
        """A list of objects."""
        values = self._typed(name, list, [])
        if not all(isinstance(value, dict) for value in values):
            self._refuse(name, "a list of objects")
        return tuple(Document(value, f"{self.what} {name}[{index}]") for index, value in enumerate(values))

    def _typed(self, name: str, kind: type[T], empty: T) -> T:
        value = self.members.get(name)
        if value is None:
            return empty
        return value if isinstance(value, kind) else self._refuse(name, _NAMES[kind])

    def _refuse(self, name: str, expected: str) -> Any:
        raise DataCorrupt(f"decode {self.what}: {name} is not {expected}")


_NAMES: dict[type, str] = {
    str: "a string",
    int: "a number",
    bool: "true or false",
    list: "a list",
    dict: "an object",
}
