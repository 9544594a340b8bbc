"""Who may work in a pass of the event loop."""

from __future__ import annotations

import asyncio

from corten.api.turns import Turns


class _Passes:
    """Counts the loop's passes, and notes in which one each request began."""

    def __init__(self) -> None:
        self.now = 0
        self.began: dict[str, int] = {}
        self._loop = asyncio.get_running_loop()
        self._count()

    def _count(self) -> None:
        self.now += 1
        self._handle = self._loop.call_soon(self._count)

    async def begin(self, turns: Turns, name: str) -> None:
        await turns.take()
        self.began[name] = self.now

    def stop(self) -> None:
        self._handle.cancel()


def test_who_is_alone_waits_for_nothing() -> None:
    async def run() -> int:
        turns, passes = Turns(2), _Passes()
        before = passes.now
        await passes.begin(turns, "a")
        passes.stop()
        return passes.began["a"] - before

    assert asyncio.run(run()) == 0


def test_so_many_begin_in_one_pass_and_in_their_order() -> None:
    async def run() -> dict[str, int]:
        turns, passes = Turns(2), _Passes()
        await asyncio.gather(*(passes.begin(turns, name) for name in "abcdefg"))
        passes.stop()
        return passes.began

    began = asyncio.run(run())
    assert "".join(began) == "abcdefg"
    assert max(list(began.values()).count(one) for one in began.values()) == 2


def test_who_went_away_takes_no_turn() -> None:
    async def run() -> dict[str, int]:
        turns, passes = Turns(1), _Passes()
        tasks = [asyncio.ensure_future(passes.begin(turns, name)) for name in "abcd"]
        await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        passes.stop()
        return passes.began

    began = asyncio.run(run())
    assert "".join(began) == "acd"
    assert began["d"] == began["c"] + 1


def test_a_loop_without_requests_rests() -> None:
    async def run() -> int:
        turns, loop = Turns(1), asyncio.get_running_loop()
        await asyncio.gather(turns.take(), turns.take(), turns.take())
        for _ in range(4):
            await asyncio.sleep(0)
        return len(loop._ready)  # type: ignore[attr-defined]

    assert asyncio.run(run()) == 0
