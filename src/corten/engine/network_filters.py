"""Which networks a listing or a prune is about. Raises InvalidInput for a filter that is not known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from corten.engine.container_network import PREDEFINED
from corten.engine.network_model import Network
from corten.errors import InvalidInput

Filters = Mapping[str, Sequence[str]]


def passes(network: Network, filters: Filters, *, in_use: bool) -> bool:
    """Whether a network passes (name, id, driver, scope, type, label, dangling)."""
    facts: dict[str, Callable[[str], bool]] = {
        "id": lambda value: network.id.startswith(value),
        "name": lambda value: value in network.name,
        "driver": lambda value: value == network.driver,
        "scope": lambda value: value == network.scope,
        "type": lambda value: value == ("builtin" if network.name in PREDEFINED else "custom"),
        "label": lambda value: _has_label(network, value),
        "dangling": lambda value: (value in ("1", "true")) != in_use,
    }
    if unknown := set(filters) - set(facts):
        raise InvalidInput(f"invalid filter '{min(unknown)}'")
    return all(
        (all if name == "label" else any)(facts[name](value) for value in values)
        for name, values in filters.items()
    )


def _has_label(network: Network, wanted: str) -> bool:
    key, equals, value = wanted.partition("=")
    return key in network.labels and (not equals or network.labels[key] == value)
