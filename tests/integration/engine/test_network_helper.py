"""Which helper an engine takes over, and which it does not."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corten.engine.network_helper import NetworkHelper
from corten.engine.spawning import Spawner
from corten.spec.names import VERSION, Membership, NameRecord
from corten.sys import messages, process
from tests.support.helper import helpers_of
from tests.support.process import wait_until

pytestmark = pytest.mark.root
RECORD = NameRecord("a" * 64, "run", (Membership("n", "net", ("web",), ("10.0.0.2",)),))

OTHER = dataclasses.replace(RECORD, servers=("192.0.2.1",))


class Impostor:
    """A process that listens where a helper would, says what it is told to say, and keeps what it hears."""

    def __init__(self, door: Path, hello: Callable[[], dict[str, Any]]) -> None:
        self._heard, theirs = messages.pair()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.bind(str(door))
        self.pid = os.fork()
        if not self.pid:
            try:
                listener.listen()
                theirs.send(b"listens")
                channel, _ = listener.accept()
                messages.receive(channel)
                messages.send(channel, hello(), [listener.fileno()])
                while True:
                    message, _ = messages.receive(channel)
                    messages.send(theirs, message)
            finally:
                os._exit(0)
        listener.close()
        theirs.close()
        assert self._heard.recv(64) == b"listens"

    def heard(self) -> list[dict[str, Any]]:
        """All that it was told, when it has ended."""
        found = []
        while True:
            try:
                found.append(messages.receive(self._heard)[0])
            except messages.Closed:
                return found

    def end(self) -> None:
        """Kill it."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self._heard.close()


def honest() -> dict[str, Any]:
    """The hello of this very process."""
    pid = os.getpid()
    return {
        "event": "hello", "version": VERSION, "pid": pid, "start_time": process.start_time(pid),
        "boot_id": process.boot_id(), "sandboxes": {}, "proxies": [],
    }  # fmt: skip


@pytest.fixture
def door(tmp_path: Path) -> Path:
    """Where helpers are found; one that was started there leaves by itself, for it has nothing to do."""
    return tmp_path / "net.sock"


async def adopt(door: Path) -> tuple[int, dict[str, Any]]:
    """An engine comes, finds nobody that it can adopt, and goes: (the helper that it started, what that has)."""
    spawner = Spawner(door.parent)
    spawner.start()
    helper = NetworkHelper(spawner, door)
    renewed: list[dict[str, Any]] = []
    helper.renewed.append(renewed.append)
    try:
        await helper.adopt({RECORD.container_id: RECORD})
        return await asyncio.to_thread(_helper, door.parent), renewed[0]
    finally:
        helper.drop(RECORD.container_id)
        helper.close(idle=True)
        spawner.stop()


def _helper(root: Path) -> int:
    """The process of the helper that the spawner was asked for."""
    wait_until(lambda: bool(helpers_of(root)), "the helper")
    (pid,) = helpers_of(root)
    return pid


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"version": VERSION + 1}, ["replace", "bye"]),
        ({"pid": 1}, []),
        ({"start_time": 1}, []),
        ({"boot_id": "another"}, []),
    ],
    ids=["version", "pid", "start time", "boot"],
)
def test_one_that_is_not_what_it_says_is_not_taken(door: Path, change: dict[str, Any], told: list[str]) -> None:
    impostor = Impostor(door, lambda: {**honest(), **change})
    try:
        answers, renewed = asyncio.run(adopt(door))
        assert answers != impostor.pid
        assert renewed == {}  # another one was started, and has nothing yet
        assert [message["do"] for message in impostor.heard()] == told
    finally:
        impostor.end()
    wait_until(lambda: not helpers_of(door.parent), "the end of the helper")


def test_one_that_says_nothing_is_not_waited_for(door: Path) -> None:
    impostor = Impostor(door, lambda: {"event": "nothing"})
    try:
        assert asyncio.run(adopt(door))[0] != impostor.pid
    finally:
        impostor.end()


def test_an_honest_one_is_told_everything(door: Path) -> None:
    impostor = Impostor(door, lambda: {**honest(), "sandboxes": {"x": "1"}})

    async def engine() -> dict[str, Any]:
        spawner = Spawner(door.parent)
        helper, found = NetworkHelper(spawner, door), dict[str, Any]()
        helper.renewed.append(found.update)
        await helper.adopt({RECORD.container_id: RECORD})
        helper.put(RECORD)  # known already
        helper.put(OTHER)
        helper.drop(RECORD.container_id)
        helper.close(idle=True)
        return found

    try:
        assert asyncio.run(engine())["sandboxes"] == {"x": "1"}
        heard = impostor.heard()
        assert [message["do"] for message in heard] == ["replace", "put", "drop", "bye"]
        assert NameRecord.decode(heard[0]["records"][0]) == RECORD
        assert NameRecord.decode(heard[1]["record"]) == OTHER
    finally:
        impostor.end()
