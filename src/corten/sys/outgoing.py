"""What was written to a socket and its reader has not taken yet."""

from __future__ import annotations

import array
import fcntl
import termios


def untaken(descriptor: int) -> int:
    """Bytes, with the kernel's own for them, that wait at a unix socket's other end: SIOCOUTQ of unix(7); 0 when the
    reader has taken all. Raises OSError."""
    answer = array.array("i", [0])
    fcntl.ioctl(descriptor, termios.TIOCOUTQ, answer)
    return answer[0]
