"""Containers whose root is a copy of their image's files: those of layers that no overlay can be made of. The copy is
made when the root is first needed (:mod:`corten.spawner.copies`), and is what the container writes to."""

from __future__ import annotations

from pathlib import Path

from corten.engine.trees import size_of

_ROOT, _STAMP = "root", ".copied"
"""A copy is whole when its stamp is beside it."""


def place(id: str) -> str:
    """Where the copy is, below the data root."""
    return f"containers/{id}/{_ROOT}"


def is_made(copy: Path) -> bool:
    """Whether a copy is whole."""
    return copy.with_name(f"{copy.name}{_STAMP}").exists()


def size_of_changes(home: Path) -> int:
    """Bytes of the files that a container wrote or changed, from its directory. May take long."""
    try:
        since = (home / f"{_ROOT}{_STAMP}").stat().st_ctime_ns
    except FileNotFoundError:
        return size_of(home / "upper")
    return size_of(home / _ROOT, since)
