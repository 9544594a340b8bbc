"""Where things are: the data root, the run directory, and the names derived from them."""

from __future__ import annotations

import dataclasses
import functools
import os
from pathlib import Path

from corten.wire import places


@dataclasses.dataclass(frozen=True, slots=True)
class Paths:
    """The places of one engine. Engines of different roots share none of them."""

    root: Path
    run: Path

    @classmethod
    def of(cls, root: Path) -> Paths:
        """The places of a data root; the run directory's name is short, because sockets' paths are (108 bytes)."""
        return cls(root, Path(places.run_directory(str(root), os.environ)))

    @property
    def socket(self) -> Path:
        """Where the API listens by default."""
        return self.run / places.SOCKET

    @property
    def monitors(self) -> Path:
        """The directory of the monitors' adoption sockets."""
        return self.run / "m"

    @property
    def helper(self) -> Path:
        """Where the network helper is found."""
        return self.run / "net.sock"

    @property
    def staging(self) -> Path:
        """Everything that is unfinished; emptied when an engine starts."""
        return self.root / "staging"

    @property
    def volumes(self) -> Path:
        """The directory of volumes."""
        return self.root / "volumes"

    @property
    def containers(self) -> Path:
        """The directory of containers."""
        return self.root / "containers"

    @functools.lru_cache(maxsize=64)  # noqa: B019  there is one of these an engine, and a path is slow to make
    def container(self, id: str) -> Path:
        """A container's directory."""
        return self.containers / id

    def log(self, id: str) -> Path:
        """A container's json-file log."""
        return self.container(id) / f"{id}-json.log"

    def monitor(self, id: str) -> Path:
        """The adoption socket of a container's monitor."""
        return self.monitors / f"{id[:16]}.sock"


def derived_name(root: Path, *, standard: str, other: str) -> str:
    """A name of the machine that belongs to one root: ``standard`` for the user's standard root, else ``other`` with
    ``%s`` replaced by the root's fingerprint."""
    path = str(root)
    return standard if places.is_standard(path, os.environ) else other % places.fingerprint(path)
