"""Who speaks to the helper: the engine, for as long as there is one, and starters with a new container's sockets.

All knock at one door, a socket in the engine's run directory. A first message says who it is: ``engine`` stays, and is
told what there is; ``sandbox`` brings three descriptors and leaves. The names of a container that ends are forgotten
then and there, engine or not.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

from corten.network.helper.answering import Answers, Sandbox, Streams
from corten.network.helper.loop import Loop
from corten.network.helper.proxies import Proxies
from corten.spec.names import VERSION, NameRecord
from corten.sys import messages, process

IDLE = 3.0
"""Seconds without a container and a proxy after which the helper leaves: the next container has another one made."""
Message = dict[str, Any]


class Control:
    """The helper's state: sandboxes and proxies, and the engine that commands them."""

    def __init__(self, loop: Loop, door: socket.socket, answers: Answers, proxies: Proxies) -> None:
        self._loop, self._door, self._answers, self._proxies = loop, door, answers, proxies
        self._streams = Streams(loop)
        self._sandboxes: dict[str, Sandbox] = {}
        self._engine: socket.socket | None = None
        self._callers: set[socket.socket] = set()
        self._busy_until = time.monotonic() + IDLE
        self._dismissed = False
        door.setblocking(False)
        loop.add(door.fileno(), self._knock, first=True)
        loop.chore(self._look)

    def _look(self, now: float) -> float:
        """When idleness is next to be thought of."""
        if self._sandboxes or self._proxies.busy or self._callers:
            self._busy_until = now + IDLE
        return self._busy_until

    def is_over(self) -> bool:
        """Whether there is nothing to do any more."""
        if self._sandboxes or self._proxies.busy or self._callers:
            return False
        return self._dismissed or time.monotonic() >= self._busy_until

    def _knock(self) -> None:
        try:
            caller, _ = self._door.accept()
        except OSError:
            return
        caller.setblocking(False)
        self._callers.add(caller)
        self._loop.add(caller.fileno(), lambda: self._first_word(caller), first=True)

    def _first_word(self, caller: socket.socket) -> None:
        try:
            message, descriptors = messages.receive(caller)
        except BlockingIOError:
            return
        except (ConnectionError, ValueError):
            message, descriptors = {}, []
        self._callers.discard(caller)
        self._loop.remove(caller.fileno())
        if message.get("do") == "engine":
            _close(descriptors)
            self._welcome(caller)
            return
        caller.close()
        if message.get("do") == "sandbox" and message.get("version") == VERSION and len(descriptors) == 3:
            self._open(str(message["id"]), str(message["run"]), *descriptors)
        else:
            _close(descriptors)

    # --- containers

    def _open(self, id: str, run: str, pidfd: int, datagrams: int, streams: int) -> None:
        if (earlier := self._sandboxes.pop(id, None)) is not None:
            self._close(earlier)
        sockets = socket.socket(fileno=datagrams), socket.socket(fileno=streams)
        sandbox = Sandbox(self._loop, self._answers, self._streams, id, run, pidfd, sockets)
        self._sandboxes[id] = sandbox
        self._loop.add(pidfd, lambda: self._ended(sandbox), first=True)

    def _ended(self, sandbox: Sandbox) -> None:
        if self._sandboxes.get(sandbox.container_id) is sandbox:
            del self._sandboxes[sandbox.container_id]
        self._close(sandbox)
        self._answers.table.drop(sandbox.container_id, sandbox.run)

    def _close(self, sandbox: Sandbox) -> None:
        self._loop.remove(sandbox.pidfd)
        self._answers.forwarder.forget(sandbox.container_id)
        sandbox.close()

    # --- the engine

    def _welcome(self, engine: socket.socket) -> None:
        """The newest engine counts. It is told whom it speaks to, and gets the door, for a helper that comes after."""
        self._hang_up()
        pid = os.getpid()
        hello = {
            "event": "hello", "version": VERSION, "pid": pid, "start_time": process.start_time(pid),
            "boot_id": process.boot_id(), "sandboxes": {id: one.run for id, one in self._sandboxes.items()},
            "proxies": self._proxies.keys,
        }  # fmt: skip
        with contextlib.suppress(OSError):  # gone already: what it said before still counts
            messages.send(engine, hello, [self._door.fileno()])
        self._engine, self._dismissed = engine, False
        self._loop.add(engine.fileno(), self._hear, first=True)

    def _hear(self) -> None:
        """All that the engine has said."""
        while self._engine is not None:
            try:
                message, descriptors = messages.receive(self._engine)
            except BlockingIOError:
                return
            except (ConnectionError, ValueError):
                self._hang_up()
                return
            try:
                _DEEDS[message["do"]](self, message, descriptors)
            except (LookupError, TypeError, ValueError, OSError) as error:
                print(f"network helper: {message.get('do')}: {error!r}", file=sys.stderr, flush=True)
            finally:
                _close(descriptors)

    def _hang_up(self) -> None:
        if self._engine is not None:
            self._loop.remove(self._engine.fileno())
            self._engine.close()
            self._engine = None

    def _replace(self, message: Message, descriptors: list[int]) -> None:
        """The whole table, and with it which containers there are: others have ended, or are not the engine's."""
        records = [NameRecord.decode(one) for one in message["records"]]
        self._answers.table.replace(records)
        known = {record.container_id for record in records}
        for id in [id for id in self._sandboxes if id not in known]:
            self._close(self._sandboxes.pop(id))

    def _put(self, message: Message, descriptors: list[int]) -> None:
        self._answers.table.put(NameRecord.decode(message["record"]))

    def _drop(self, message: Message, descriptors: list[int]) -> None:
        id, run = str(message["id"]), str(message["run"])
        self._answers.table.drop(id, run)
        sandbox = self._sandboxes.get(id)
        if sandbox is not None and (not run or sandbox.run == run):
            self._close(self._sandboxes.pop(id))

    def _proxy(self, message: Message, descriptors: list[int]) -> None:
        listener, pidfd = descriptors
        key, target = str(message["key"]), (str(message["ip"]), int(message["port"]))
        self._proxies.open(key, socket.socket(fileno=os.dup(listener)), target, os.dup(pidfd))

    def _unproxy(self, message: Message, descriptors: list[int]) -> None:
        self._proxies.close(str(message["key"]))

    def _move(self, message: Message, descriptors: list[int]) -> None:
        target = str(message["ip"]), int(message["port"])
        self._proxies.move(str(message["from"]), str(message["key"]), target)

    def _sync(self, message: Message, descriptors: list[int]) -> None:
        """All that was said before is done."""
        if self._engine is not None:
            with contextlib.suppress(OSError):  # an engine that does not listen is an engine that does not wait
                messages.send(self._engine, {"event": "synced"})

    def _bye(self, message: Message, descriptors: list[int]) -> None:
        self._dismissed = True


_DEEDS: dict[str, Callable[[Control, Message, list[int]], None]] = {
    "replace": Control._replace, "put": Control._put, "drop": Control._drop, "proxy": Control._proxy,
    "move": Control._move, "unproxy": Control._unproxy, "sync": Control._sync, "bye": Control._bye,
}  # fmt: skip


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
