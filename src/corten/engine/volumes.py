"""Volumes: directories of the data root that outlive containers."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from corten.engine.clock import now
from corten.engine.database import Database, Table
from corten.engine.events import Events
from corten.engine.filters import Filters, check_filters, has_labels, is_true, matches
from corten.engine.model import Container, Volume
from corten.engine.names import new_id, volume_name
from corten.engine.trees import Graveyard, size_of
from corten.engine.volume_mounts import is_mounted_at_start
from corten.errors import Conflict, CortenError, InvalidInput, NotFound, Unsupported

ANONYMOUS = "com.docker.volume.anonymous"
"""The label that marks a volume without a name of the user's: Docker's, so that its clients know it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Pruned:
    """What a prune removed, and the bytes that came free."""

    deleted: tuple[str, ...]
    reclaimed: int


class Volumes:
    """The volumes of one engine (driver ``local``)."""

    def __init__(
        self,
        directory: Path,
        database: Database,
        events: Events,
        graveyard: Graveyard,
        containers: Callable[[], Iterable[Container]],
    ) -> None:
        self._directory = directory
        self._table = Table(database, "volumes")
        self._events = events
        self._graveyard = graveyard
        self._containers = containers
        self._volumes = {volume.name: volume for volume in self._table.load(Volume)}
        directory.mkdir(mode=0o711, exist_ok=True)

    def create(
        self,
        name: str = "",
        *,
        driver: str = "local",
        options: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        anonymous: bool = False,
    ) -> Volume:
        """A volume; the one that is there when the name is known; a random name when there is none. An ``anonymous``
        one is a container's own, whatever its name.

        Raises InvalidInput, NotFound (driver), Unsupported (driver options).
        """
        if name and name in self._volumes:
            return self._volumes[name]
        marks = dict(labels or {}) if name and not anonymous else {**(labels or {}), ANONYMOUS: ""}
        name = volume_name(name) if name else new_id()
        if (driver or "local") != "local":
            raise NotFound(f'create {name}: error looking up volume plugin {driver}: plugin "{driver}" not found')
        chosen = dict(options or {})
        _check_options(name, chosen)
        self._make_directory(name)
        volume = Volume(name, "local", str(self.path(name)), now(), marks, chosen)
        try:
            self._table.put(name, volume, durable=True)
        except CortenError:
            self._graveyard.bury(self._directory / name)
            raise
        self._volumes[name] = volume
        self._events.publish("volume", "create", name, {"driver": "local"})
        return volume

    def _make_directory(self, name: str) -> None:
        try:
            os.makedirs(self.path(name), mode=0o755, exist_ok=True)
        except OSError as error:
            raise CortenError.from_os("create", f"volume {name}", error) from error

    def path(self, name: str) -> Path:
        """Where a volume's files are."""
        return self._directory / name / "_data"

    def source(self, name: str) -> str:
        """The directory that containers see: the volume's own, or the one of the host that it was bound to."""
        volume = self.get(name)
        return volume.mountpoint if is_mounted_at_start(volume) else volume.options.get("device") or volume.mountpoint

    def get(self, name: str) -> Volume:
        """A volume. Raises NotFound ``get x: no such volume``."""
        try:
            return self._volumes[name]
        except KeyError:
            raise NotFound(f"get {name}: no such volume") from None

    def list(self, filters: Filters | None = None) -> list[Volume]:
        """All volumes that pass (name, label, driver, dangling), by name. Raises InvalidInput."""
        wanted = check_filters(filters, ("name", "label", "driver", "dangling"))
        used = {name for name, _ in self._uses()}
        found = [volume for volume in self._volumes.values() if _passes(volume, wanted, volume.name in used)]
        return sorted(found, key=lambda volume: volume.name)

    def users(self, name: str) -> Sequence[str]:
        """The IDs of the containers that have a volume."""
        return [id for used, id in self._uses() if used == name]

    def _uses(self) -> Iterator[tuple[str, str]]:
        for container in self._containers():
            for mount in container.mounts:
                if mount.type == "volume":
                    yield mount.name, container.id

    async def remove(self, name: str, *, force: bool = False) -> None:
        """Remove it. Conflict when a container uses it; NotFound unless ``force``."""
        if force and name not in self._volumes:
            return
        self.get(name)
        if users := self.users(name):
            raise Conflict(f"remove {name}: volume is in use - [{', '.join(users)}]")
        self.discard(name)

    def discard(self, name: str) -> None:
        """Remove a volume that no container uses."""
        self._graveyard.bury(self._directory / name)
        self._table.delete(name)
        del self._volumes[name]
        self._events.publish("volume", "destroy", name, {"driver": "local"})

    def discard_unused(self, name: str) -> None:
        """Remove a volume that no container uses, or what there is of one that was never recorded."""
        if name not in self._volumes:
            self._graveyard.bury(self._directory / name)
        elif not self.users(name):
            self.discard(name)

    def discard_anonymous(self, names: Iterable[str], *, of: str) -> None:
        """Remove those among these volumes that are anonymous and that nobody uses but the container ``of``."""
        used = {name for name, user in self._uses() if user != of}
        for name in names:
            volume = self._volumes.get(name)
            if volume is not None and ANONYMOUS in volume.labels and name not in used:
                self.discard(name)

    async def size(self, name: str) -> int:
        """Bytes of a volume's files."""
        return await asyncio.to_thread(size_of, self.path(name))

    async def prune(self, filters: Filters | None = None, told: Callable[[str], None] = lambda _: None) -> Pruned:
        """Remove anonymous volumes (all with filter ``all=true``) that no container uses. Raises InvalidInput."""
        wanted = check_filters(filters, ("label", "label!", "all"))
        used = {name for name, _ in self._uses()}
        everything = is_true(wanted, "all")
        deleted, reclaimed = [], 0
        for volume in list(self._volumes.values()):
            chosen = everything or ANONYMOUS in volume.labels
            if volume.name not in used and chosen and has_labels(volume.labels, wanted):
                size = await self.size(volume.name)
                if volume.name in self._volumes and not self.users(volume.name):
                    self.discard(volume.name)
                    deleted.append(volume.name)
                    told(volume.name)
                    reclaimed += size
        self._events.publish("volume", "prune", "", {"reclaimed": str(reclaimed)})
        return Pruned(tuple(deleted), reclaimed)


_NEEDS = {"device": "type", "type": "device", "o": "device"}


def _check_options(name: str, options: Mapping[str, str]) -> None:
    """The local driver's ``type``, ``o`` and ``device``, which are mount(8)'s: what they mean is seen when the volume
    is mounted. Raises InvalidInput, Unsupported."""
    for key in options.keys() - {"type", "o", "device", "size"}:
        raise InvalidInput(f'create {name}: invalid option: "{key}"')
    if "size" in options:
        raise Unsupported(f"create {name}: quota size requested but no quota support",
                          hint="type=tmpfs takes o=size=…")  # fmt: skip
    is_bind = "bind" in options.get("o", "").split(",")
    for key in options:
        if _NEEDS[key] not in options and not (is_bind and key == "device"):
            raise InvalidInput(f'create {name}: missing required option: "{_NEEDS[key]}"')
    if is_bind and not os.path.isabs(options["device"]):
        raise InvalidInput(f"create {name}: missing device in volume options")


def _passes(volume: Volume, wanted: Mapping[str, Sequence[str]], is_used: bool) -> bool:
    if "dangling" in wanted and is_true(wanted, "dangling") == is_used:
        return False
    if "driver" in wanted and volume.driver not in wanted["driver"]:
        return False
    if "name" in wanted and not any(matches(part, volume.name) for part in wanted["name"]):
        return False
    return has_labels(volume.labels, wanted)
