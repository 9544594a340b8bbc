"""What the spawner does before it forks anyone: it lives the life of a few monitors itself.

A fork shares its memory with the spawner until one of them writes, and then a page is copied: hundreds of containers
have hundreds of monitors, each with its copies. Much of what is written is written once: the interpreter counts a
function's first calls and then rewrites its code for what they met (Python/specialize.c), and fills its cache of
methods. Where the spawner has done that, a monitor copies 50 pages less.
"""

from __future__ import annotations

import os

from corten.runtime.ahead import Ahead
from corten.spawner import monitors
from corten.spec.monitor import PIDFD, STDERR, STDOUT, LogSpec, MonitorSpec
from corten.sys import messages

_TIMES = 9
"""The eighth call of a function has its code rewritten, and the next one the operations in it."""
_SPEC = MonitorSpec(id="0" * 64, durable=False, log=LogSpec(driver="json-file")).encode()
"""A container whose log has no name, and whose end is not recorded."""


def rehearse() -> None:
    """Be the monitor of processes that say a line and end. Leaves nothing but the name of this process. Raises OSError
    where nothing could be started either."""
    for _ in range(_TIMES):
        _live()


def _live() -> None:
    engine, channel = messages.pair()
    (output, speech), (errors, silence) = os.pipe(), os.pipe()  # what is read is the monitor's to close
    init = os.fork()
    if init == 0:
        os.write(speech, b"a line\n")
        os._exit(0)
    os.close(speech)
    os.close(silence)
    pidfd = os.pidfd_open(init)
    standing = {"init": {"pid": init, "start_time": 0}, "fds": [PIDFD, STDOUT, STDERR]}
    try:
        with engine:
            messages.send(engine, {"do": "start", "monitor": _SPEC})
            messages.send(engine, {"do": "bye"})
            monitors.watch_poised(channel, standing, [pidfd, output, errors], Ahead())
    finally:
        os.close(pidfd)
