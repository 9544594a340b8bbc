"""Changing /etc/hosts and /etc/resolv.conf of a container that runs; what else it has written there stays."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from corten.errors import CortenError

_LARGEST = 1 << 20
"""Bytes: the container may have written anything there, and is not to fill the engine's memory."""


def edit(path: Path, *, drop: Callable[[str], bool], add: str = "") -> None:
    """Take the lines out that ``drop`` tells, and put ``add`` at the end. In place: the file is mounted. Raises
    CortenError when it cannot be written, or has grown too large to be read."""
    try:
        _edit(path, drop, add)
    except OSError as error:
        raise CortenError.from_os("change", str(path), error) from error


def replace(path: Path, text: str, *, unchanged_since: int) -> bool:
    """Write another text, in place, unless the file was changed after a time, in nanoseconds since the epoch; whether
    it was written. Raises CortenError."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        with os.fdopen(descriptor, "wb") as file:
            # Not the time of its content, which a container may set to what it likes.
            if os.fstat(descriptor).st_ctime_ns > unchanged_since:
                return False
            file.truncate()
            file.write(text.encode())
    except OSError as error:
        raise CortenError.from_os("change", str(path), error) from error
    return True


def _edit(path: Path, drop: Callable[[str], bool], add: str) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "r+", encoding="utf-8", errors="surrogateescape", newline="") as file:
        if os.fstat(descriptor).st_size > _LARGEST:
            raise CortenError(f"change {path}: it is larger than {_LARGEST} bytes")
        kept = [line for line in file if not drop(line)]
        file.seek(0)
        file.write("".join(kept) + add)
        file.truncate()
