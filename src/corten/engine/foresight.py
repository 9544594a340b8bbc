"""The plan of a container that was just created, made before its start is asked for.

Most containers are started as soon as they are created: between the two, while the client reads one answer and writes
the next request, the engine has nothing to do.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from corten.engine.container_network import joins_bridge, requested_ports
from corten.engine.model import Container
from corten.engine.planning import Planner, is_self_contained
from corten.engine.reservations import Reservations
from corten.errors import CortenError
from corten.network.endpoint import Endpoint
from corten.runtime.ahead import Forecast


@dataclasses.dataclass(slots=True)
class Foresight:
    """Makes plans with their forecasts, the last created container's ahead."""

    planner: Planner
    reservations: Reservations
    _last: tuple[Container, Sequence[Endpoint], Forecast] | None = None

    def look(self, container: Container) -> None:
        """Make the plan of a container that has a place in its network already, if nothing but its record and that has
        a say in it; and what holds the ports that it is to publish."""
        if joins_bridge(container.host):
            self.planner.networks.ports.expect(requested_ports(container.host, container.config))
        places = self.reservations.of(container)
        if places and is_self_contained(container):
            try:
                self._last = container, places, self._made(container, places)
            except CortenError:  # its start will say why
                return

    def forecast(self, container: Container, endpoints: Sequence[Endpoint]) -> Forecast:
        """The plan for these places. Raises as :meth:`Planner.plan`."""
        if self._last is not None and self._last[0] is container:
            (_, places, forecast), self._last = self._last, None
            if places == endpoints:
                return forecast
        return self._made(container, endpoints)

    def _made(self, container: Container, endpoints: Sequence[Endpoint]) -> Forecast:
        return Forecast.of(self.planner.plan(container, endpoints), listens=container.config.open_stdin)
