"""Writing a container's log, and rotating it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from corten.spec.monitor import LogSpec
from corten.wire.jsonlog import encode

_SECOND = 1_000_000_000


class LogWriter:
    """Docker's json-file log: ``path`` is the newest file, ``path.1`` the one before it, and so on.

    ``generation`` counts the rotations of this writer. Not more than ``max_file`` files are kept; a reader that has
    an older one open reads it to its end all the same.
    """

    def __init__(self, spec: LogSpec, now: Callable[[], int] = time.time_ns) -> None:
        self._spec = spec
        self._now = now
        self._second = -1
        self._prefix = ""
        self.generation = 0
        self._file = self._open()
        self.size = os.fstat(self._file).st_size

    def _open(self) -> int:
        return os.open(self._spec.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def write(self, data: bytes, stream: str) -> bool:
        """Append output; True when a new generation was begun for it. Raises OSError (a full disk) with nothing of
        ``data`` written."""
        rotated = 0 < self._spec.max_size <= self.size
        if rotated:
            self._rotate()
        entries = encode(data, stream, self._time())
        try:
            self._append(entries)
        except OSError:
            os.ftruncate(self._file, self.size)
            raise
        self.size += len(entries)
        return rotated

    def _append(self, entries: bytes) -> None:
        left = memoryview(entries)
        while left:
            left = left[os.write(self._file, left) :]

    def _rotate(self) -> None:
        path = self._spec.path
        for number in range(max(self._spec.max_file, 1) - 1, 0, -1):
            older = f"{path}.{number}"
            newer = f"{path}.{number - 1}" if number > 1 else path
            if os.path.exists(newer):
                os.rename(newer, older)
        if self._spec.max_file <= 1:
            os.unlink(path)
        file = self._open()
        os.close(self._file)
        self._file, self.size = file, 0
        self.generation += 1

    def reader(self) -> int:
        """A descriptor that reads the newest file from its start."""
        return os.open(self._spec.path, os.O_RDONLY | os.O_CLOEXEC)

    def _time(self) -> str:
        second, nanoseconds = divmod(self._now(), _SECOND)
        if second != self._second:
            self._second = second
            self._prefix = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._prefix}.{nanoseconds:09d}Z"

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)
