"""A command on a real terminal: for ``-it``, detach keys, window sizes, and what is left of raw mode."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from types import TracebackType

from tests.support.process import end


class Terminal:
    """A child on the slave of a pseudo-terminal, its controlling one; the test holds the master."""

    def __init__(
        self, argv: Sequence[str], *, env: Mapping[str, str], rows: int = 24, columns: int = 80
    ) -> None:
        self._master, self._slave = pty.openpty()
        self.resize(rows, columns)
        self.seen = b""
        self.before = termios.tcgetattr(self._slave)
        self.process = subprocess.Popen(
            list(argv),
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            env={**env, "TERM": "xterm"},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        end(self.process, seconds=5)
        os.close(self._master)
        os.close(self._slave)

    def send(self, keys: bytes | str) -> None:
        """Type."""
        os.write(self._master, keys.encode() if isinstance(keys, str) else keys)

    def resize(self, rows: int, columns: int) -> None:
        """Change the window's size; the kernel sends SIGWINCH."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def expect(self, wanted: bytes | str, *, seconds: float = 20) -> bytes:
        """Read until ``wanted`` appears; what came before and with it. Raises AssertionError."""
        needle = wanted.encode() if isinstance(wanted, str) else wanted
        deadline = time.monotonic() + seconds
        while needle not in self.seen:
            self._more(deadline, needle)
        head, _, self.seen = self.seen.partition(needle)
        return head + needle

    def _more(self, deadline: float, needle: bytes) -> None:
        ready, _, _ = select.select([self._master], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, f"{needle!r} did not appear in {self.seen!r}"
        self.seen += os.read(self._master, 65536)

    def wait(self, *, seconds: float = 20) -> int:
        """The exit code, when the command has left; output that came meanwhile is kept in ``seen``."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            ready, _, _ = select.select([self._master], [], [], 0.02)
            if ready:
                self.seen += os.read(self._master, 65536)
            assert time.monotonic() < deadline, f"still running; the screen has {self.seen!r}"
        return self.process.returncode

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the command itself."""
        self.process.send_signal(number)

    @property
    def restored(self) -> bool:
        """Whether the terminal's modes are as they were before the command started."""
        return termios.tcgetattr(self._slave) == self.before
