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
            from .template_functions import to_json

            self._print(context, [to_json(Row(self, row)) for row in rows])
        else:
            self._print(context, self._templated(rows, form))

    @staticmethod
    def _print(context: Context, lines: Iterable[str]) -> None:
        for line in lines:
            context.out(line)

    def _templated(self, rows: Iterable[Any], form: str) -> list[str]:
        form = form.replace(r"\t", "\t").replace(r"\n", "\n")
        tabular = form.startswith("table ")
        template = parsed(form.removeprefix("table ").lstrip() if tabular else form)
        lines = [rendered(template, Row(self, row)) for row in rows]
        if not tabular:
            return lines
        return aligned([line.split("\t") for line in [rendered(template, _Headings(self)), *lines]])


class Row:
    """A row as a template sees it."""

    def __init__(self, listing: Listing, raw: Any) -> None:
        self._listing = listing
        self._raw = raw
        self.kind = listing.kind

    def field(self, name: str) -> Any:
        """The value of a placeholder, or its method; None where there is none."""
        if name in self._listing.columns:
            return self._listing.columns[name][1](self._raw)
        method = self._listing.methods.get(name)
        return None if method is None else lambda argument: method(self._raw, argument)

    def as_dict(self) -> dict[str, Any]:
        """All placeholders, for ``{{json .}}``."""
        return {name: function(self._raw) for name, (_, function) in sorted(self._listing.columns.items())}


class _Headings:
    """The line of headings as a template sees it."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing

    def field(self, name: str) -> Any:
        if name in self._listing.columns:
            return self._listing.columns[name][0]
        return _label_heading if name in self._listing.methods else None


def _label_heading(name: str) -> str:
    return name.rpartition(".")[2].replace("-", " ").replace("_", " ")


def parsed(form: str) -> Any:
    """A template. Raises InvalidInput in Docker's words."""
    from .template import Template

    try:
        return Template(form)
    except InvalidInput as error:
        raise InvalidInput(f"failed to parse template: {error.message}") from None


def rendered(template: Any, value: Any) -> str:
    """A template's text for one value. Raises InvalidInput in Docker's words."""
    try:
        text: str = template.render(value)
    except InvalidInput as error:
        raise InvalidInput(f"failed to execute template: {error.message}") from None
    return text


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
