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
    try:
        return os.readlink(f"/proc/{pid}/exe").startswith("/memfd:corten-latch")
    except OSError:  # it has just left
        return False


def await_poised(engine: Engine) -> list[int]:
    """Those who are poised, when all are who are to be."""
    wait_until(lambda: _poised_of(inits(engine)) == (3, 2), "inits that are poised")
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
    """Return when all stand by: two, one of whom may be poised, or two who are poised and another one."""
    wait_until(lambda: _poised_of(inits(engine)) in ((2, 0), (2, 1), (3, 2)), "inits that stand by")


def _poised_of(some: list[int]) -> tuple[int, int]:
    return len(some), sum(map(is_poised, some))
