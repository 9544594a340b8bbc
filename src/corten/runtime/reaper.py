"""``--init``: a first process that passes signals on and reaps orphans, with the command as its child."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from typing import NoReturn

from corten.runtime.command import execute

_ALL = 2**31 - 1
_OWN = (signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV, signal.SIGBUS)


def reap(path: str, args: Sequence[str], env: Mapping[str, str]) -> NoReturn:
    """Run the command as a child, forward signals to it, reap whatever else ends, and end as it ends.

    Raises CommandNotFound, CommandNotRunnable, in the child.
    """
    forwarded = signal.valid_signals() - set(_OWN)
    signal.pthread_sigmask(signal.SIG_BLOCK, forwarded | {signal.SIGCHLD})
    child = os.fork()
    if child == 0:
        _command(path, args, env)
    os.closerange(3, _ALL)
    while True:
        number = signal.sigwait(forwarded | {signal.SIGCHLD})
        if number == signal.SIGCHLD:
            _reap_all(child)
        else:
            try:
                os.kill(child, number)
            except ProcessLookupError:  # it has ended; SIGCHLD is on its way
                continue


def _command(path: str, args: Sequence[str], env: Mapping[str, str]) -> NoReturn:
    """What fails here is reported as of the init: the child has its channel to the monitor until it executes."""
    # Its own process group, in the foreground of the terminal: Ctrl-C is for the command.
    os.setpgid(0, 0)
    if os.isatty(0):
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        os.tcsetpgrp(0, os.getpgrp())
        signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    execute(path, args, env)


def _reap_all(command: int) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        if pid == command:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)
