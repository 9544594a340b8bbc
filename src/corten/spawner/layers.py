"""A container's changes as a layer: an archive in the form of the OCI's image specification (layer.md, "Whiteouts")."""

from __future__ import annotations

import contextlib
import os
import tarfile
from collections.abc import Sequence
from typing import BinaryIO

from corten.spawner import trees

Changes = Sequence[tuple[str, int]]
_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"


def write_layer(output: BinaryIO, upper: str, changes: Changes) -> None:
    """The changes, ``(path, kind)`` sorted by path, of an overlay's upper directory. Names in it are looked at, never
    followed. Raises OSError."""
    with tarfile.open(fileobj=output, mode="w|", format=tarfile.PAX_FORMAT, errorlevel=2) as archive:
        add_changes(archive, upper, changes)


def add_changes(archive: tarfile.TarFile, upper: str, changes: Changes, epoch: int | None = None) -> None:
    """The same into an archive that is open. No file is newer than ``epoch``, in seconds since 1970."""
    links: trees.Links = {}
    for path, kind in changes:
        directory, name = os.path.split(path)
        if kind == trees.DELETED:
            archive.addfile(tarfile.TarInfo(f"{directory}/{_WHITEOUT}{name}".lstrip("/")))
            continue
        with contextlib.suppress(FileNotFoundError):  # gone meanwhile: the container runs
            source = f"{upper}{path}"
            trees.add(archive, source, path.lstrip("/"), os.lstat(source), links, epoch)
            if kind != trees.ADDED and trees.is_opaque(source):  # there is nothing to hide below what is new
                archive.addfile(tarfile.TarInfo(f"{path}/{_OPAQUE}".lstrip("/")))
