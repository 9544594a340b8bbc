"""What the operations of one launch share, on either side of the clone."""

from __future__ import annotations

import os
import socket

READY, EXECUTE, LINKED = b"ready", b"execute", b"linked"
"""The words that the two sides say besides reports of failure: init to monitor, monitor to init, monitor to init."""


class LaunchContext:
    """Implements :class:`corten.spec.operation.Context` for the monitor's operations."""

    def __init__(self) -> None:
        self.init_pid = 0
        self.root = -1
        self.home = ""
        self.command = ""
        self.terminal = -1
        self.target = -1

    def ready(self) -> None:
        """Only an init becomes ready."""
        raise NotImplementedError

    def console(self, master: int, terminal: int) -> None:
        """Only an init has a console."""
        raise NotImplementedError


class InitContext(LaunchContext):
    """The init's, which speaks to the monitor over ``channel``; ``target`` is whom an exec joins."""

    def __init__(self, channel: socket.socket, *, hold: bool, target: int) -> None:
        super().__init__()
        self.target = target
        self._channel = channel
        self._hold = hold

    def console(self, master: int, terminal: int) -> None:
        """Send the master to the monitor; keep the terminal."""
        socket.send_fds(self._channel, [b"terminal"], [master])
        os.close(master)
        self.terminal = terminal

    def ready(self) -> None:
        """Tell the monitor; where the start is held, wait for its word."""
        self._channel.send(READY)
        if self._hold and self._channel.recv(64) != EXECUTE:
            os._exit(1)  # the monitor is gone, and with it who asked
