"""Where things are: the data root, the run directory, and the names derived from them."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from pathlib import Path

STANDARD_ROOT = Path("/var/lib/corten")
_STANDARD_RUN = Path("/run/corten")


@dataclasses.dataclass(frozen=True, slots=True)
class Paths:
    """The places of one engine. Engines of different roots share none of them."""

    root: Path
    run: Path

    @classmethod
    def of(cls, root: Path) -> Paths:
        """The places of a data root; the run directory's name is short, because sockets' paths are (108 bytes)."""
        if is_standard(root):
            return cls(root, _STANDARD_RUN)
        return cls(root, Path(f"{_STANDARD_RUN}-{fingerprint(root)}"))

    @property
    def socket(self) -> Path:
        """Where the API listens by default."""
        return self.run / "corten.sock"

    @property
    def monitors(self) -> Path:
        """The directory of the monitors' adoption sockets."""
        return self.run / "m"

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

    def container(self, id: str) -> Path:
        """A container's directory."""
        return self.containers / id

    def log(self, id: str) -> Path:
        """A container's json-file log."""
        return self.container(id) / f"{id}-json.log"

    def monitor(self, id: str) -> Path:
        """The adoption socket of a container's monitor."""
        return self.monitors / f"{id[:16]}.sock"


def is_standard(root: Path) -> bool:
    """Whether a root is the machine's own."""
    return os.path.realpath(root) == str(STANDARD_ROOT)


def fingerprint(root: Path) -> str:
    """Eight hex digits that tell roots apart."""
    return hashlib.sha256(os.path.realpath(root).encode()).hexdigest()[:8]


def derived_name(root: Path, *, standard: str, other: str) -> str:
    """A name of the machine that belongs to one root: ``standard`` for the standard root, else ``other`` with ``%s``
    replaced by the root's fingerprint."""
    return standard if is_standard(root) else other % fingerprint(root)
