"""Events of volumes that come into use and go out of it, with the containers that have them."""

from __future__ import annotations

import asyncio
import dataclasses

from corten.engine.events import Event, Events
from corten.engine.model import Container, MountPoint
from corten.engine.records import Records

_ACTIONS = {"start": "mount", "die": "unmount"}


@dataclasses.dataclass(frozen=True, slots=True)
class VolumeUse:
    """Tells of the volumes of containers that begin or end."""

    records: Records
    events: Events

    def heard(self, event: Event) -> None:
        """An event of the engine's; what follows from it is told after it."""
        action = _ACTIONS.get(event.action)
        if action is None or event.type != "container" or event.actor not in self.records:
            return
        container = self.records.get(event.actor)
        for mount in container.mounts:
            if mount.type == "volume":
                asyncio.get_running_loop().call_soon(self._tell, action, container, mount)

    def _tell(self, action: str, container: Container, mount: MountPoint) -> None:
        about = {"driver": mount.driver or "local", "container": container.id}
        if action == "mount":
            about |= {
                "destination": mount.destination, "read/write": str(mount.rw).lower(), "propagation": mount.propagation,
            }  # fmt: skip
        self.events.publish("volume", action, mount.name, about)
