"""Directory trees that go, and how large they are."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path

from corten.engine.names import new_id
from corten.errors import CortenError
from corten.sys.removal import remove_tree

_log = logging.getLogger(__name__)
_BLOCK = 512


class Graveyard:
    """Deletes trees in two steps: out of the way by a rename, at once; then, beside, file by file. What an engine did
    not get done, the next one does: it empties the directory when it starts."""

    def __init__(self, staging: Path) -> None:
        self._staging = staging
        self._digging: set[asyncio.Task[None]] = set()

    def bury(self, path: Path) -> None:
        """The tree is gone from its place when this returns; nothing when it was not there. Raises CortenError."""
        grave = self._staging / f"removed-{new_id()[:16]}"
        try:
            os.rename(path, grave)
        except FileNotFoundError:
            return
        except OSError as error:
            raise CortenError.from_os("remove", str(path), error) from error
        task = asyncio.ensure_future(asyncio.to_thread(_delete, grave))
        self._digging.add(task)
        task.add_done_callback(self._digging.discard)

    async def settle(self) -> None:
        """Wait until nothing is left to delete."""
        await asyncio.gather(*self._digging, return_exceptions=True)


def _delete(path: Path) -> None:
    try:
        remove_tree(path)
    except OSError as error:
        _log.warning("remove %s: %s", path, error)


def size_of(path: Path, since: int = -1) -> int:
    """Bytes of the files below a directory, as du counts them; a file with several names once. Only those that changed
    after ``since``, in nanoseconds since 1970, are counted. May take long."""
    seen: set[tuple[int, int]] = set()
    total, pending = 0, [os.fspath(path)]
    while pending:
        try:
            entries = list(os.scandir(pending.pop()))
        except OSError:  # gone, or not ours to look at
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                pending.append(entry.path)
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError:  # the same, or deeper than a path can say
                continue
            identity = (status.st_dev, status.st_ino)
            if identity not in seen and status.st_ctime_ns > since:
                seen.add(identity)
                total += min(status.st_size, status.st_blocks * _BLOCK) if status.st_blocks else status.st_size
    return total
