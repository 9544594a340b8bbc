"""What engine, spawner and monitors say to each other: the vocabulary, in one place.

Every message is a JSON object over a SOCK_SEQPACKET socket, some with descriptors (``sys/messages.py``).

**Engine to spawner** (``do``), each that has a number (seq, not 0) answered by ``{"re": seq, "pid": …,
"start_time": …}`` or ``{"re": seq, "error": {…}}``:

=========  ==================================================================  ==============================
do         members                                                             descriptors
=========  ==================================================================  ==============================
stand-by   seq, home, ahead (runtime.ahead.Ahead), likely (a request)           the monitor's end of a socket
replace    seq, monitor, init: {pid, start_time}, fds (names of the descriptors)   the monitor's end, held ones
work       seq, work (kind), args                                              as the kind says
=========  ==================================================================  ==============================

**Spawner to engine**, unasked: ``{"event": "exited", "pid": p, "status": wait status}``: a worker that it forked has
ended, or an orphan: the init of a container whose monitor was killed.

**Engine to a monitor that stands by** (``do``): ``start`` (order: runtime.ahead.Order; monitor: MonitorSpec) or
``exec`` (order, monitor, own_pids, spawns; the init's pidfd). Where nobody stands by, one is asked for, and given it at
once. One whose init is poised needs no order: ``start`` (monitor) names the container, and the engine tells the init
itself what to execute (:mod:`corten.runtime.latch`).

**Monitor to engine** (``event``): ``standing`` (it stands by; with an init that is poised: init, pid, start_time, home;
descriptors named in ``fds``), ``hello`` (version, id, pid, start_time, phase, init,
log; descriptors named in ``fds``), ``running`` (init, started_at; descriptors named in ``fds``), ``failed`` (operation,
object, cause, errno, hint, exit_code), ``log`` (generation, size; a new generation's descriptor), ``exited`` (the
ExitRecord), ``cleaned`` (its group is gone).

**Engine to monitor** (``do``): ``go`` (the container's files are written, and its record is: start it),
``stdin-close``, ``take`` (the engine reads stdout and stderr itself), ``give`` (it no longer does), ``init-status``
(status: the spawner reaped a replaced monitor's init), ``bye`` (all is known: leave), ``take-back`` (of one that was
poised: it was not started).
"""

from __future__ import annotations

import dataclasses
from typing import Any

VERSION = 1
"""A monitor outlives upgrades: an engine speaks to monitors of its own version or older."""

CONTAINER, EXEC = "container", "exec"
"""Kinds of a monitor."""

STARTING, RUNNING, EXITED = "starting", "running", "exited"
"""Phases of a monitor."""

PIDFD, STDIN, STDOUT, STDERR, MASTER, LOG = "pidfd", "stdin", "stdout", "stderr", "master", "log"
"""Names of the descriptors that a monitor hands to the engine. ``stdin`` is to be written, ``stdout`` and ``stderr`` to
be read; ``master`` is the terminal's; ``log`` is the current generation of the log, open for reading."""

LINE = "line"
"""The engine's end of the line to an init that is poised."""

LISTENER, MOUNTS = "listener", "mounts"
"""Names of what a starter hands to its monitor besides: where a later engine knocks; the mount namespace."""


@dataclasses.dataclass(frozen=True, slots=True)
class LogSpec:
    """Where and how the log is written: ``driver`` is the form of its file, ``json-file`` or ``local``, or ``none``.

    Sizes are bytes; ``max_size`` 0 never rotates; '' for ``path`` keeps what rotation leaves in memory, for who is
    attached. ``compress`` is for rotated files, ``attributes`` stand in every entry. ``waits`` says that output that
    cannot be written waits, and with it, in the end, the container; else it is lost.

    ``remote`` tells where each line is sent besides (its member ``driver`` is ``syslog`` or ``journald``); {} is
    nowhere. ``buffer`` is how many bytes wait for that.
    """

    driver: str = "json-file"
    path: str = ""
    max_size: int = 20 << 20
    max_file: int = 5
    compress: bool = False
    attributes: dict[str, str] = dataclasses.field(default_factory=dict)
    waits: bool = True
    remote: dict[str, Any] = dataclasses.field(default_factory=dict)
    buffer: int = 1 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class MonitorSpec:
    """What a monitor needs to know beyond the plan.

    ``kind`` is ``container`` or ``exec``; ``directory`` takes exit.json ('' writes none); ``socket`` is where a later
    engine finds the monitor ('' nowhere); ``durable`` syncs the exit record to disk before anyone is told;
    ``cgroup`` is the container's group ('' for an exec), which the monitor looks into for OOM kills and removes.
    """

    id: str
    kind: str = CONTAINER
    directory: str = ""
    socket: str = ""
    terminal: bool = False
    open_stdin: bool = False
    durable: bool = True
    cgroup: str = ""
    mounts_linger: bool = False
    """The container's mounts may be taken down after its end was told, which takes the kernel some milliseconds: nobody
    outside the data root waits for them to be gone."""
    taken: bool = False
    """The engine reads stdout and stderr from the first byte on, as if it had said ``take``."""
    log: LogSpec = LogSpec(driver="none")

    def encode(self) -> dict[str, Any]:
        """The JSON form."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {**values, "log": {name: getattr(self.log, name) for name in self.log.__slots__}}

    @classmethod
    def decode(cls, value: dict[str, Any]) -> MonitorSpec:
        """The value of a JSON form."""
        return cls(**{**value, "log": LogSpec(**value["log"])})


@dataclasses.dataclass(frozen=True, slots=True)
class ExitRecord:
    """How a container or an exec ended. ``exit_code`` is the shell's (128 + signal for a death by signal);
    ``finished_at`` is nanoseconds since the epoch; ``lost`` says that nobody saw the true status."""

    exit_code: int
    signal: int
    oom_killed: bool
    finished_at: int
    boot_id: str = ""
    init_pid: int = 0
    init_start_time: int = 0
    lost: bool = False

    def encode(self) -> dict[str, Any]:
        """The JSON form, which is also that of exit.json."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def decode(cls, value: dict[str, Any]) -> ExitRecord:
        """The value of a JSON form; members that a newer monitor added are left out."""
        return cls(**{name: item for name, item in value.items() if name in cls.__slots__})
