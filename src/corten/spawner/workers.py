"""What the spawner's forks can do besides starting: work in a container's namespaces, by kind.

A work gets its arguments and descriptors, writes its result to the descriptors, and returns its exit status: 0 is
done. It may block and it may die: it is a process of its own, and the engine sees its status.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from corten.spawner import archives

Work = Callable[[dict[str, Any], list[int]], int]


def _ping(arguments: dict[str, Any], descriptors: list[int]) -> int:
    """Nothing: shows that workers are forked and reaped."""
    return int(arguments.get("status", 0))


WORKS: dict[str, Work] = {"ping": _ping, **archives.WORKS}
