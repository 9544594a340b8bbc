"""The helper's process. It is forked by the spawner when the first container needs it, and is nobody's child when that
leaves; its memory is what the spawner has and little more.
"""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import socket

from corten.network.helper.answering import Answers
from corten.network.helper.control import Control
from corten.network.helper.forwarding import Forwarder
from corten.network.helper.loop import Loop
from corten.network.helper.proxies import Proxies
from corten.network.helper.room import Room
from corten.network.helper.upstream import HostServers
from corten.network.names import NameTable

RESOLV_CONF = "/etc/resolv.conf"
_BACKLOG = 1024


def run(door: int, resolv_conf: str = RESOLV_CONF) -> None:
    """Serve who knocks at ``door``, a bound socket, until there is nothing to do."""
    _allow_descriptors()
    with socket.socket(fileno=door) as listener, contextlib.closing(Loop()) as loop:
        listener.listen(_BACKLOG)  # again: who knocks is shown the process that did (SO_PEERCRED)
        answers = Answers(NameTable(), Forwarder(loop), HostServers(resolv_conf))
        control = Control(loop, listener, answers, Proxies(loop, Room()))
        gc.collect()
        gc.freeze()
        gc.enable()
        loop.run(control.is_over)
    os._exit(0)


def _allow_descriptors() -> None:
    """Three a container, one a question that is under way, two a connection that is carried."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
