"""Writing a container's log, and rotating it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from corten.spec.monitor import LogSpec
from corten.wire import jsonlog

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.monitor.compression import Compressor

_SECOND = 1_000_000_000


class LogWriter:
    """Docker's json-file or local log: ``path`` is the newest file, ``path.1`` the one before it, and so on; those that
    are compressed have ``.gz`` behind. Without a path the files have no names.

    ``generation`` counts the rotations of this writer. Not more than ``max_file`` files are kept; a reader that has
    an older one open reads it to its end all the same.
    """

    def __init__(self, spec: LogSpec, now: Callable[[], int] = time.time_ns) -> None:
        self._spec = spec
        self._now = now
        self._second = -1
        self._prefix = ""
        self._compressor: Compressor | None = None
        self._encode = self._encoder()
        self._begun: set[str] = set()
        """The streams whose last line has no end yet."""
        self.generation = 0
        self._file = self._open()
        self.size = os.fstat(self._file).st_size

    def _encoder(self) -> Callable[[bytes, str], bytes]:
        if self._spec.driver == "json-file":
            attributes = _json(self._spec.attributes)
            return lambda data, stream: jsonlog.encode(data, stream, self._time(), attributes)
        # What only few containers use is not in every monitor's memory.
        from corten.wire import locallog

        binary = locallog.encode_attributes(self._spec.attributes)
        return lambda data, stream: locallog.encode(data, stream, self._now(), binary)

    def _open(self) -> int:
        if not self._spec.path:
            return os.memfd_create("log", os.MFD_CLOEXEC)
        return os.open(self._spec.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def until_rotation(self, data: bytes, stream: str) -> int:
        """How many bytes of some output are to be written at once: where a rotation is due, a line that has begun is
        ended before it, so that no file begins with the end of one."""
        if self._is_due() and stream in self._begun:
            return data.find(b"\n") + 1 or len(data)
        return len(data)

    def _is_due(self) -> bool:
        return 0 < self._spec.max_size <= self.size

    def write(self, data: bytes, stream: str) -> bool:
        """Append output; True when a new generation was begun for it. Raises OSError (a full disk) with nothing of
        ``data`` written."""
        endless = self.size >= 2 * self._spec.max_size
        rotated = self._is_due() and (stream not in self._begun or endless)
        if rotated:
            self._rotate()
        entries = self._encode(data, stream)
        try:
            self._append(entries)
        except OSError:
            os.ftruncate(self._file, self.size)
            raise
        self.size += len(entries)
        if data.endswith(b"\n"):
            self._begun.discard(stream)
        else:
            self._begun.add(stream)
        return rotated

    def _append(self, entries: bytes) -> None:
        left = memoryview(entries)
        while left:
            left = left[os.write(self._file, left) :]

    def _rotate(self) -> None:
        if self._spec.path:
            self._rename()
        file = self._open()
        os.close(self._file)
        self._file, self.size = file, 0
        self.generation += 1
        if self._spec.compress and self._spec.path and self._spec.max_file > 1:
            self._compressing().begin(f"{self._spec.path}.1")

    def _compressing(self) -> Compressor:
        if self._compressor is None:
            from corten.monitor.compression import Compressor

            self._compressor = Compressor()
        return self._compressor

    def _rename(self) -> None:
        """Each file takes the place of the one before it; the oldest goes."""
        path, most = self._spec.path, max(self._spec.max_file, 1)
        if self._compressor is not None:
            self._compressor.wait()
        _remove(f"{path}.{most - 1}", f"{path}.{most - 1}.gz")
        for number in range(most - 2, 0, -1):
            for ending in ("", ".gz"):
                if os.path.exists(f"{path}.{number}{ending}"):
                    os.rename(f"{path}.{number}{ending}", f"{path}.{number + 1}{ending}")
        if most > 1:
            os.rename(path, f"{path}.1")
        else:
            os.unlink(path)

    def reader(self) -> int:
        """A descriptor that reads the newest file from its start."""
        return os.open(self._spec.path, os.O_RDONLY | os.O_CLOEXEC) if self._spec.path else os.dup(self._file)

    def _time(self) -> str:
        second, nanoseconds = divmod(self._now(), _SECOND)
        if second != self._second:
            self._second = second
            self._prefix = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._prefix}.{nanoseconds:09d}Z"

    def close(self) -> None:
        """Close the file."""
        if self._compressor is not None:
            self._compressor.wait()
        os.close(self._file)


def _remove(*paths: str) -> None:
    for path in paths:
        try:
            os.unlink(path)
        except FileNotFoundError:
            continue


def _json(attributes: dict[str, str]) -> str:
    """A JSON object; '' for none."""
    pairs = (f"{jsonlog.quoted(name)}:{jsonlog.quoted(text)}" for name, text in sorted(attributes.items()))
    return f"{{{','.join(pairs)}}}" if attributes else ""
