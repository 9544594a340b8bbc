"""Filters of the API: values by name, joined with "or" within a name and "and" between names."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from corten.errors import InvalidInput

Filters = Mapping[str, Sequence[str]]

_QUANTIFIERS, _OF_GROUPS = re.compile(r"[*+?{]"), re.compile(r"\)[*+{]")
_MOST_QUANTIFIERS = 4
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


def matches(pattern: str, *names: str) -> bool:
    """Whether a name is the pattern or has a match of it, a regular expression, as for dockerd; one that is none
    matches nothing. Raises InvalidInput for one that could take for ever: Python's engine goes back where Go's does
    not."""
    if pattern in names:
        return True
    if _OF_GROUPS.search(pattern) or len(_QUANTIFIERS.findall(pattern)) > _MOST_QUANTIFIERS:
        raise InvalidInput(f"the pattern {pattern} of a filter repeats too much", hint="use a part of the name")
    try:
        found = re.compile(pattern)
    except (re.error, OverflowError, RecursionError):
        return False
    return any(found.search(name) for name in names)


def port_range(name: str, value: str) -> tuple[range, str]:
    """The ports and the protocol of ``80``, ``53/udp`` or ``8000-8010/tcp``. Raises InvalidInput."""
    ports, _, protocol = value.partition("/")
    first, dash, last = ports.partition("-")
    numbers = [first, last if dash else first]
    if not all(one.isascii() and one.isdecimal() and int(one) < 1 << 16 for one in numbers):
        raise InvalidInput(f"error while looking up for {name} {value}: invalid port")
    low, high = map(int, numbers)
    if high < low:
        raise InvalidInput(f"error while looking up for {name} {value}: Invalid range specified for the Port: {ports}")
    return range(low, high + 1), protocol or "tcp"


def has_labels(labels: Mapping[str, str], filters: Filters) -> bool:
    """Whether labels pass ``label`` (all of them there) and ``label!`` (none of them there)."""
    return all(_has(labels, one) for one in filters.get("label") or ()) and not any(
        _has(labels, one) for one in filters.get("label!") or ()
    )


def _has(labels: Mapping[str, str], wanted: str) -> bool:
    name, equals, value = wanted.partition("=")
    return name in labels and (not equals or labels[name] == value)
