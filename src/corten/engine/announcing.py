"""Whoever takes a place on a bridge is announced, once the starter has been told."""

from __future__ import annotations

import asyncio
import dataclasses
import logging

from corten.engine.clock import TOLD
from corten.engine.events import Event
from corten.engine.networks import Networks
from corten.network.announce import Announcer

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Announcing:
    """Hears the engine's events for it."""

    networks: Networks
    announcer: Announcer = dataclasses.field(default_factory=Announcer)

    def heard(self, event: Event) -> None:
        """A container has joined a network."""
        if event.type == "network" and event.action == "connect":
            container_id, network_id = event.attributes.get("container", ""), event.actor
            asyncio.get_running_loop().call_later(TOLD, self._announce, container_id, network_id)

    def _announce(self, container_id: str, network_id: str) -> None:
        for place in self.networks.endpoints_of(container_id):
            if place.network_id == network_id and place.driver == "bridge":
                addresses = tuple(filter(None, (place.ip, place.ip6)))
                try:
                    self.announcer.announce(place.bridge, place.host_interface, place.mac, addresses)
                except OSError as error:  # who knew its predecessor asks again within a minute
                    _log.info("container %s: announce %s: %s", container_id[:12], place.ip, error)

    def close(self) -> None:
        """Let the sockets go."""
        self.announcer.close()
