"""Many patterns held against many files: others have their turn meanwhile, and it ends with who waits for it."""

from __future__ import annotations

import asyncio
import functools
import threading

import pytest

from corten.build import copying, ignore, patience
from corten.build.files import Entry, Tree, kept
from corten.build.patience import Check

HOSTILE = [f"**/x*a*b*c*d{number}*" for number in range(2_000)]
TREE = Tree({f"d/{'xabc' * 20}{number}": Entry("file", 0o644) for number in range(2_000)})


def test_short_work_is_done_at_once() -> None:
    seen: list[int] = []

    async def build() -> int:
        return await patience.beside(lambda check: seen.append(threading.get_ident()) or 7, 1)

    assert (asyncio.run(build()), seen) == (7, [threading.get_ident()])


@pytest.mark.parametrize(
    "work",
    [
        functools.partial(kept, TREE, ignore.of_patterns(HOSTILE)),
        lambda check: copying.choose(TREE, ["d"], exclude=HOSTILE, check=check),
    ],
)
def test_long_work_lets_others_go_on_and_ends_when_it_is_given_up(work: object) -> None:
    ended = threading.Event()

    def watched(check: Check) -> object:
        try:
            return work(check)  # type: ignore[operator]
        finally:
            ended.set()

    async def build() -> int:
        task = asyncio.create_task(patience.beside(watched, len(TREE) * len(HOSTILE)))
        turns = 0
        while turns < 5:
            await asyncio.sleep(0.001)
            turns += not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return turns

    assert asyncio.run(build()) == 5
    assert ended.wait(10)


def test_what_is_left_of_a_context() -> None:
    tree = Tree({"a/b": Entry("file", 0o644), "a/c/d": Entry("file", 0o644), "e": Entry("file", 0o644)})
    left = kept(tree, ignore.parse("a\n!a/c\n"))
    assert [path for path, _ in left.walk("")] == ["a", "a/c", "a/c/d", "e"]
    assert [path for path, _ in kept(tree, ignore.parse("*\n!e")).walk("")] == ["e"]
