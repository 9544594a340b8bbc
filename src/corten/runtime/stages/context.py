"""What the operations of one launch share, on either side of the clone."""

from __future__ import annotations

import os
import socket

READY, EXECUTE, LINKED = b"ready", b"execute", b"linked"
"""The words that the two sides say besides reports of failure: init to monitor, monitor to init, monitor to init."""


class LaunchContext:
    """Implements :class:`corten.spec.operation.Context`. In the init it speaks to the monitor over ``channel``."""

    def __init__(self, *, channel: socket.socket | None = None, hold: bool = False, target: int = -1) -> None:
        self.init_pid = 0
        self.root = -1
        self.home = ""
        self.terminal = -1
        self.target = target
        self._channel = channel
        self._hold = hold

    def console(self, master: int, terminal: int) -> None:
        """Send the master to the monitor; keep the terminal, out of the way of 0 to 2."""
        assert self._channel is not None
        socket.send_fds(self._channel, [b"terminal"], [master])
        os.close(master)
        self.terminal = terminal

    def ready(self) -> None:
        """Tell the monitor; where the start is held, wait for its word."""
        assert self._channel is not None
        self._channel.send(READY)
        if self._hold and self._channel.recv(64) != EXECUTE:
            os._exit(1)  # the monitor is gone, and with it who asked
