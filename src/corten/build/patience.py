"""What a stranger can make long: a Dockerfile's lines, and patterns that are held against a context's files.

It goes on beside the loop, so that the engine answers others, and ends when nobody waits for it.
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
"""Of what takes a microsecond or a few: less than a tenth of a second."""


class _Unwanted(Exception):
    """Nobody waits for the work."""


def always() -> None:
    """A :data:`Check` of work that is wanted to its end."""


async def beside(work: Callable[[Check], T], cost: int) -> T:
    """The result of some work, which calls what it is given as often as it can; ``cost`` is about how many patterns it
    holds against names, or how much else that takes as long."""
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
