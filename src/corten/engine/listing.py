"""Which containers a listing shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from corten.engine.clock import ZERO
from corten.engine.container_network import joined
from corten.engine.creation import Images
from corten.engine.filters import Filters, check_filters, has_labels
from corten.engine.model import Container
from corten.errors import InvalidInput, NotFound

_STATUSES = ("created", "restarting", "running", "removing", "paused", "exited", "dead")
_HEALTHS = ("none", "starting", "healthy", "unhealthy")
_KNOWN = frozenset(
    {"ancestor", "annotation", "before", "exited", "expose", "health", "id", "is-task", "isolation", "label", "name",
     "network", "publish", "since", "status", "volume"}
)  # fmt: skip


def select(
    records: Iterable[Container], *, all: bool, limit: int | None, filters: Filters, image: Images
) -> Sequence[Container]:
    """The containers that pass, newest first. Raises InvalidInput for a filter or a value of one that is not known."""
    wanted = check_filters(filters, _KNOWN)
    ordered = sorted(records, key=lambda container: container.created, reverse=True)
    _check_numbers(wanted.get("exited", ()))
    by_state = not wanted.keys().isdisjoint({"status", "exited", "before", "since"})
    everything = all or bool(limit and limit > 0) or by_state
    passes = _matcher(wanted, ordered, image)
    found = [one for one in ordered if (everything or one.state.running) and passes(one)]
    return found[:limit] if limit and limit > 0 else found


def _matcher(filters: Filters, ordered: Sequence[Container], images: Images) -> Callable[[Container], bool]:
    for status in filters.get("status") or ():
        if status not in _STATUSES:
            raise InvalidInput(f"invalid filter 'status={status}'")
    for health in filters.get("health") or ():
        if health not in _HEALTHS:
            raise InvalidInput(f"unrecognized filter value for health: {health}")
    ancestors = _ancestors(filters.get("ancestor") or (), images)
    newer = _boundary(filters.get("since") or (), ordered)
    older = _boundary(filters.get("before") or (), ordered)

    def passes(container: Container) -> bool:
        return (
            _any(filters, "id", lambda value: container.id.startswith(value))
            and _any(filters, "name", lambda value: value.removeprefix("/") in container.name)
            and _any(filters, "status", lambda value: value == container.state.status)
            and _any(filters, "exited", lambda value: _exited(container, value))
            and _any(filters, "volume", lambda value: _mounts(container, value))
            and _any(filters, "network", lambda value: _is_in(container, value))
            and _any(filters, "expose", lambda value: _has_port(container.config.exposed_ports, value))
            and _any(filters, "publish", lambda value: _has_port(container.host.port_bindings, value))
            and _any(filters, "health", lambda value: value == _health(container))
            and _any(filters, "is-task", lambda value: value in ("0", "false"))
            and has_labels(container.config.labels or {}, filters)
            and has_labels(container.host.annotations or {}, {"label": filters.get("annotation") or ()})
            and ("ancestor" not in filters or container.image in ancestors)
            and (newer is None or container.created > newer)
            and (older is None or container.created < older)
        )

    return passes


def _any(filters: Filters, name: str, matches: Callable[[str], bool]) -> bool:
    return name not in filters or any(matches(value) for value in filters[name])


def _check_numbers(values: Iterable[str]) -> None:
    for value in values:
        if not value.removeprefix("-").isdecimal():
            raise InvalidInput(f"invalid filter 'exited={value}': not a number")


def _health(container: Container) -> str:
    return container.health.status if container.health else "none"


def _exited(container: Container, code: str) -> bool:
    state = container.state
    return not state.running and state.finished_at != ZERO and str(state.exit_code) == code


def _mounts(container: Container, value: str) -> bool:
    return any(value in (mount.name, mount.source, mount.destination) for mount in container.mounts)


def _has_port(ports: Iterable[str] | None, value: str) -> bool:
    wanted = value if "/" in value else f"{value}/tcp"
    return any(wanted == (port if "/" in port else f"{port}/tcp") for port in ports or ())


def _ancestors(references: Sequence[str], images: Images) -> set[str]:
    found: set[str] = set()
    for reference in references:
        try:
            found.add(images.resolve(reference).id)
        except NotFound:
            continue
    return found


def _boundary(refs: Sequence[str], ordered: Sequence[Container]) -> str | None:
    for ref in refs:
        for container in ordered:
            if container.id.startswith(ref) or container.name == ref.removeprefix("/"):
                return container.created
        raise NotFound(f"No such container: {ref}")
    return None


def _is_in(container: Container, network: str) -> bool:
    """By the network's name or ID."""
    return network in joined(container) or any(place["network_id"] == network for place in container.endpoints)
