"""Places in a network, taken ahead for containers that are to be: whoever stands by for a start plugs its cable in.

Which network that is, the last starts tell, when they were all in the same one and wished for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from corten.engine.model import Container
from corten.engine.networks import Networks
from corten.errors import CortenError
from corten.network import endpoint as places
from corten.network.bridge import BridgeNetwork
from corten.network.endpoint import Endpoint
from corten.network.pool import mac_of
from corten.spec.operation import Operation

_HABIT = 2
"""Starts in the same network, one after the other, that make the next one likely to be in it, too."""


class Reservations:
    """Those of one engine. Implements :class:`corten.engine.standbys.Places`."""

    def __init__(self, networks: Networks) -> None:
        self._networks = networks
        self._last = ""
        self._in_a_row = 0
        self._reserved: dict[str, str] = {}
        """By container ID, the network's."""
        self.overtaken: Callable[[str], None] = lambda _: None
        """Hears of a container whose place went to another one; set by the composition."""

    def note(self, endpoints: Sequence[Endpoint]) -> None:
        """Where a container was started."""
        network = endpoints[0].network_id if len(endpoints) == 1 and _is_plain(endpoints[0]) else ""
        self._in_a_row = self._in_a_row + 1 if network == self._last else 1
        self._last = network

    def reserve(self, id: str) -> list[Operation]:
        """A place for a container that is to be, if it is likely where; the operations that make it. None when that
        network has no address left."""
        bridge = self._networks.bridge(self._last) if self._in_a_row >= _HABIT else None
        if bridge is None:
            return []
        bridge.overtaken = self.overtaken
        try:
            endpoint = bridge.reserve(id)
        except CortenError:
            return []
        self._reserved[id] = bridge.settings.network_id
        return [step for step in places.operations((endpoint,)) if step.of_endpoint]

    def suits(self, id: str, network: str) -> bool:
        """Whether a container in a network, named as users do, could have the place that is reserved for an ID, or
        there is none."""
        place = self._reserved.get(id)
        return place is None or place == self._networks.id_of(network)

    def is_outdated(self, id: str) -> bool:
        """Whether a place is reserved for an ID where the last starts were not, all of them: nobody else uses it up."""
        return self._in_a_row >= _HABIT and self._reserved.get(id, self._last) != self._last

    def release(self, id: str) -> None:
        """Give back what is left of it."""
        if (bridge := self._bridge(id)) is not None:
            bridge.unreserve(id)
        self._reserved.pop(id, None)

    def of(self, container: Container) -> tuple[Endpoint, ...]:
        """The place that is reserved for a container."""
        bridge = self._bridge(container.id)
        place = bridge.reserved(container.id) if bridge is not None else None
        return (place,) if place is not None else ()

    def was_ahead(self, container: Container) -> bool:
        """Whether a container's place is the one that was reserved for it."""
        bridge = self._bridge(container.id)
        return bridge is not None and bridge.was_reserved(container.id)

    def renew(self, container: Container) -> tuple[Endpoint, ...]:
        """Another place for a container that cannot have the reserved one: nobody stands by for such a start. Raises
        Conflict."""
        if (bridge := self._bridge(container.id)) is not None:
            bridge.renew(container.id)
        return self._networks.attach(container)

    def _bridge(self, id: str) -> BridgeNetwork | None:
        return self._networks.bridge(self._reserved.get(id, ""))


def _is_plain(endpoint: Endpoint) -> bool:
    return endpoint.driver == "bridge" and endpoint.mac == mac_of(endpoint.ip) and not endpoint.switches
