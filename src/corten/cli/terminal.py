"""The user's terminal: raw mode that is always restored, its size, and the keys that detach."""

from __future__ import annotations

import os

from corten.errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DETACH_KEYS = "ctrl-p,ctrl-q"
_CONTROL = {"@": 0, "[": 27, "\\": 28, "]": 29, "^": 30, "_": 31}


class RawMode:
    """While inside, a terminal hands every key on, undigested; leaving it, by any way, restores it.

    Signals whose default would end the process without unwinding are turned into exceptions by the caller.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._before: list[Any] | None = None

    def __enter__(self) -> RawMode:
        import termios

        self._before = termios.tcgetattr(self._descriptor)
        raw = [*self._before[:6], list(self._before[6])]
        # cfmakeraw(3); output processing stays as it is in Docker: off.
        raw[0] &= ~(
            termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP | termios.INLCR
            | termios.IGNCR | termios.ICRNL | termios.IXON
        )  # fmt: skip
        raw[1] &= ~termios.OPOST
        raw[2] = raw[2] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
        raw[3] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
        raw[6][termios.VMIN], raw[6][termios.VTIME] = 1, 0
        termios.tcsetattr(self._descriptor, termios.TCSANOW, raw)
        return self

    def __exit__(self, *_: object) -> None:
        self.restore()

    def restore(self) -> None:
        """Give the terminal its modes back; may be called twice."""
        import termios

        if self._before is not None:
            before, self._before = self._before, None
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, before)


def size(descriptor: int = 1) -> tuple[int, int]:
    """Rows and columns of a terminal; zeros where it is none."""
    try:
        columns, rows = os.get_terminal_size(descriptor)
    except OSError:
        return 0, 0
    return rows, columns


def detach_keys(text: str) -> bytes:
    """The bytes of ``ctrl-p,ctrl-q`` or ``a,b``. Raises InvalidInput."""
    found = bytearray()
    for key in text.split(","):
        name = key.lower()
        if len(key) == 1 and key.isascii():
            found += key.encode()
        elif name.startswith("ctrl-") and len(name) == 6 and "a" <= name[5] <= "z":
            found.append(ord(name[5]) - ord("a") + 1)
        elif name.startswith("ctrl-") and name[5:] in _CONTROL:
            found.append(_CONTROL[name[5:]])
        else:
            raise InvalidInput(f"invalid detach keys ({text}) provided")
    return bytes(found)


class DetachFilter:
    """Looks for the detach keys in what is typed; a part of them is held back until it is decided."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._held = b""
        self.detached = False

    def filter(self, data: bytes) -> bytes:
        """What of the input is to be sent on; :attr:`detached` is set when the keys were complete."""
        data, self._held = self._held + data, b""
        if not self._keys:
            return data
        at = data.find(self._keys)
        if at >= 0:
            self.detached = True
            return data[:at]
        held = self._started(data)
        self._held = data[len(data) - held :]
        return data[: len(data) - held]

    def _started(self, data: bytes) -> int:
        """How many bytes at the end are a beginning of the keys."""
        longest = min(len(self._keys) - 1, len(data))
        return next((count for count in range(longest, 0, -1) if data.endswith(self._keys[:count])), 0)
