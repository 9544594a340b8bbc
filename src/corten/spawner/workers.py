"""What the spawner's forks can do besides starting: work in a container's namespaces, by kind.

A work gets its arguments and descriptors, writes its result to the descriptors, and returns its exit status: 0 is
done. It may block and it may die: it is a process of its own, and the engine sees its status.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from corten.network.resolver import hand_over

Work = Callable[[dict[str, Any], list[int]], int]


def _ping(arguments: dict[str, Any], descriptors: list[int]) -> int:
    """Nothing: shows that workers are forked and reaped."""
    return int(arguments.get("status", 0))


def _resolver(arguments: dict[str, Any], descriptors: list[int]) -> int:
    """Make the sockets of a running container's resolver once more; the descriptor is its pidfd."""
    hand_over(arguments["door"], arguments["id"], arguments["run"], descriptors[0], again=True)
    return 0


_SHELVING = ("shelve", "unshelve", "show")
_MAKING = ("changed", "compose")
_SMALL: dict[str, Work] = {"ping": _ping, "resolver": _resolver}


def work(kind: str) -> Work:
    """What does a work. The modules of those on files are imported here, in the fork that needs them and before it
    enters anything: no start has to carry them."""
    if kind in _SMALL:
        return _SMALL[kind]
    if kind == "rewire":
        from corten.spawner.wiring import rewire

        return rewire
    if kind in _SHELVING:
        from corten.spawner import shelving

        return shelving.WORKS[kind]
    if kind in _MAKING:
        from corten.spawner import making

        return making.WORKS[kind]
    from corten.spawner import archives

    return archives.WORKS[kind]
