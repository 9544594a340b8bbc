"""What the routes call: the engine's use cases, handed over by the composition root."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

from corten.engine.commit import Commits
from corten.engine.containers import Containers
from corten.engine.events import Events
from corten.engine.exec import Execs
from corten.engine.images import Images
from corten.engine.networks import Networks
from corten.engine.registries import Registries
from corten.engine.system import System
from corten.engine.volumes import Volumes

if TYPE_CHECKING:
    from corten.engine.builds import Builds


@dataclasses.dataclass(frozen=True, slots=True)
class Services:
    """The use cases of one engine."""

    containers: Containers
    execs: Execs
    images: Images
    volumes: Volumes
    networks: Networks
    events: Events
    system: System
    commits: Commits
    registries: Registries
    builds: Callable[[], Builds]
    """Those of the engine, with all that they import, when they are first asked for."""
