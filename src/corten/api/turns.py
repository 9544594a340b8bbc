"""Who may work in a pass of the event loop.

Clients that poll do so in step with each other: a hundred questions can be ready at once, and were they all answered
in one pass, a request of a few microseconds that came a moment later would wait for the whole of it.
"""

from __future__ import annotations

import asyncio
import collections


class Turns:
    """So many requests begin their work in one pass of the loop, in the order in which they came; the rest of a pass
    belongs to whoever takes no turn: streams, and requests that are answered at once."""

    def __init__(self, each: int) -> None:
        self._each = self._left = each
        self._waiting: collections.deque[asyncio.Future[None]] = collections.deque()
        self._counting = False

    async def take(self) -> None:
        """Return when the caller may begin, without a pause where nobody is before it."""
        loop = asyncio.get_running_loop()
        if not self._counting:
            self._counting = True
            loop.call_soon(self._pass)
        if self._left and not self._waiting:
            self._left -= 1
            return
        turn = loop.create_future()
        self._waiting.append(turn)
        await turn

    def _pass(self) -> None:
        """A new pass: let in those who wait; nothing more to count when nobody came in the last one."""
        if self._left == self._each and not self._waiting:
            self._counting = False
            return
        self._left = self._each
        while self._left and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():  # else its client went away
                turn.set_result(None)
                self._left -= 1
        asyncio.get_running_loop().call_soon(self._pass)
