"""Start the engine of a data root when nothing listens on its socket; ten at once start one.

The engine becomes a process of its own: a new session (a closed terminal or Ctrl-C does not reach it), ``/``
as its directory, umask 022, standard streams to ``engine.log``, every other descriptor closed (so that
``x=$(corten run …)`` returns), and an environment with nothing of the user's shell but what reaches registries.
"""

from __future__ import annotations

import os
import sys

from corten.errors import CortenError, Unavailable
from corten.wire.places import make_run_directory, run_directory

from .connection import Connection, own_connection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from .address import Address

_KEPT = (
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "XDG_DATA_HOME", "XDG_RUNTIME_DIR",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy",
    "all_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR",
)  # fmt: skip
_PATIENCE_S = 30
_STEP_MS = 3
_LINES_SHOWN = 12


class Autostart:
    """Connects to the engine of a data root, starting it when it is not there: a Client's ``connect``."""

    def __init__(self, root: str, environment: Mapping[str, str]) -> None:
        self.root = root
        self.environment = environment
        self.run = run_directory(root, environment)
        self.log = os.path.join(root, "engine.log")

    def __call__(self, address: Address) -> Connection:
        """A connection. Raises Unavailable with the end of the engine's log when it cannot be started,
        AccessDenied when somebody else listens there."""
        try:
            return own_connection(address)
        except Unavailable:
            return self._start(address)

    def _start(self, address: Address) -> Connection:
        make_run_directory(self.run)
        try:
            os.makedirs(self.root, mode=0o711, exist_ok=True)
            lock = os.open(os.path.join(self.run, "start.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise CortenError.from_os("start the engine in", error.filename or self.root, error) from error
        try:
            return self._start_locked(address, lock)
        finally:
            os.close(lock)

    def _start_locked(self, address: Address, lock: int) -> Connection:
        import fcntl

        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            return own_connection(address)  # started by another while this one waited for the lock
        except Unavailable:
            start = _size(self.log)
        pid = self._spawn()
        return self._answering(address, pid, start)

    def _spawn(self) -> int:
        """Fork the engine; its pid. Nothing between fork and exec can raise into the caller's code."""
        pid = os.fork()
        if pid == 0:
            try:
                self._become_engine()
            finally:
                os._exit(127)
        return pid

    def _become_engine(self) -> None:
        log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.setsid()
        os.chdir("/")
        os.umask(0o022)
        os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        kept = {name: self.environment[name] for name in _KEPT if name in self.environment}
        # -P: the current directory's modules are none of the engine's.
        argv = [sys.executable, "-P", "-m", "corten.daemon", "--root", os.path.abspath(self.root)]
        os.execve(sys.executable, argv, kept)

    def _answering(self, address: Address, pid: int, start: int) -> Connection:
        """Wait until the engine answers a ping, no longer than it lives."""
        import select

        watched = select.poll()
        descriptor = os.pidfd_open(pid)
        try:
            watched.register(descriptor, select.POLLIN)
            for _ in range(_PATIENCE_S * 1000 // _STEP_MS):
                if (connection := _ping(address)) is not None:
                    return connection
                if watched.poll(_STEP_MS):
                    raise self._failure("it ended at once", start)
        finally:
            os.close(descriptor)
        raise self._failure(f"it does not answer after {_PATIENCE_S} s", start)

    def _failure(self, cause: str, start: int) -> Unavailable:
        said = _tail(self.log, start)
        return Unavailable(f"start the engine of {self.root}: {cause}", hint=said or f"see {self.log}")


def _ping(address: Address) -> Connection | None:
    """A connection that has answered once, or None."""
    from .core import Client

    kept: list[Connection] = []
    try:
        with Client(address) as client:
            client.open("GET", "/_ping").read()
            kept, client._idle = client._idle, []
    except Unavailable:
        return None
    return kept.pop() if kept else Connection(address)


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def _tail(path: str, start: int) -> str:
    """The last lines that were written to a log after ``start``."""
    try:
        with open(path, "rb") as log:
            log.seek(start)
            lines = log.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return "\n".join(lines[-_LINES_SHOWN:])
