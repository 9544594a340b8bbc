"""Terminals: opening a pair in a given devpts, the controlling terminal, the window's size."""

from __future__ import annotations

import fcntl
import os
import struct
import termios

_TIOCGPTPEER = 0x5441
_TIOCSPTLCK = 0x40045431


def open_pair(ptmx: str) -> tuple[int, int]:
    """(master, terminal) of a new pair, both close-on-exec.

    TIOCGPTPEER (Linux 4.13) opens the other end without a path, which a hostile root could have replaced.
    Raises OSError.
    """
    master = os.open(ptmx, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
        return master, fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except BaseException:
        os.close(master)
        raise


def make_controlling(terminal: int) -> None:
    """Make ``terminal`` the controlling terminal of the calling session leader: TIOCSCTTY. Raises OSError."""
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)


def set_size(terminal: int, rows: int, columns: int) -> None:
    """Tell a terminal its size in characters: TIOCSWINSZ. Raises OSError."""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
