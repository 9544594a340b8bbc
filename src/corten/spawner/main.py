"""The spawner: a small single-threaded process that forks monitors and workers for the engine, and reaps them.

Everything that a start needs is imported before the first request, and frozen, so that a fork touches few pages. It
runs from a sealed copy of the interpreter and is not dumpable, and so is all that it forks. It is a subreaper: the
init of a container whose monitor was killed becomes its child, and the true exit status is not lost.
"""

from __future__ import annotations

import contextlib
import ctypes  # noqa: F401
import dataclasses  # noqa: F401
import gc
import json  # noqa: F401
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

# First what a monitor lives by, and before that what it needs of the standard library: a page that a fork writes is
# copied, and these lie side by side.
import corten.monitor.monitor
import corten.runtime.cgroups
import corten.sys.signals

# isort: split
import corten.network.announce
import corten.network.link
import corten.network.resolver
import corten.runtime.cgroups.absent
import corten.runtime.cgroups.mounts
import corten.runtime.cgroups.v1
import corten.runtime.cgroups.v2
import corten.runtime.operations  # noqa: F401
from corten.runtime import cgroups, shelf
from corten.runtime.ahead import Ahead
from corten.spawner import monitors, rehearsal, workers
from corten.spec import names
from corten.spec.monitor import CONTAINER
from corten.sys import capabilities, messages, process, signals, standing

Message = dict[str, Any]


class Spawner:
    """The message loop. ``channel`` is the engine's; at its end the spawner leaves, and its monitors go on."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._wake, self._woken = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._monitors: set[int] = set()

    def run(self) -> None:
        """Serve until the engine is gone."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)
        poll = select.poll()
        poll.register(self._channel, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        capabilities.bounding()
        cgroups.detect()
        gc.collect()
        gc.freeze()
        while True:
            ready = {descriptor for descriptor, _ in poll.poll()}
            if self._wake in ready:
                self._reap()
            if self._channel.fileno() in ready:
                try:
                    message, descriptors = messages.receive(self._channel)
                except messages.Closed:
                    return
                self._serve(message, descriptors)

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake, 4096)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in self._monitors:  # how its container ended, it has told itself, or its own child will
                self._monitors.remove(pid)
            else:
                self._tell({"event": "exited", "pid": pid, "status": status})

    def _serve(self, message: Message, descriptors: list[int]) -> None:
        try:
            pid = self._fork(message, descriptors)
            answer: Message = {"pid": pid, "start_time": process.start_time(pid)} if message["seq"] else {}
        except OSError as error:
            answer = {"error": {"message": f"fork a monitor: {os.strerror(error.errno or 0).lower()}"}}
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        if message["seq"]:
            self._tell({"re": message["seq"], **answer})

    def _tell(self, message: Message) -> None:
        with contextlib.suppress(messages.Closed):  # the next receive sees the end
            messages.send(self._channel, message)

    def _fork(self, message: Message, descriptors: list[int]) -> int:
        """A process that does what the message asks for; its pid."""
        pid = os.fork()
        if pid == 0:
            self._become(message, descriptors)
        if message["do"] != "work":
            self._monitors.add(pid)
        return pid

    def _become(self, message: Message, descriptors: list[int]) -> NoReturn:
        """In the fork: be a monitor or a worker, and never return into the loop."""
        status = 1
        try:
            gc.disable()  # a collection would touch, and so copy, pages that are shared
            signal.set_wakeup_fd(-1)
            signals.restore(signals.SIGCHLD)
            self._channel.close()
            os.close(self._wake)
            os.close(self._woken)
            status = _ROLES[message["do"]](message, descriptors)
        except (BrokenPipeError, messages.Closed) as error:  # an engine that was killed while it waited
            print(f"{message.get('work', message['do'])}: who asked for it is gone: {error}", file=sys.stderr)
        except BaseException:  # noqa: BLE001  a fork must not return into the loop, whatever happened
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)


def _stand_by(message: Message, descriptors: list[int]) -> int:
    monitors.detach(monitors.STANDBY)
    ahead, channel = Ahead(**message["ahead"]), socket.socket(fileno=descriptors[0])
    monitors.watch(channel, lambda starter: starter.stand_by(message["home"], ahead, message["likely"]), ahead)
    return 0


def _replace(message: Message, descriptors: list[int]) -> int:
    shelf.let_go()
    monitors.detach(monitors.NAMES[CONTAINER])
    monitors.replace(message, socket.socket(fileno=descriptors[0]), descriptors[1:])
    return 0


def _help(message: Message, descriptors: list[int]) -> int:
    """Be the network helper. What that needs is imported here: no start has to carry it."""
    shelf.let_go()
    monitors.detach(names.NAME)
    from corten.network.helper import main

    main.run(descriptors[0])
    return 0


def _work(message: Message, descriptors: list[int]) -> int:
    process.set_name("corten-worker")
    return workers.work(message["work"])(message["args"], descriptors)


def _keep_shop(message: Message, descriptors: list[int]) -> int:
    """Fork workers for another channel, with everything imported that works on files need: for who has many of them."""
    process.set_name("corten-workshop")
    from corten.spawner import archives, making  # noqa: F401
    from corten.store import erofs, extract  # noqa: F401

    with socket.socket(fileno=descriptors[0]) as channel:
        Spawner(channel).run()
    return 0


_ROLES: dict[str, Callable[[Message, list[int]], int]] = {
    "stand-by": _stand_by, "replace": _replace, "work": _work, "workshop": _keep_shop, "helper": _help,
}  # fmt: skip


def main(descriptor: int, groups: Sequence[str]) -> NoReturn:
    """Be the spawner of the engine at the other end of ``descriptor``, in the control group whose files ``groups``
    are."""
    # The copy of the interpreter came in by a descriptor, which must reach no container.
    os.closerange(3, descriptor)
    os.closerange(descriptor + 1, 1 << 16)
    os.set_inheritable(descriptor, False)
    process.set_dumpable(False)
    cgroups.join(groups)
    rehearsal.rehearse()
    process.set_subreaper()
    process.set_name("corten-spawner")
    # Ctrl-C at a terminal is the engine's affair; its end shows as the end of the channel.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if standing.of_process().initial and os.geteuid() == 0:
        with contextlib.suppress(OSError):  # there is none then, and no layer comes to be a file
            shelf.build(os.getcwd())
    with socket.socket(fileno=descriptor) as channel:
        Spawner(channel).run()
    os._exit(0)
