"""Small readers of the kernel's control files."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from corten.errors import CortenError

_PATIENCE = 10.0


def read(path: str, missing: str | None = None) -> str:
    """A control file's text; ``missing`` where the kernel has no such file. Raises OSError."""
    try:
        with open(path) as file:
            return file.read()
    except FileNotFoundError:
        if missing is None:
            raise
        return missing


def number(path: str, *, default: int | None) -> int | None:
    """A control file's number; ``default`` for ``max`` and where there is no such file."""
    text = read(path, missing="").strip()
    return int(text) if text and text != "max" else default


def pairs(path: str) -> list[tuple[str, int]]:
    """The ``name value`` lines of a flat-keyed file."""
    found = []
    for line in read(path, missing="").splitlines():
        name, _, value = line.partition(" ")
        if value.strip().lstrip("-").isdigit():
            found.append((name, int(value)))
    return found


def walk_processes(directory: str) -> list[int]:
    """All process ids in a group and those below it."""
    found: list[int] = []
    for path, _, _ in os.walk(directory):
        found += (int(line) for line in read(f"{path}/cgroup.procs", missing="").split())
    return found


def wait_for(done: Callable[[], bool], retry: Callable[[], None] = lambda: None) -> None:
    """Look until it is so; the kernel has no event for it in version 1. Raises CortenError after ten seconds."""
    end = time.monotonic() + _PATIENCE
    pause = 0.0005
    while not done():
        if time.monotonic() > end:
            raise CortenError("freeze control group: its processes did not come to a stand")
        time.sleep(pause)
        pause = min(pause * 2, 0.05)
        retry()


def subgroups(path: str) -> list[str]:
    """The names of the groups below one; none where it is not there."""
    try:
        with os.scandir(path) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []
