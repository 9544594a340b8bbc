"""The process beside a container: moves its output into the log, waits for its end, and says how it ended.

It is single-threaded, and waits in one poll(2) for the container's streams, the init's pidfd, the engine, and a later
engine that knocks. What it says it has done is done: the log is written before the engine hears of it, the exit
record lies on the disk before anyone is told.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import select
import signal
import socket
import time
from collections.abc import Callable

from corten.monitor import record
from corten.monitor.engine_link import EngineLink, Message
from corten.monitor.log import LogWriter
from corten.monitor.streams import CHUNK, Streams, read
from corten.spec.monitor import EXITED, LOG, MASTER, PIDFD, RUNNING, VERSION, ExitRecord, MonitorSpec
from corten.sys import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.monitor.remote import Remote

_TERMINAL_GRACE = 1.0
"""Seconds for the kernel to pass on what a terminal still holds when the init has ended."""
_RETRY = 1.0
"""Seconds between attempts to write the log to a full disk; the container's pipes fill up meanwhile."""
_UNTIL_REAPED = 0.01
"""Seconds between looks at an init that has ended and that the spawner, its parent now, has yet to reap."""
_UNTIL_LOST = 5.0
"""Seconds after which nobody will tell any more how an init ended that is not our child: its reaper died, too."""
_LEAST_CHUNK = 512
_READS = select.POLLIN | select.POLLHUP | select.POLLERR


@dataclasses.dataclass(frozen=True, slots=True)
class InitProcess:
    """The process that is watched. ``child``: it is our own child, whose status waitpid gives."""

    pid: int
    pidfd: int
    start_time: int
    child: bool
    started_at: int
    """Nanoseconds since the epoch."""


class Monitor:
    """One container's (or exec's) monitor, from the moment its command runs."""

    def __init__(
        self,
        spec: MonitorSpec,
        init: InitProcess,
        streams: Streams,
        engine: EngineLink,
        listener: socket.socket | None,
        *,
        oom_kills: Callable[[], int],
        clean: Callable[[], None],
        starter: int = 0,
        waits: Callable[[], bool] = bool,
    ) -> None:
        """``starter`` is a child that is about to end, and this monitor's to reap; ``waits`` tells whether the init
        waits for its command, or has ended as it did, which the engine gives to one that is poised."""
        self._spec = spec
        self._init = init
        self._streams = streams
        self._engine = engine
        self._listener = listener
        self._oom_kills = oom_kills
        self._clean = clean
        self._starter, self._leaving = starter, os.pidfd_open(starter) if starter else -1
        self._log = LogWriter(spec.log) if spec.log.driver != "none" else None
        self._remote = _remote(spec)
        # A log is rotated between two writes: these are small beside a small file.
        self._chunk = min(CHUNK, max(_LEAST_CHUNK, spec.log.max_size >> 3)) if spec.log.max_size else CHUNK
        self._engine_reads = spec.taken
        self._unwritten: tuple[bytes, str] | None = None
        self._status: int | None = None
        self._is_zombie = False
        self._zombie_since = 0.0
        self._end: ExitRecord | None = None
        self._dismissed = self._taken_back = False
        self._waits = waits
        for descriptor in streams.held.values():
            os.set_blocking(descriptor, False)

    def run(self) -> bool:
        """Watch until the process has ended and the engine, if there is one, knows it. False when the engine has taken
        the start back: the command does not run, and no end is recorded."""
        while self._end is None:
            self._turn()
            if self._taken_back:
                return False
        self._clean()
        self._bury_starter()
        while self._engine.connected and not self._dismissed:
            self._turn()
        self._streams.close()
        if self._log is not None:  # who starts the container again waits for this process's end
            self._log.close()
        return True

    # --- one turn of the loop

    def _turn(self) -> None:
        timeout = _RETRY if self._unwritten is not None else _UNTIL_REAPED if self._is_zombie else None
        if timeout is None and self._remote is not None:
            timeout = self._remote.timeout
        ready = dict(self._poll(timeout))
        if self._remote is not None:
            self._remote.work()
        if self._unwritten is not None:
            self._write(*self._unwritten)
        if self._leaving in ready:
            self._bury_starter()
        if self._listener is not None and self._listener.fileno() in ready:
            self._adopted()
        if self._engine.fileno() in ready:
            self._hear()
        for descriptor, stream in self._streams.sources().items():
            if descriptor in ready:
                self._move(descriptor, stream)
        if self._end is None and (self._init.pidfd in ready or self._is_zombie):
            self._ended()

    def _poll(self, timeout: float | None) -> list[tuple[int, int]]:
        poll = select.poll()
        if self._leaving >= 0:
            poll.register(self._leaving, select.POLLIN)
        if self._end is None:
            if not self._is_zombie:
                poll.register(self._init.pidfd, select.POLLIN)
            if self._may_read:
                for descriptor in self._streams.sources():
                    poll.register(descriptor, _READS)
            if self._remote is not None and self._remote.poll()[0] >= 0:
                poll.register(*self._remote.poll())
        if self._engine.connected:
            poll.register(self._engine.fileno(), select.POLLIN | (select.POLLOUT if self._engine.congested else 0))
        if self._listener is not None:
            poll.register(self._listener.fileno(), select.POLLIN)
        return poll.poll(None if timeout is None else timeout * 1000)

    def _bury_starter(self) -> None:
        if self._leaving >= 0:
            os.waitpid(self._starter, 0)
            os.close(self._leaving)
            self._leaving = -1

    @property
    def _may_read(self) -> bool:
        """Whether the container's output is ours to read, and there is room for it."""
        congested = self._remote is not None and self._remote.congested
        return not self._engine_reads and self._unwritten is None and not congested

    # --- output

    def _move(self, descriptor: int, stream: str) -> None:
        data = read(descriptor, self._chunk)
        if data == b"":
            self._streams.drop(descriptor)
        elif data and self._log is not None:
            self._write(data, stream)
            if self._remote is not None:
                self._remote.write(data, stream)

    def _write(self, data: bytes, stream: str) -> None:
        """Into the log; on a full disk nothing is lost: it is tried again, and nothing more is read until
        then, unless the container is not to wait."""
        assert self._log is not None
        self._unwritten = None
        while data:
            end = self._log.until_rotation(data, stream)
            try:
                rotated = self._log.write(data[:end], stream)
            except OSError:
                self._unwritten = (data, stream) if self._spec.log.waits else None
                return
            data = data[end:]
            self._say_grown(rotated)

    def _say_grown(self, rotated: bool) -> None:
        assert self._log is not None
        message: Message = {"event": "log", "generation": self._log.generation, "size": self._log.size}
        if not rotated or not self._engine.connected:
            self._engine.send(message)
            return
        newest = self._log.reader()
        try:
            self._engine.send({**message, "fds": [LOG]}, [newest])
        finally:
            os.close(newest)

    def _drain(self) -> None:
        """All that was written before the end. Pipes have it already; a terminal's passes through a kernel worker,
        and the end of it is the hang-up."""
        end = time.monotonic() + _TERMINAL_GRACE
        while self._streams.sources() and not self._engine_reads:
            poll = select.poll()
            for descriptor in self._streams.sources():
                poll.register(descriptor, _READS)
            wait = max(0.0, end - time.monotonic()) if MASTER in self._streams.held else 0.0
            ready = dict(poll.poll(wait * 1000))
            if not ready:
                return
            for descriptor, stream in self._streams.sources().items():
                if descriptor in ready:
                    self._move(descriptor, stream)
            while self._unwritten is not None:
                time.sleep(_RETRY)
                self._write(*self._unwritten)

    # --- the end

    def _ended(self) -> None:
        """The init has ended. One that is not our child was reaped by the spawner: the engine will say how."""
        if self._is_unbegun():
            self._taken_back = True
            return
        status = self._reap()
        if status is None and not self._is_zombie:
            self._is_zombie, self._zombie_since = True, time.monotonic()
        lost = status is None and time.monotonic() - self._zombie_since > _UNTIL_LOST
        if status is None and not lost:
            return
        self._is_zombie = False
        self._drain()
        if self._remote is not None:
            self._remote.close()
        code = -signal.SIGKILL if status is None else os.waitstatus_to_exitcode(status)
        end = ExitRecord(
            exit_code=code if code >= 0 else 128 - code,
            signal=max(0, -code),
            oom_killed=self._oom_kills() > 0,
            finished_at=time.time_ns(),
            boot_id=process.boot_id(),
            init_pid=self._init.pid,
            init_start_time=self._init.start_time,
            lost=lost,
        )
        if self._spec.directory:
            with contextlib.suppress(OSError):  # a full disk: the engine, if there is one, is told all the same
                record.write(self._spec.directory, end, durable=self._spec.durable)
        self._end = end
        self._engine.send({"event": "exited", **end.encode()})

    def _is_unbegun(self) -> bool:
        """Whether the engine died before it gave a poised init its command."""
        return not self._engine.connected and self._waits()

    def _reap(self) -> int | None:
        if self._status is not None:
            return self._status
        if not self._init.child:
            status = process.exit_status(self._init.pidfd)
            return process.zombie_status(self._init.pid, self._init.start_time) if status is None else status
        pid, status = os.waitpid(self._init.pid, os.WNOHANG)
        return status if pid else None

    # --- the engine

    def _hear(self) -> None:
        self._engine.flush()
        while (message := self._engine.receive()) is not None:
            self._obey(message)
        if not self._engine.connected:
            self._engine_reads = False  # nobody reads any more: the container must not block

    def _obey(self, message: Message) -> None:
        match message.get("do"):
            case "stdin-close":
                self._streams.close_stdin()
            case "take":
                self._engine_reads = True
            case "give":
                self._engine_reads = False
            case "init-status":
                self._status = int(message["status"])
            case "bye":
                self._dismissed = True
            case "take-back":
                self._taken_back = True

    def _adopted(self) -> None:
        assert self._listener is not None
        with contextlib.suppress(OSError):  # it knocked and ran away
            channel, _ = self._listener.accept()
            self._engine.replace(channel)
            self._engine_reads = False
            self.say_hello(RUNNING if self._end is None else EXITED)

    def say_log(self) -> None:
        """Hand the engine the log, if there is one."""
        if self._log is not None:
            self._say_grown(rotated=True)

    def say_running(self) -> None:
        """Tell the engine that the command runs."""
        self._say_with_descriptors({"event": "running", **self._init_message()})

    def say_hello(self, phase: str) -> None:
        """Introduce this monitor to an engine."""
        message: Message = {
            "event": "hello", "version": VERSION, "id": self._spec.id, "phase": phase,
            "pid": os.getpid(), "start_time": process.start_time(os.getpid()), **self._init_message(),
        }  # fmt: skip
        if self._end is not None:
            message.update(self._end.encode())
        self._say_with_descriptors(message)

    def _init_message(self) -> Message:
        init = self._init
        log = {"generation": self._log.generation, "size": self._log.size} if self._log else None
        return {"init": {"pid": init.pid, "start_time": init.start_time}, "started_at": init.started_at, "log": log}

    def _say_with_descriptors(self, message: Message) -> None:
        named = {PIDFD: self._init.pidfd, **self._streams.held}
        newest = self._log.reader() if self._log is not None else -1
        try:
            if newest >= 0:
                named[LOG] = newest
            self._engine.send({**message, "fds": list(named)}, list(named.values()))
        finally:
            if newest >= 0:
                os.close(newest)


def _remote(spec: MonitorSpec) -> Remote | None:
    """Where the output is sent besides. Its code is loaded by those alone that have one."""
    if not spec.log.remote:
        return None
    from corten.monitor import remote

    return remote.of(spec.log, spec.id)


def listen(path: str) -> socket.socket | None:
    """Where a later engine finds this monitor; None for no path. Raises OSError."""
    if not path:
        return None
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    previous = os.umask(0o177)
    try:
        listener.bind(path)
    finally:
        os.umask(previous)
    listener.listen(1)
    return listener


def unlisten(listener: socket.socket | None, path: str) -> None:
    """Stop listening, and leave no file."""
    if listener is not None:
        listener.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
