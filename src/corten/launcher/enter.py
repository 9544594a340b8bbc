"""Becoming root of a user namespace: of the one that containers of an earlier engine live in, or of a new one.

::

    engine's process                           helper (forked before)
    unshare(user, mount)
    go ─────────────────────────────────────►  newuidmap PID …; newgidmap PID …
                       ◄───────────────────── what they complained of
    is user 0 inside: it is the engine from here on

The process stays the same, so that whoever started it (systemd, a shell, the command line) goes on watching the right
one. It has a single thread until then: a user namespace can be entered by no other (unshare(2), setns(2)).
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

from corten.errors import CortenError
from corten.launcher.helper import Helper
from corten.launcher.ids import Ids, of_user, single
from corten.launcher.refusal import refusal
from corten.sys import process
from corten.sys.standing import Range

_CREDENTIALS = struct.Struct("iII")
"""struct ucred: pid, uid, gid (unix(7))."""


def enter(monitors: Path, before_new: Callable[[], None]) -> list[str]:
    """Make this process root of a user namespace, unless it is root already; notices for the engine's log.

    ``monitors`` is where the monitors of this user's containers listen: when one lives, its namespaces are entered,
    since what lives in them can be signalled, entered and mounted for from there alone. The data root's lock must be
    held: a monitor takes who knocks for its engine. ``before_new`` is called before a new namespace is made: the last
    moment in which what an earlier one still holds can be signalled, by who owns it. Raises AccessDenied where the
    machine forbids it, CortenError.
    """
    if os.geteuid() == 0:
        return []
    for pidfd, pid in _living(monitors):
        _join(pidfd, pid)
        return [f"joined the namespaces of monitor {pid}, whose container runs"]
    before_new()
    return _make(of_user())


# --- joining


def _living(monitors: Path) -> Iterator[tuple[int, int]]:
    """(pidfd, pid) of the monitors that live; the descriptor is good until the next one."""
    with contextlib.suppress(FileNotFoundError):
        for name in sorted(os.listdir(monitors)):
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK) as knock:
                with contextlib.suppress(OSError):  # nobody listens any more, or it is about to leave
                    knock.connect(f"{monitors}/{name}")
                    pid = _listener(knock)
                    pidfd = process.pidfd_open(pid)
                    try:
                        if not _is_closed(knock):  # so the number was still the listener's when the pidfd was opened
                            yield pidfd, pid
                    finally:
                        os.close(pidfd)


def _listener(knock: socket.socket) -> int:
    """The process that listens: SO_PEERCRED."""
    found = knock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(found)[0])


def _is_closed(knock: socket.socket) -> bool:
    poll = select.poll()
    poll.register(knock, select.POLLHUP)
    return any(events & (select.POLLHUP | select.POLLERR) for _, events in poll.poll(0))


def _join(pidfd: int, pid: int) -> None:
    try:
        process.setns(pidfd, process.CLONE_NEWUSER | process.CLONE_NEWNS)
    except OSError as error:
        raise CortenError.from_os("enter the namespaces of", f"monitor {pid}", error) from error


# --- making


def _make(ids: Ids) -> list[str]:
    pid = str(os.getpid())
    commands = {}
    if ids.helpers is not None:
        commands = {"uid_map": [ids.helpers.uids, pid, *_words(ids.uids)],
                    "gid_map": [ids.helpers.gids, pid, *_words(ids.gids)]}  # fmt: skip
    alone = single(ids.why)
    try:
        with Helper(commands) as helper:
            process.unshare(process.CLONE_NEWUSER | process.CLONE_NEWNS)
            complaints = helper.run()
            for name, ranges in (("uid_map", alone.uids), ("gid_map", alone.gids)):
                if complaints.get(name) or ids.helpers is None:
                    _map_oneself(name, ranges)
    except OSError as error:
        raise refusal(error) from error
    if os.geteuid() != 0:
        raise CortenError(f"map ids: the engine is user {os.geteuid()} in its namespace, and not root")
    said = [ids.why, *complaints.values()]
    return [f"containers have a single user and group: {words}" for words in said if words]


def _map_oneself(name: str, ranges: tuple[Range, ...]) -> None:
    """A process may map itself, one id (user_namespaces(7)); a group only once it gave up setgroups(2), by which it
    could leave a group that is denied something."""
    if name == "gid_map":
        _write("setgroups", "deny")
    _write(name, " ".join(_words(ranges)))


def _words(ranges: tuple[Range, ...]) -> list[str]:
    return [str(number) for one in ranges for number in one]


def _write(name: str, text: str) -> None:
    with open(f"/proc/self/{name}", "w") as file:
        file.write(text)
