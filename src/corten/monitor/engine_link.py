"""The monitor's line to the engine: it may break, be picked up by another engine, or be slow. It never blocks."""

from __future__ import annotations

import collections
import os
import select
import socket
from collections.abc import Sequence
from typing import Any

from corten.spec.monitor import STARTING, VERSION
from corten.sys import messages, process

Message = dict[str, Any]
_MOST_WAITING = 256


class EngineLink:
    """Messages to whatever engine is connected. Those that it does not take at once wait here, bounded: growth of
    the log is told once, however often it grew."""

    def __init__(self, channel: socket.socket | None) -> None:
        self._channel = channel
        self._waiting: collections.deque[tuple[Message, list[int]]] = collections.deque()
        if channel is not None:
            channel.setblocking(False)

    @property
    def connected(self) -> bool:
        """Whether there is an engine."""
        return self._channel is not None

    def fileno(self) -> int:
        """The socket's descriptor; -1 without an engine."""
        return self._channel.fileno() if self._channel is not None else -1

    @property
    def congested(self) -> bool:
        """Whether messages wait for the engine to read."""
        return bool(self._waiting)

    def replace(self, channel: socket.socket) -> None:
        """Another engine has come: the one before it is gone, whatever it believes."""
        self.close()
        channel.setblocking(False)
        self._channel = channel

    def send(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Send, or keep until the engine reads. The descriptors stay the caller's."""
        if self._channel is None:
            return
        if self._waiting and message["event"] == "log" and not descriptors:
            if self._waiting[-1][0]["event"] == "log":
                self._waiting[-1] = (message, self._waiting[-1][1])
                return
        if self._waiting or not self._sent(message, descriptors):
            if len(self._waiting) < _MOST_WAITING:
                self._waiting.append((message, [os.dup(descriptor) for descriptor in descriptors]))
            else:  # an engine that has not read for so long is taken for dead: it can connect anew
                self.close()

    def _sent(self, message: Message, descriptors: Sequence[int]) -> bool:
        assert self._channel is not None
        try:
            messages.send(self._channel, message, descriptors)
        except BlockingIOError:
            return False
        except messages.Closed:
            self.close()
        return True

    def flush(self) -> None:
        """Send what waits, as far as the engine reads."""
        while self._waiting and self._sent(*self._waiting[0]):
            if self._waiting:
                for descriptor in self._waiting.popleft()[1]:
                    os.close(descriptor)

    def receive(self) -> Message | None:
        """The next message; None when there is none now, or no engine any more."""
        if self._channel is None:
            return None
        try:
            message, descriptors = messages.receive(self._channel)
        except BlockingIOError:
            return None
        except messages.Closed:
            self.close()
            return None
        for descriptor in descriptors:  # an engine has none to give to a monitor
            os.close(descriptor)
        return message

    def hello(self, id: str, monitor: int) -> None:
        """Introduce the monitor of something that is about to start, or to be taken over. Raises OSError."""
        self.send({
            "event": "hello", "version": VERSION, "id": id, "phase": STARTING,
            "pid": monitor, "start_time": process.start_time(monitor), "fds": [],
        })  # fmt: skip

    def await_go(self) -> bool:
        """Wait until the engine says that its part is done; False when it hangs up instead."""
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
        while self.connected:
            poll.poll()
            message = self.receive()
            if message is not None:
                return bool(message["do"] == "go")
        return False

    def close(self) -> None:
        """Hang up."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        for _, descriptors in self._waiting:
            for descriptor in descriptors:
                os.close(descriptor)
        self._waiting.clear()
