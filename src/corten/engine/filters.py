"""Filters of the API: values by name, joined with "or" within a name and "and" between names."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from corten.errors import InvalidInput

Filters = Mapping[str, Sequence[str]]

_TRUE, _FALSE = ("1", "true", "True"), ("0", "false", "False")


def check_filters(filters: Filters | None, known: Collection[str]) -> Filters:
    """The filters. Raises InvalidInput for a name that is not known, in Docker's words."""
    for name in filters or {}:
        if name not in known:
            raise InvalidInput(f"invalid filter '{name}'")
    return filters or {}


def is_true(filters: Filters, name: str, default: bool = False) -> bool:
    """A filter that is true or false. Raises InvalidInput for another value, or both."""
    values = set(filters.get(name) or ())
    if not values:
        return default
    if values <= set(_TRUE):
        return True
    if values <= set(_FALSE):
        return False
    raise InvalidInput(f"invalid filter '{name}={sorted(values)}'")


def has_labels(labels: Mapping[str, str], filters: Filters) -> bool:
    """Whether labels pass ``label`` (all of them there) and ``label!`` (none of them there)."""
    return all(_has(labels, one) for one in filters.get("label") or ()) and not any(
        _has(labels, one) for one in filters.get("label!") or ()
    )


def _has(labels: Mapping[str, str], wanted: str) -> bool:
    name, equals, value = wanted.partition("=")
    return name in labels and (not equals or labels[name] == value)
