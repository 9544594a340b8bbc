"""Signals as bytes on a descriptor, for a poll loop; names and numbers.

``_signal`` is the C part of ``signal``, which itself imports ``enum``: four milliseconds for names.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH = 2, 15, 1, 3, 28
_NOT_FORWARDED = frozenset({9, 19, 11, 7, 8, 4, 17, 13, 28, 23, 20, 21, 22})
"""KILL and STOP cannot be caught; SEGV, BUS, FPE, ILL are this process's own faults; CHLD, PIPE, WINCH and URG
(which Go uses itself) mean nothing to the container; TSTP, TTIN, TTOU belong to this process's job."""
FORWARDED = tuple(number for number in range(1, 32) if number not in _NOT_FORWARDED)


class SignalPipe:
    """While inside, the given signals do nothing but put their number on :attr:`descriptor`."""

    def __init__(self, numbers: tuple[int, ...]) -> None:
        self._numbers = numbers
        self._before: dict[int, Any] = {}
        self.descriptor = -1

    def __enter__(self) -> SignalPipe:
        self.descriptor, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._wakeup = _signal.set_wakeup_fd(self._writer)
        for number in self._numbers:
            self._before[number] = _signal.signal(number, _nothing)
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            _signal.signal(number, before if before is not None else _signal.SIG_DFL)
        _signal.set_wakeup_fd(self._wakeup)
        os.close(self._writer)
        os.close(self.descriptor)


def _nothing(number: int, frame: FrameType | None) -> None:
    """The number is on the descriptor already."""
