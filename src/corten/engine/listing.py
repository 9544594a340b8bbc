"""Which containers a listing shows."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Protocol

from corten.engine.clock import ZERO
from corten.engine.container_network import decoded_endpoints, joined
from corten.engine.filters import Filters, check_filters, has_labels, is_true, matches, port_range
from corten.engine.model import Container
from corten.errors import InvalidInput, NotFound
from corten.store.images import Image

_STATUSES = ("created", "restarting", "running", "removing", "paused", "exited", "dead")
_HEALTHS = ("none", "starting", "healthy", "unhealthy")
_KNOWN = frozenset(
    {"ancestor", "annotation", "before", "exited", "expose", "health", "id", "is-task", "isolation", "label", "name",
     "network", "publish", "since", "status", "volume"}
)  # fmt: skip


class Images(Protocol):
    """What a listing needs of the images."""

    def resolve(self, text: str, /) -> Image:
        """The image of a reference or ID. Raises NotFound, InvalidInput."""

    def children(self, id: str, /) -> Collection[str]:
        """The IDs of the images that were made from one."""


def select(
    records: Iterable[Container],
    *,
    all: bool,
    limit: int | None,
    filters: Filters,
    image: Images,
    network_name: Callable[[str], str] = str,
) -> Sequence[Container]:
    """The containers that pass, newest first; ``network_name`` tells a network's name from its ID or a part of it.

    Raises InvalidInput for a filter or a value of one that is not known, NotFound for a container that one names.
    """
    wanted = check_filters(filters, _KNOWN)
    shown = (container for container in records if not container.of_build)
    ordered = sorted(shown, key=lambda container: container.created, reverse=True)
    _check_numbers(wanted.get("exited", ()))
    everything = all or bool(limit and limit > 0) or "status" in wanted
    passes = _matcher(wanted, ordered, image, network_name)
    found = [one for one in ordered if (everything or one.state.running) and passes(one)]
    return found[:limit] if limit and limit > 0 else found


def _matcher(
    filters: Filters, ordered: Sequence[Container], images: Images, network_name: Callable[[str], str]
) -> Callable[[Container], bool]:
    for status in filters.get("status") or ():
        if status not in _STATUSES:
            raise InvalidInput(f"invalid filter 'status={status}'")
    for health in filters.get("health") or ():
        if health not in _HEALTHS:
            raise InvalidInput(f"unrecognized filter value for health: {health}")
    ancestors = _ancestors(filters.get("ancestor") or (), images)
    exposed, published = (
        [port_range(name, value) for value in filters.get(name) or ()] for name in ("expose", "publish")
    )
    is_task = is_true(filters, "is-task")
    newer = _boundary(filters.get("since") or (), ordered)
    older = _boundary(filters.get("before") or (), ordered)

    def passes(container: Container) -> bool:
        return (
            _any(filters, "id", lambda value: container.id.startswith(value))
            and _any(filters, "name", lambda value: matches(value, container.name, f"/{container.name}"))
            and _any(filters, "status", lambda value: value == container.state.status)
            and _any(filters, "exited", lambda value: _exited(container, value))
            and _any(filters, "volume", lambda value: _mounts(container, value))
            and _any(filters, "network", lambda value: _is_in(container, value, network_name))
            and (not exposed or _has_port(_exposed(container), exposed))
            and (not published or _has_port(_published(container), published))
            and _any(filters, "health", lambda value: value == _health(container))
            and not is_task
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


def _has_port(ports: Iterable[tuple[int, str]], wanted: Sequence[tuple[range, str]]) -> bool:
    return any(number in range and protocol == of for number, protocol in ports for range, of in wanted)


def _exposed(container: Container) -> Iterator[tuple[int, str]]:
    for text in container.config.exposed_ports or ():
        number, _, protocol = text.partition("/")
        if number.isdecimal():
            yield int(number), protocol or "tcp"


def _published(container: Container) -> list[tuple[int, str]]:
    """The ports of the host that are its own while it runs."""
    return [(one.host_port, one.protocol) for place in decoded_endpoints(container) for one in place.ports]


def _ancestors(references: Sequence[str], images: Images) -> set[str]:
    """The images of these names, and those that were made from them."""
    found: list[str] = []
    for reference in references:
        with contextlib.suppress(NotFound):
            found.append(images.resolve(reference).id)
    for id in found:  # which grows
        found += (child for child in images.children(id) if child not in found)
    return {*found}


def _boundary(refs: Sequence[str], ordered: Sequence[Container]) -> str | None:
    for ref in refs:
        for container in ordered:
            if container.id.startswith(ref) or container.name == ref.removeprefix("/"):
                return container.created
        raise NotFound(f"No such container: {ref}")
    return None


def _is_in(container: Container, network: str, name_of: Callable[[str], str]) -> bool:
    """By the network's name, its ID or the first digits of that."""
    name = name_of(network)
    return any(name == name_of(ref) for ref in joined(container))
