"""A build's client, as the engine hears it: files are settled by the time at which their list was begun."""

from __future__ import annotations

import asyncio
import json

import pytest

from corten.engine.build_client import BuildClient
from corten.wire import building

CHANGED = 1_600_000_000 * 10**9
SECOND = 10**9


class Said:
    """A connection whose client has said all at once, and leaves."""

    def __init__(self, data: bytes) -> None:
        self._left = [data]

    async def read(self) -> bytes:
        return self._left.pop() if self._left else b""

    async def write(self, data: bytes) -> None:
        raise AssertionError("nothing is to be told")


def announced(when: bytes, kind: str = "directory") -> bytes:
    row = ["f", "file", 0o644, 1, CHANGED - SECOND, CHANGED, 1, ""]
    return b"".join((
        building.frame(building.CONTEXT, json.dumps(["", kind, "/c"]).encode()),
        building.frame(building.LIST, json.dumps([row]).encode()),
        building.frame(building.GO, when),
    ))  # fmt: skip


def heard(data: bytes) -> BuildClient | None:
    async def hear() -> BuildClient | None:
        client = BuildClient(Said(data))
        return client if await client.hear() else None

    return asyncio.run(hear())


@pytest.mark.parametrize(
    ("when", "settled"),
    [
        (b"%d" % (CHANGED + 3 * SECOND), True),
        (b"%d" % (CHANGED + SECOND), False),  # however late the engine came to read it
        (b"", False),
    ],
)
def test_files_are_settled_by_when_they_were_listed(when: bytes, settled: bool) -> None:
    client = heard(announced(when))
    assert client is not None
    assert client.is_settled() is settled


def test_a_time_to_come_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time_ns", lambda: CHANGED + SECOND)
    client = heard(announced(b"%d" % (CHANGED + 100 * SECOND)))
    assert client is not None
    assert not client.is_settled()


def test_what_is_no_directory_is_never_settled() -> None:
    client = heard(announced(b"%d" % (CHANGED + 3 * SECOND), "archive"))
    assert client is not None
    assert not client.is_settled()


def test_who_leaves_before_all_is_said_has_asked_for_nothing() -> None:
    assert heard(announced(b"1")[:-1]) is None
