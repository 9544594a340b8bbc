"""A message socket under the event loop: what the engine says to its spawner and to monitors, and hears of them."""

from __future__ import annotations

import asyncio
import collections
import os
import socket
from collections.abc import Callable, Sequence
from typing import Any

from corten.sys import messages

Message = dict[str, Any]
Hear = Callable[[Message, list[int]], None]


class Channel:
    """One SOCK_SEQPACKET socket. ``hear`` gets each message and owns its descriptors; ``lost`` is called once, when
    the peer is gone. Owns the socket."""

    def __init__(self, sock: socket.socket, hear: Hear, lost: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = sock
        self._hear = hear
        self._lost: Callable[[], None] | None = lost
        self._waiting: collections.deque[tuple[Message, list[int]]] = collections.deque()
        sock.setblocking(False)
        self._loop.add_reader(sock, self._readable)

    def send(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Send, or queue while the peer does not read. Keeps duplicates of the descriptors only while queued."""
        if self._lost is None:
            return
        if self._waiting or not self._sent(message, descriptors):
            self._waiting.append((message, [os.dup(descriptor) for descriptor in descriptors]))
            self._loop.add_writer(self._socket, self._writable)

    def _sent(self, message: Message, descriptors: Sequence[int]) -> bool:
        try:
            messages.send(self._socket, message, descriptors)
        except BlockingIOError:
            return False
        except ConnectionError:  # the end is heard after what the peer said last
            self._loop.call_soon(self._readable)
            return True
        return True

    def _writable(self) -> None:
        while self._waiting and self._sent(*self._waiting[0]):
            for descriptor in self._waiting.popleft()[1]:
                os.close(descriptor)
        if not self._waiting:
            self._loop.remove_writer(self._socket)

    def _readable(self) -> None:
        """All that is there, so that several messages cost one turn of the loop."""
        while self._lost is not None:
            try:
                message, descriptors = messages.receive(self._socket)
            except BlockingIOError:
                return
            except ConnectionError:
                lost = self._lost
                self.close()
                lost()
                return
            self._hear(message, descriptors)

    def close(self) -> None:
        """Hang up; ``lost`` is not called for it."""
        if self._lost is None:
            return
        self._lost = None
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        for _, descriptors in self._waiting:
            for descriptor in descriptors:
                os.close(descriptor)
        self._waiting.clear()
        self._socket.close()
