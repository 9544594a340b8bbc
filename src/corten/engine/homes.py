"""The directory of each container, on the disk."""

from __future__ import annotations

import contextlib
import dataclasses
import os

from corten.engine.model import Container
from corten.engine.paths import Paths
from corten.engine.trees import Graveyard

ETC = ("hostname", "hosts", "resolv.conf")
"""The files of a container's that the engine writes and the container sees in /etc."""
# The upper directory gives the container's root its mode.
_LAYER = (("upper", 0o755), ("work", 0o700))


@dataclasses.dataclass(frozen=True, slots=True)
class Homes:
    """Makes and buries them."""

    paths: Paths
    graveyard: Graveyard

    def make(self, id: str) -> None:
        """The directories of a container, as far as they are missing. Raises OSError."""
        home = os.fspath(self.paths.container(id))
        os.makedirs(home, mode=0o710, exist_ok=True)
        for name, mode in (*_LAYER, ("merged", 0o700)):
            with contextlib.suppress(FileExistsError):
                os.mkdir(f"{home}/{name}", mode)

    def make_ahead(self, id: str) -> None:
        """Those of a container that is to be, with its files, so that they can be mounted; who stands by for it makes
        room there for the record of its end. Raises OSError."""
        self.make(id)
        for name in ETC:
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
            os.close(os.open(self.paths.container(id) / name, flags, 0o644))

    def renew(self, id: str) -> None:
        """Empty what it writes to: another image was mounted below that. Raises OSError, CortenError."""
        for name, _ in _LAYER:
            self.graveyard.bury(self.paths.container(id) / name)
        self.make(id)

    def bury(self, id: str) -> None:
        """Remove all of it. Raises CortenError."""
        self.graveyard.bury(self.paths.container(id))


def lowers(container: Container) -> list[str]:
    """What its root stands on, highest first, below the data root. Without a layer that is an empty directory: an
    overlay has one below it at least."""
    layers = [f"layers/{short}/fs" for short in reversed(container.layers)]
    return layers or [f"containers/{container.id}/merged"]
