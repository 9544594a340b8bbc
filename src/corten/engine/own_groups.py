"""The control groups of Corten's own processes, beside those of its containers.

The engine has one for itself: it answers everybody, and among those who start containers, or in the group of its
client's session, it would wait with the answer for each of them. All that the spawner forks is in the other.
"""

from __future__ import annotations

import contextlib
import os
import time

from corten.runtime.cgroups import CgroupManager, join

_ENGINE, _SPAWNER = "engine", "spawner"
_WEIGHTS = {_ENGINE: 10, _SPAWNER: 5}
"""Their shares of the processors, where these are scarce, in those of a container."""
_LOOKS, _LOOK = 50, 0.02
"""How often, and after how many seconds each, it is seen whether they have left."""


def enter(cgroups: CgroupManager, parent: str) -> None:
    """Move this process, the engine, into its group. Version 2 takes no processes beside groups that hand controllers
    down, so that it is a leaf."""
    for name, weight in _WEIGHTS.items():
        group = f"{parent}/{name}"
        for file in cgroups.join_files(group):
            with contextlib.suppress(OSError):  # not delegated to this user: then all stay where they were started
                os.makedirs(os.path.dirname(file), exist_ok=True)
        with contextlib.suppress(OSError):  # the same, or no controller of processors
            cgroups.favour(group, weight)
    join(cgroups.join_files(f"{parent}/{_ENGINE}"))


def of_spawner(cgroups: CgroupManager, parent: str) -> tuple[str, ...]:
    """The files by which the spawner joins its group."""
    return cgroups.join_files(f"{parent}/{_SPAWNER}")


def leave(cgroups: CgroupManager, parent: str, *, idle: bool) -> None:
    """Go back to where the engine came from and take the groups along, and the parent when no container is left in it.

    In those of an ``idle`` engine are at most monitors whose work is done, and who are about to leave.
    """
    join(cgroups.leave_files())
    for _ in range(_LOOKS if idle else 1):
        if cgroups.remove(parent):
            return
        time.sleep(_LOOK)
