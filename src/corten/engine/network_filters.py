"""Which networks a listing or a prune is about. Raises InvalidInput for a filter that is not known."""

from __future__ import annotations

from collections.abc import Callable

from corten.engine.clock import parse_time
from corten.engine.container_network import PREDEFINED
from corten.engine.filters import Filters, check_filters, has_labels, is_true, matches
from corten.engine.network_model import Network
from corten.engine.timestamps import parse_timestamp
from corten.errors import InvalidInput


def passes(network: Network, filters: Filters, *, in_use: bool) -> bool:
    """Whether a network passes a listing's filters (name, id, driver, scope, type, label, label!, dangling)."""
    facts: dict[str, Callable[[str], bool]] = {
        "id": lambda value: network.id.startswith(value),
        "name": lambda value: matches(value, network.name),
        "driver": lambda value: value == network.driver,
        "scope": lambda value: value == network.scope,
        "type": lambda value: value == ("builtin" if network.name in PREDEFINED else "custom"),
    }
    check_filters(filters, (*facts, "label", "label!", "dangling"))
    for value in filters.get("type") or ():
        if value not in ("builtin", "custom"):
            raise InvalidInput(f"invalid filter: 'type'='{value}'")
    if "dangling" in filters and is_true(filters, "dangling") == (in_use or network.name in PREDEFINED):
        return False
    return has_labels(network.labels, filters) and all(
        any(facts[name](value) for value in values) for name, values in filters.items() if name in facts
    )


def is_prunable(network: Network, filters: Filters) -> bool:
    """Whether a network, that nobody uses, passes a prune's filters (label, label!, until)."""
    check_filters(filters, ("label", "label!", "until"))
    created = parse_time(network.created)
    return has_labels(network.labels, filters) and all(
        created < parse_timestamp(text) for text in filters.get("until") or ()
    )
