"""Indexes inside indexes (OCI image-spec, image-index.md: an index may name further ones), unfolded within bounds.

Content that is named by its digest cannot name itself, but a few indexes can name each other so often that what they
say has no end in a lifetime: depth and number are bounded.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

from corten.errors import DataCorrupt
from corten.spec.descriptor import INDEXES, Descriptor, Index
from corten.spec.platform import Platform

MAX_DEPTH = 4
"""Indexes one in the other, the outermost included."""
MAX_INDEXES = 64
"""In all; each has a few megabytes at most."""
MAX_ENTRIES = 4096

Look = Callable[[Descriptor], Index | None]
"""Opens an index that another one names; None where it is not to be looked into."""


def unfold(index: Index, look: Look) -> Iterator[Descriptor]:
    """All that an index names, an index in it after what that names itself: in the order in which a registry takes
    them. What tells no platform has that of the index around it. Raises DataCorrupt beyond the bounds, and what
    ``look`` raises."""
    return _Unfolding(look).entries(index, None, 1)


def images(index: Index, look: Look) -> list[Descriptor]:
    """The manifests of an index, and of those in it. Raises as :func:`unfold`."""
    return [entry for entry in unfold(index, look) if entry.media_type not in INDEXES]


class _Unfolding:
    def __init__(self, look: Look) -> None:
        self._look = look
        self._entries, self._indexes = MAX_ENTRIES, MAX_INDEXES

    def entries(self, index: Index, around: Platform | None, depth: int) -> Iterator[Descriptor]:
        for entry in index.manifests:
            self._entries = _spent(self._entries, f"more than {MAX_ENTRIES} manifests")
            own = dataclasses.replace(entry, platform=entry.platform or around, annotations=())
            if entry.media_type in INDEXES and (inner := self._opened(own, depth)) is not None:
                yield from self.entries(inner, own.platform, depth + 1)
            yield own

    def _opened(self, entry: Descriptor, depth: int) -> Index | None:
        if depth == MAX_DEPTH:
            raise DataCorrupt(f"index {entry.digest}: more than {MAX_DEPTH} are one in the other")
        self._indexes = _spent(self._indexes, f"more than {MAX_INDEXES} indexes")
        return self._look(entry)


def _spent(left: int, what: str) -> int:
    if not left:
        raise DataCorrupt(f"unfold an index: {what} are in it")
    return left - 1
