"""How much the helper carries at a time: connections and datagrams' clients by its descriptors, bytes by its memory."""

from __future__ import annotations

import resource
import sys

_MOST, _LEAST = 16384, 256
_OTHERS = 4096
"""Descriptors that are left to containers' resolvers and questions under way."""
_MEMORY = 64 << 20
"""Bytes that were read and not yet written, of both directions of all connections, while there are few."""
_LARGEST, _SMALLEST = 1 << 16, 1 << 12


class Room:
    """What there is of it, for all proxies."""

    def __init__(self, most: int | None = None) -> None:
        """``most`` connections and clients; None: what the descriptors allow, two for each."""
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.most = most or max(_LEAST, min(_MOST, (hard - _OTHERS) // 2))
        self._taken = 0
        self._is_told = False

    def take(self) -> bool:
        """Begin one more; whether there is room. That there is none is said once, until half of it is free again: who
        floods a port must not fill the log, too."""
        if self._taken < self.most:
            self._taken += 1
            return True
        if not self._is_told:
            self._is_told = True
            text = f"network helper: {self.most} connections and clients are carried, others are refused"
            print(text, file=sys.stderr, flush=True)
        return False

    def give(self) -> None:
        """One is over."""
        self._taken -= 1
        if self._taken < self.most // 2:
            self._is_told = False

    @property
    def buffer(self) -> int:
        """Bytes that a direction may hold."""
        return max(_SMALLEST, min(_LARGEST, _MEMORY // (2 * max(1, self._taken))))
