"""The engine's spawner: its process, its requests, and another one when it dies."""

from __future__ import annotations

import asyncio
import collections
import itertools
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from corten.engine.channel import Channel, Message
from corten.errors import CortenError, Unavailable
from corten.sys import memfd

_log = logging.getLogger(__name__)
_SOURCE = str(Path(__file__).resolve().parents[2])
_REMEMBERED = 512

Reaped = Callable[[int, int], None]


class Spawner:
    """The spawner process of one engine. :meth:`start` it before use; it is started again whenever it dies.

    ``groups`` are the files by which it joins its control group.
    """

    def __init__(self, working_directory: Path, groups: Sequence[str] = ()) -> None:
        self._directory, self._groups = working_directory, list(groups)
        self._channel: Channel | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)
        self._pending: dict[int, asyncio.Future[Message]] = {}
        self._statuses: collections.OrderedDict[int, int] = collections.OrderedDict()
        self._awaited: dict[int, asyncio.Future[int]] = {}
        self.restarted: Callable[[], None] | None = None
        """Called when another one has taken the place of one that died; set by who must know."""
        self.generation = 0
        """Counts the spawners: a process that an earlier one forked has no reaper any more."""

    def start(self) -> None:
        """Start the process; it imports what a start needs while the engine goes on."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = self._run(theirs.fileno())
        self.generation += 1
        self._channel = Channel(ours, self._heard, self._died)

    def _run(self, descriptor: int) -> subprocess.Popen[bytes]:
        """From a sealed copy of the interpreter: whatever a container's command makes of ``/proc/self/exe``, it is
        not the host's Python that it can write to (CVE-2019-5736)."""
        interpreter = memfd.sealed_copy(os.path.realpath(sys.executable))
        place = f"import sys; sys.path.insert(0, {_SOURCE!r})"
        code = f"{place}; from corten.spawner.main import main; main({descriptor}, {self._groups!r})"
        try:
            return subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", code],
                executable=f"/proc/self/fd/{interpreter}",
                pass_fds=(descriptor, interpreter),
                stdin=subprocess.DEVNULL,
                cwd=self._directory,
                start_new_session=True,
            )
        finally:
            os.close(interpreter)

    @property
    def pid(self) -> int:
        """Its process id; 0 before it was started."""
        return self._process.pid if self._process else 0

    async def request(self, message: Message, descriptors: Sequence[int] = ()) -> Message:
        """Ask, and return the answer. Raises Unavailable when the spawner dies over it, CortenError when it refuses."""
        number = next(self._numbers)
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._pending[number] = answer
        try:
            self.tell({**message, "seq": number}, descriptors)
            return await answer
        finally:
            self._pending.pop(number, None)

    def tell(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Send without waiting. Raises Unavailable when there is no spawner."""
        if self._channel is None:
            raise Unavailable("ask the spawner: it is not running")
        self._channel.send({"seq": 0, **message}, descriptors)

    async def status_of(self, pid: int) -> int:
        """The wait status of a process that the spawner forked, or that fell to it; also when it has told already."""
        if pid in self._statuses:
            return self._statuses.pop(pid)
        future = self._awaited.setdefault(pid, asyncio.get_running_loop().create_future())
        return await asyncio.shield(future)

    def _heard(self, message: Message, descriptors: list[int]) -> None:
        for descriptor in descriptors:
            os.close(descriptor)
        if message.get("event") == "exited":
            self._reaped(int(message["pid"]), int(message["status"]))
            return
        answer = self._pending.get(message.get("re", 0))
        if answer is None or answer.done():
            return
        if error := message.get("error"):
            answer.set_exception(_refusal(error))
        else:
            answer.set_result(message)

    def _reaped(self, pid: int, status: int) -> None:
        if (future := self._awaited.pop(pid, None)) is not None:
            if not future.done():
                future.set_result(status)
            return
        self._statuses[pid] = status
        while len(self._statuses) > _REMEMBERED:
            self._statuses.popitem(last=False)

    def _died(self) -> None:
        """Its monitors go on. What was asked of it fails; a new one takes its place."""
        if self._process is not None:
            self._process.kill()
            _log.warning("spawner %d died (status %d): starting another", self.pid, self._process.wait())
        self._fail_all()
        self.start()
        if self.restarted is not None:
            self.restarted()

    def _fail_all(self) -> None:
        """Nobody answers any more what was asked."""
        error = Unavailable("ask the spawner: it died")
        waiting: list[asyncio.Future[Any]] = [*self._pending.values(), *self._awaited.values()]
        for future in waiting:
            if not future.done():
                future.set_exception(error)
        self._pending.clear()
        self._awaited.clear()
        self._statuses.clear()

    def stop(self) -> None:
        """Hang up: it leaves, its monitors go on."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._process is not None:
            self._process.wait()


def _refusal(error: Any) -> CortenError:
    """What the spawner could not do, as it says it."""
    if isinstance(error, dict):
        return CortenError(str(error.get("message", error)), hint=str(error.get("hint", "")))
    return CortenError(str(error))
