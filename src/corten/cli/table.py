"""Listings: rows with named columns, as a table, as a template of the user's, or as JSON lines."""

from __future__ import annotations

from corten.errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from .context import Context

    Column = tuple[str, Callable[[Any], Any]]

_LEAST_WIDTH, _PADDING = 10, 3


class Listing:
    """The columns that rows of a kind have: placeholder -> (heading, function of the raw row).

    ``methods`` are placeholders that take an argument, like ``{{.Label "name"}}``.
    """

    def __init__(
        self,
        kind: str,
        columns: Mapping[str, Column],
        methods: Mapping[str, Callable[[Any, str], Any]] | None = None,
    ) -> None:
        self.kind = kind
        self.columns = columns
        self.methods = methods or {}

    def show(self, context: Context, rows: Iterable[Any], form: str, default: Sequence[str]) -> None:
        """Print rows in the form of ``--format``: '' and ``table`` are a table of the default columns."""
        if form in ("", "table"):
            headings = [self.columns[name][0] for name in default]
            cells = [[str(self.columns[name][1](row)) for name in default] for row in rows]
            self._print(context, aligned([headings, *cells]))
        elif form == "json":
            from .templated import json_lines

            self._print(context, json_lines(self, rows))
        else:
            from .templated import lines

            self._print(context, lines(self, rows, form))

    @staticmethod
    def _print(context: Context, lines: Iterable[str]) -> None:
        for line in lines:
            context.out(line)


def aligned(rows: Sequence[Sequence[str]], *, least: int = _LEAST_WIDTH) -> list[str]:
    """Columns of equal width, as Go's tabwriter sets them for Docker; the last is as wide as it is."""
    widths: list[int] = []
    for row in rows:
        for number, cell in enumerate(row[:-1]):
            if number == len(widths):
                widths.append(least)
            widths[number] = max(widths[number], len(cell) + _PADDING)
    return ["".join(cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)) + row[-1] for row in rows]


def filters(texts: Iterable[str]) -> dict[str, list[str]] | None:
    """``--filter name=value`` as the API takes them; None for none. Raises InvalidInput."""
    found: dict[str, list[str]] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise InvalidInput(f'invalid argument "{text}" for "-f, --filter" flag: invalid filter \'{text}\'')
        found.setdefault(name.strip().lower(), []).append(value.strip())
    return found or None


def ellipsis(text: str, length: int) -> str:
    """A text cut to a length with an ellipsis at its end."""
    return text if len(text) <= length else text[: length - 1] + "…"
