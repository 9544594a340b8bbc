"""Patterns held against files: as many times as a stranger's file has lines, on as many files as a context has.

What takes long goes on beside the loop, so that the engine answers others, and ends when nobody waits for it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
Check = Callable[[], None]
"""Raises where the work is no longer wanted."""
_SHORT = 1 << 15
"""Patterns times files: some hundredths of a second."""


class _Unwanted(Exception):
    """Nobody waits for the work."""


def always() -> None:
    """A :data:`Check` of work that is wanted to its end."""


async def beside(work: Callable[[Check], T], cost: int) -> T:
    """The result of some work, which calls what it is given as often as it can; ``cost`` is about how often it holds a
    pattern against a name."""
    if cost <= _SHORT:
        return work(always)
    gone = threading.Event()

    def check() -> None:
        if gone.is_set():
            raise _Unwanted

    try:
        return await asyncio.to_thread(work, check)
    finally:
        gone.set()
