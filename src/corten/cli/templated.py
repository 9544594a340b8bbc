"""Rows in the form of a template of the user's, or as JSON: the part of listings that a plain table never loads."""

from __future__ import annotations

from corten.errors import InvalidInput

from .table import aligned

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from .table import Listing


def json_lines(listing: Listing, rows: Iterable[Any]) -> list[str]:
    """Each row as a JSON object of all placeholders."""
    from corten.wire.template_functions import to_json

    return [to_json(Row(listing, row)) for row in rows]


def lines(listing: Listing, rows: Iterable[Any], form: str) -> list[str]:
    """Each row through a template; ``table TEMPLATE`` is aligned, under headings. Raises InvalidInput."""
    form = form.replace(r"\t", "\t").replace(r"\n", "\n")
    tabular = form.startswith("table ")
    template = parsed(form.removeprefix("table ").lstrip() if tabular else form)
    shown = [rendered(template, Row(listing, row)) for row in rows]
    if not tabular:
        return shown
    return aligned([line.split("\t") for line in [rendered(template, _Headings(listing)), *shown]])


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
    from corten.wire.template import Template

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
