"""One monitor, as the engine sees it: what it tells of its process, and the ends of the stdio that it shares."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from corten.engine.channel import Channel, Message
from corten.engine.logs import LogFeed
from corten.engine.pipes import PipeReader, PipeWriter
from corten.errors import CommandNotFound, CommandNotRunnable, CortenError, Unavailable
from corten.runtime.failure import OperationFailed
from corten.spec.monitor import EXITED, LINE, LOG, MASTER, PIDFD, STARTING, STDERR, STDIN, STDOUT, VERSION, ExitRecord
from corten.sys import process, terminal

_log = logging.getLogger(__name__)


class Unfit(Unavailable):
    """An init that was poised could not execute the command: why, a start that takes the long way finds out."""


class MonitorLost(Unavailable):
    """The monitor died before it could tell how its process ended."""


@dataclasses.dataclass(frozen=True, slots=True)
class Started:
    """A process runs. ``start_time`` is in clock ticks since boot, ``started_at`` nanoseconds since the epoch."""

    pid: int
    start_time: int
    started_at: int


class Monitor:
    """The link to one monitor, from its start (or adoption) to its end.

    ``launched`` resolves when the command runs, or raises why it does not; ``ended`` resolves when it has ended, or
    raises :class:`MonitorLost`. Call :meth:`close` at the end; the descriptors are this object's.
    """

    def __init__(self, sock: socket.socket, *, tty: bool = False, feed: LogFeed | None = None) -> None:
        loop = asyncio.get_running_loop()
        self.standing: asyncio.Future[None] = loop.create_future()
        """Resolves when the monitor stands by, if it was asked to."""
        self.launched: asyncio.Future[Started] = loop.create_future()
        self.ended: asyncio.Future[ExitRecord] = loop.create_future()
        self.hello: asyncio.Future[Message] = loop.create_future()
        self.gone: asyncio.Future[None] = loop.create_future()
        """Resolves when the monitor has left, or died."""
        for future in (self.standing, self.launched, self.ended, self.hello):
            future.add_done_callback(_retrieve)
        self.cleaned: asyncio.Future[None] = loop.create_future()
        """Resolves when the container's group is gone, or the monitor is."""
        self.pid = 0
        self.start_time = 0
        self.tty = tty
        self.stdin: PipeWriter | None = None
        self._feed = feed
        self._held: dict[str, int] = {}
        self._line: PoisedInit | None = None
        self._channel = Channel(sock, self._heard, self._lost)

    # --- what it tells

    def _heard(self, message: Message, descriptors: list[int]) -> None:
        named = dict(zip(message.get("fds") or (), descriptors, strict=True))
        kind = message.get("event")
        if kind == "standing":
            if LINE in named:
                self._poised(message, named)
            self._settle(self.standing, None)
        elif kind == "hello":
            self._hello(message, named)
        elif kind == "running":
            self._take(named)
            self._running(message)
        elif kind == "log":
            self._grown(named)
        elif kind == "failed":
            self._settle(self.launched, _failure(message))
            self._settle(self.ended, MonitorLost("the command was not started"))
        elif kind == "exited":
            self._exited(message)
        elif kind == "cleaned":
            self._settle(self.cleaned, None)
        for descriptor in named.values():
            os.close(descriptor)

    def _hello(self, message: Message, named: dict[str, int]) -> None:
        if message.get("version", 0) > VERSION:
            self._settle(
                self.hello, Unavailable(f"monitor {message.get('pid')}: speaks version {message.get('version')}")
            )
            return
        self.pid, self.start_time = int(message["pid"]), int(message["start_time"])
        self._take(named)
        self._settle(self.hello, message)
        if message["phase"] != STARTING:
            self._running(message)
        if message["phase"] == EXITED:
            self._exited(message)

    def _poised(self, message: Message, named: dict[str, int]) -> None:
        self.pid, self.start_time = int(message["pid"]), int(message["start_time"])
        self._line = PoisedInit(socket.socket(fileno=named.pop(LINE)), message["init"], message["home"])
        self._take(named)

    def _running(self, message: Message) -> None:
        init = message["init"]
        started = Started(int(init["pid"]), int(init["start_time"]), int(message.get("started_at") or 0))
        self._settle(self.launched, started)

    def _exited(self, message: Message) -> None:
        self._settle(self.ended, ExitRecord.decode(message))

    def _grown(self, named: dict[str, int]) -> None:
        if self._feed is not None:
            self._feed.grown(named.pop(LOG, None))

    def _take(self, named: dict[str, int]) -> None:
        """Keep the descriptors that are new; the rest is closed by who calls."""
        if LOG in named:
            self._grown(named)
        for name in (PIDFD, STDIN, STDOUT, STDERR, MASTER):
            if name in named and name not in self._held:
                self._held[name] = named.pop(name)
        writable = self._held.get(MASTER if self.tty else STDIN, -1)
        if self.stdin is None and writable >= 0:
            self.stdin = PipeWriter(os.dup(writable))

    def _settle(self, future: asyncio.Future[Any], value: Any) -> None:
        if future.done():
            return
        if isinstance(value, BaseException):
            future.set_exception(value)
        else:
            future.set_result(value)

    def _lost(self) -> None:
        error = MonitorLost(f"monitor {self.pid or 'of a start'}: it died")
        for future in (self.standing, self.hello, self.launched, self.ended):
            self._settle(future, error)
        self._settle(self.cleaned, None)
        self._settle(self.gone, None)

    # --- what it is told

    def employ(self, message: Message, descriptors: Sequence[int], *, tty: bool, feed: LogFeed | None) -> None:
        """Give one that stands by something to do."""
        self.tty, self._feed = tty, feed
        self._channel.send(message, descriptors)

    @property
    def home(self) -> str:
        """Where the user of an init that is poised is at home; '' without one."""
        return self._line.home if self._line is not None else ""

    def go(self, command: bytes = b"") -> None:
        """What the engine does before a container runs is done. An init that is poised is given its command."""
        if self._line is None:
            self._channel.send({"do": "go"})
        else:
            self._line.execute(command, lambda result: self._settle(self.launched, result))

    def take_back(self) -> None:
        """Have an init that was poised ended, and all that was done for it undone."""
        if self._line is not None:
            self._channel.send({"do": "take-back"})

    def take_output(self) -> None:
        """The engine reads stdout and stderr from now on."""
        self._channel.send({"do": "take"})

    def give_output(self) -> None:
        """The monitor reads them again."""
        self._channel.send({"do": "give"})

    def init_status(self, status: int) -> None:
        """How its process ended, which fell to the spawner."""
        self._channel.send({"do": "init-status", "status": status})

    def close_stdin(self) -> None:
        """End of file for the process: no end of the pipe stays open, neither here nor there."""
        if self.tty:
            return
        self._channel.send({"do": "stdin-close"})
        if self.stdin is not None:
            self.stdin.close()
        if (held := self._held.pop(STDIN, -1)) >= 0:
            os.close(held)

    def dismiss(self) -> None:
        """Its end was noted: it may leave."""
        self._channel.send({"do": "bye"})

    # --- its process

    def signal(self, number: int) -> None:
        """Send a signal by pidfd: it can hit no other process. Nothing when the process has ended."""
        pidfd = self._held.get(PIDFD, -1)
        if pidfd < 0:
            return
        try:
            signal.pidfd_send_signal(pidfd, number)
        except ProcessLookupError:
            return
        except OSError as error:
            raise CortenError.from_os("signal", f"process {self.pid}", error) from error

    @property
    def pidfd(self) -> int:
        """The process's pidfd; -1 before it runs. Still this object's."""
        return self._held.get(PIDFD, -1)

    def resize(self, rows: int, columns: int) -> None:
        """Tell its terminal the size in characters; nothing without a terminal."""
        if (master := self._held.get(MASTER, -1)) >= 0:
            terminal.set_size(master, rows, columns)

    def outputs(self) -> list[tuple[int, PipeReader]]:
        """(stream, reader) of what it writes; a terminal is one stream."""
        names = ((1, MASTER),) if self.tty else ((1, STDOUT), (2, STDERR))
        return [(stream, PipeReader(self._held[name])) for stream, name in names if name in self._held]

    def lend(self) -> tuple[list[str], list[int]]:
        """Names and descriptors of what is held, for a monitor that takes the place of this one. Still ours."""
        return list(self._held), list(self._held.values())

    def close(self) -> None:
        """Hang up and close everything."""
        self._channel.close()
        if self._line is not None:
            self._line.close()
        self._lost()
        if self.stdin is not None:
            self.stdin.close()
        for descriptor in self._held.values():
            os.close(descriptor)
        self._held.clear()


class PoisedInit:
    """The line to an init that waits for its command (:mod:`corten.runtime.latch`)."""

    def __init__(self, line: socket.socket, init: Mapping[str, Any], home: str) -> None:
        line.setblocking(False)
        self.home = home
        self._line = line
        self._init = init
        self._loop = asyncio.get_running_loop()

    def execute(self, command: bytes, told: Callable[[Started | Unfit], None]) -> None:
        """Give it the command; ``told`` is called once it runs, or cannot."""

        def answered() -> None:
            try:
                is_running = not self._line.recv(1)
            except BlockingIOError:
                return
            except ConnectionResetError:  # it ended, and had not read this
                is_running = False
            self._loop.remove_reader(self._line)
            told(self._started() if is_running else Unfit("start a poised init: it did not execute the command"))

        self._loop.add_reader(self._line, answered)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the next look says so
            self._line.send(command)

    def _started(self) -> Started:
        return Started(int(self._init["pid"]), int(self._init["start_time"]), time.time_ns())

    def close(self) -> None:
        """Hang up: one that still waits ends."""
        if self._line.fileno() >= 0:
            self._loop.remove_reader(self._line)
            self._line.close()


def _retrieve(future: asyncio.Future[Any]) -> None:
    """An exception that nobody asked for is no reason for asyncio to complain."""
    if not future.cancelled():
        future.exception()


def _failure(message: Message) -> CortenError:
    failure = OperationFailed.decode({"errno": 0, "hint": "", "exit_code": 125, **message})
    for kind in (CommandNotFound, CommandNotRunnable):
        if failure.exit_code == kind.exit_code:
            return kind(failure.message, hint=failure.hint)
    return failure


async def connect(path: str, *, tty: bool, feed: LogFeed | None, patience: float = 5.0) -> Monitor:
    """Adopt the monitor that listens at ``path``. Raises OSError when none does, Unavailable when it says nothing."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, path)
    except BaseException:
        sock.close()
        raise
    monitor = Monitor(sock, tty=tty, feed=feed)
    try:
        async with asyncio.timeout(patience):
            await asyncio.shield(monitor.hello)
    except BaseException as error:
        monitor.close()
        if isinstance(error, TimeoutError):
            raise Unavailable(f"adopt the monitor at {path}: it says nothing") from None
        raise
    return monitor


@contextlib.contextmanager
def process_handle(pid: int, start_time: int, boot_id: str) -> Any:
    """A pidfd of the process that was recorded so, or None when it has ended.

    Boot and start time are compared after the descriptor is open: from then on the number cannot pass to another.
    """
    try:
        pidfd = process.pidfd_open(pid)
    except OSError:
        yield None
        return
    try:
        yield pidfd if _is_same(pid, start_time, boot_id) else None
    finally:
        os.close(pidfd)


def _is_same(pid: int, start_time: int, boot_id: str) -> bool:
    try:
        return process.boot_id() == boot_id and process.start_time(pid) == start_time
    except OSError:
        return False
