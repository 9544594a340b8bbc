"""The helper's loop: descriptors that became ready, and what is due."""

from __future__ import annotations

import select
import time
import traceback
from collections.abc import Callable

READ, WRITE = select.EPOLLIN, select.EPOLLOUT
_MOST_EVENTS = 256


class Loop:
    """Calls back whoever registered. What is ``first`` is heard before all others of a turn: a name that was told is
    known to a question that was asked after it."""

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._first: dict[int, Callable[[], None]] = {}
        self._calls: dict[int, Callable[[], None]] = {}
        self._chores: list[Callable[[float], float]] = []

    def add(self, descriptor: int, call: Callable[[], None], *, first: bool = False, events: int = READ) -> None:
        """``call`` when the descriptor is ready, or has failed."""
        self._poll.register(descriptor, events)
        (self._first if first else self._calls)[descriptor] = call

    def change(self, descriptor: int, events: int) -> None:
        """Wait for something else; 0: for its failure alone."""
        self._poll.modify(descriptor, events)

    def remove(self, descriptor: int) -> None:
        """Forget a descriptor; before it is closed."""
        if (self._first.pop(descriptor, None) or self._calls.pop(descriptor, None)) is not None:
            self._poll.unregister(descriptor)

    def chore(self, do: Callable[[float], float]) -> None:
        """Call ``do`` with the time (:func:`time.monotonic`) before each wait; it returns when it is due at the
        latest."""
        self._chores.append(do)

    def run(self, is_over: Callable[[], bool]) -> None:
        """Until ``is_over``, which is asked after each turn."""
        while not is_over():
            now = time.monotonic()
            due = min(do(now) for do in self._chores)
            ready = [number for number, _ in self._poll.poll(max(0.0, due - now), _MOST_EVENTS)]
            for calls in (self._first, self._calls):
                for number in ready:
                    if (call := calls.get(number)) is not None:
                        self._call(number, call)

    def _call(self, number: int, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception:  # noqa: BLE001  what one container made fail must not end the others' names
            traceback.print_exc()
            self.remove(number)

    def close(self) -> None:
        """Let the kernel's part go."""
        self._poll.close()
