"""Terminals: the other end of a pair, the controlling terminal, the window's size."""

from __future__ import annotations

import fcntl
import os
import struct
import termios

_TIOCGPTPEER = 0x5441
_TIOCSPTLCK = 0x40045431


def peer(master: int) -> int:
    """The terminal that belongs to an open ptmx, close-on-exec.

    TIOCGPTPEER (Linux 4.13) opens it without a path, which a hostile root could have replaced. Raises OSError.
    """
    fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
    return fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)


def make_controlling(terminal: int) -> None:
    """Make ``terminal`` the controlling terminal of the calling session leader: TIOCSCTTY. Raises OSError."""
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)


def set_size(terminal: int, rows: int, columns: int) -> None:
    """Tell a terminal its size in characters: TIOCSWINSZ. Raises OSError."""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
