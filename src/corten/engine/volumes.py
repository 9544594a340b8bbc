"""Volumes: directories of the data root that outlive containers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from corten.engine.containers import Pruned
from corten.engine.model import Volume

Filters = Mapping[str, Sequence[str]]


class Volumes:
    """The volumes of one engine (driver ``local``)."""

    def create(
        self, name: str = "", *, driver: str = "local", options: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None
    ) -> Volume:
        """A volume; the one that is there when the name is known; a random name when there is none."""
        raise NotImplementedError

    def get(self, name: str) -> Volume:
        """A volume. NotFound ``get x: no such volume``."""
        raise NotImplementedError

    def list(self, filters: Filters | None = None) -> list[Volume]:
        """All volumes that pass (name, label, driver, dangling), by name."""
        raise NotImplementedError

    async def remove(self, name: str, *, force: bool = False) -> None:
        """Remove it. Conflict when a container uses it; NotFound unless ``force``."""
        raise NotImplementedError

    async def prune(self, filters: Filters | None = None) -> Pruned:
        """Remove anonymous volumes (all with filter ``all=true``) that no container uses."""
        raise NotImplementedError
