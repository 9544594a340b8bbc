"""The inits that stand by for the next start of an engine."""

from __future__ import annotations

from pathlib import Path

from tests.support.engine import Engine
from tests.support.process import wait_until


def inits(engine: Engine) -> list[int]:
    """The inits that stand by, and are ready."""
    found = []
    for monitor in engine.children(engine.spawner):
        if Path(f"/proc/{monitor}/comm").read_text().strip() == "corten-standby":
            found += [pid for pid in engine.children(monitor) if len(mount_points(pid)) > 8 and not has_host(pid)]
    return found


def mount_points(pid: int) -> list[str]:
    return [line.split()[4] for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines()]


def has_host(pid: int) -> bool:
    return any(point.startswith("/sys/fs/cgroup") for point in mount_points(pid))


def await_standby(engine: Engine) -> None:
    wait_until(lambda: len(inits(engine)) == 2, "two inits that stand by")
