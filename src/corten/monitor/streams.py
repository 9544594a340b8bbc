"""The monitor's ends of a container's standard streams."""

from __future__ import annotations

import contextlib
import dataclasses
import os

from corten.spec.monitor import MASTER, STDERR, STDIN, STDOUT, MonitorSpec

CHUNK = 64 << 10


@dataclasses.dataclass(slots=True)
class Streams:
    """Our ends by name: ``stdin`` to write, ``stdout`` and ``stderr`` to read, or a terminal's ``master``."""

    held: dict[str, int] = dataclasses.field(default_factory=dict)

    def sources(self) -> dict[int, str]:
        """What is read, by descriptor; a terminal's output counts as stdout."""
        names = {STDOUT: STDOUT, STDERR: STDERR, MASTER: STDOUT}
        return {self.held[name]: stream for name, stream in names.items() if name in self.held}

    def drop(self, descriptor: int) -> None:
        """Close one of ours."""
        for name, held in list(self.held.items()):
            if held == descriptor:
                del self.held[name]
                os.close(descriptor)

    def close_stdin(self) -> None:
        """End of file for the container, once the engine has closed its copy too."""
        with contextlib.suppress(KeyError):
            os.close(self.held.pop(STDIN))

    def close(self) -> None:
        """Close all."""
        for descriptor in self.held.values():
            os.close(descriptor)
        self.held.clear()


@contextlib.contextmanager
def opened(spec: MonitorSpec):  # type: ignore[no-untyped-def]
    """(our ends, the init's three descriptors); the init's are closed at the end of the block."""
    streams, theirs = Streams(), []
    try:
        if spec.terminal:
            yield streams, (-1, -1, -1)
            return
        if spec.open_stdin:
            reader, streams.held[STDIN] = os.pipe()
        else:
            reader = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        theirs.append(reader)
        for name in (STDOUT, STDERR):
            streams.held[name], writer = os.pipe()
            theirs.append(writer)
        yield streams, tuple(theirs)
    except BaseException:
        streams.close()
        raise
    finally:
        for descriptor in theirs:
            os.close(descriptor)


def read(descriptor: int, size: int = CHUNK) -> bytes | None:
    """The next bytes; None when there are none now, empty at the end. A terminal ends with EIO."""
    try:
        return os.read(descriptor, size)
    except BlockingIOError:
        return None
    except OSError:
        return b""
