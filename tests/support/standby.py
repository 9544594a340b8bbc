"""The inits that stand by for the next start of an engine."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from tests.support.engine import Engine
from tests.support.process import wait_until


def inits(engine: Engine) -> list[int]:
    """The inits that stand by, and are ready: they have left the host's tree."""
    found = []
    for monitor in engine.children(engine.spawner):
        with contextlib.suppress(OSError):  # it has just left
            if Path(f"/proc/{monitor}/comm").read_text().strip() == "corten-standby":
                found += [pid for pid in engine.children(monitor) if _is_ready(pid)]
    return found


def _is_ready(pid: int) -> bool:
    if is_poised(pid):
        return True
    points = mount_points(pid)
    return len(points) > 8 and not any(point.startswith("/sys/fs/cgroup") for point in points)


def is_poised(pid: int) -> bool:
    """Whether it waits for nothing but its command."""
    return os.readlink(f"/proc/{pid}/exe").startswith("/memfd:corten-latch")


def await_poised(engine: Engine) -> list[int]:
    """Those who are poised, when two stand by and one at least is."""
    wait_until(lambda: len(inits(engine)) == 2 and any(map(is_poised, inits(engine))), "an init that is poised")
    return [pid for pid in inits(engine) if is_poised(pid)]


def mount_points(pid: int) -> list[str]:
    """Where something is mounted in the namespace of a process."""
    return [line.split()[4] for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines()]


def awaited(engine: Engine) -> set[str]:
    """The IDs of the containers that are to be: their inits are in their control groups."""
    found: set[str] = set()
    for pid in inits(engine):
        with contextlib.suppress(OSError):  # it has just left
            found.update(re.findall(r"\b[0-9a-f]{64}\b", Path(f"/proc/{pid}/cgroup").read_text()))
    return found


def await_standby(engine: Engine) -> None:
    """Return when both stand by."""
    wait_until(lambda: len(inits(engine)) == 2, "two inits that stand by")
