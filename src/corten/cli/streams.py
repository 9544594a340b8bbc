"""The bytes of an attached container: a tunnel to the engine on one side, this process's streams on the other.

One loop over poll(2). It never blocks on a stream that is not ready, so a reader of our output that dawdles does
not keep a signal, or a change of the window's size, from the container; and while our output waits, nothing is
read from the engine, whose cursor in the log waits with us.
"""

from __future__ import annotations

import _socket
import os
import select

from corten.errors import CortenError, Unavailable
from corten.wire.frames import EXIT, STDERR, SYSTEM, FrameReader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from corten.client.response import Tunnel

    from .terminal import DetachFilter

_PIECE = 32 * 1024
_ATOMIC = 4096
"""PIPE_BUF: what a pipe that polls writable takes without blocking."""
_GONE = select.POLLERR | select.POLLHUP | select.POLLNVAL


def _ignored(number: int) -> None:
    """A signal that nobody waits for."""


class Pump:
    """Moves bytes until the container's output ends, or the detach keys are typed.

    ``signals`` is a descriptor that delivers the numbers of signals as bytes, each of which goes to ``signalled``.
    """

    def __init__(
        self,
        tunnel: Tunnel,
        *,
        framed: bool,
        stdin: int | None,
        keys: DetachFilter | None = None,
        signals: int | None = None,
        signalled: Callable[[int], None] = _ignored,
    ) -> None:
        self._tunnel = tunnel
        self._frames = FrameReader() if framed else None
        self._stdin = stdin
        self._keys = keys
        self._signals = signals
        self._signalled = signalled
        self._to_engine = b""
        self._to_user: list[tuple[int, memoryview]] = []
        self._open = True
        self._stdin_told = False
        self.error = b""
        """What the engine said of a failure in the midst of the stream."""
        self.exit_code = b""
        """What it said last: how the command ended, in decimal."""

    def run(self) -> bool:
        """Move bytes to the end; False when the user detached. Raises CortenError, OSError."""
        if self._tunnel.first:
            self._received(self._tunnel.first)
        while (self._open or self._to_user) and not self._detached:
            for descriptor, happened in self._poller().poll():
                self._handle(descriptor, happened)
        if self._frames is not None and not self._frames.complete and not self._detached:
            raise Unavailable("read output: the engine closed the stream in the middle of a frame")
        if self.error:
            raise CortenError(self.error.decode("utf-8", "replace").strip())
        return not self._detached

    @property
    def _detached(self) -> bool:
        return self._keys is not None and self._keys.detached

    def _poller(self) -> select.poll:
        """Who is waited for, as things are: rebuilt each time, which costs less than keeping it right."""
        poller = select.poll()
        events = (select.POLLIN if not self._to_user else 0) | (select.POLLOUT if self._to_engine else 0)
        if self._open and events:
            poller.register(self._tunnel.fileno(), events)
        if self._to_user:
            poller.register(self._to_user[0][0], select.POLLOUT)
        if self._stdin is not None and not self._to_engine:
            poller.register(self._stdin, select.POLLIN)
        if self._signals is not None:
            poller.register(self._signals, select.POLLIN)
        return poller

    def _handle(self, descriptor: int, happened: int) -> None:
        if descriptor == self._signals:
            for number in os.read(descriptor, 64):
                self._signalled(number)
        elif self._to_user and descriptor == self._to_user[0][0] and happened & (select.POLLOUT | _GONE):
            self._write_out()
        elif descriptor == self._tunnel.fileno():
            if happened & select.POLLOUT:
                self._send()
            if happened & (select.POLLIN | _GONE):
                self._receive()
        elif descriptor == self._stdin:
            self._read_stdin(descriptor)

    # --- from the engine to the user

    def _receive(self) -> None:
        try:
            data = self._tunnel.socket.recv(_PIECE)
        except ConnectionResetError:
            data = b""
        if data:
            self._received(data)
        else:
            self._open = False

    def _received(self, data: bytes) -> None:
        if self._frames is None:
            self._to_user.append((1, memoryview(data)))
            return
        for stream, piece in self._frames.receive(data):
            if stream == SYSTEM:
                self.error += piece
            elif stream == EXIT:
                self.exit_code += piece
            else:
                self._to_user.append((2 if stream == STDERR else 1, memoryview(piece)))

    def _write_out(self) -> None:
        descriptor, data = self._to_user[0]
        written = os.write(descriptor, data[:_ATOMIC])
        if written < len(data):
            self._to_user[0] = (descriptor, data[written:])
        else:
            del self._to_user[0]

    # --- from the user to the engine

    def _read_stdin(self, descriptor: int) -> None:
        try:
            data = os.read(descriptor, _PIECE)
        except OSError:
            data = b""  # a terminal that hung up, a closed descriptor: the end, as for a pipe
        if data:
            self._to_engine = data if self._keys is None else self._keys.filter(data)
            if self._to_engine:
                self._send()
        else:
            self._end_of_input()

    def _send(self) -> None:
        try:
            sent = self._tunnel.socket.send(self._to_engine, _socket.MSG_NOSIGNAL | _socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            # The container does not read any more; its output may go on.
            self._to_engine, self._stdin = b"", None
            return
        self._to_engine = self._to_engine[sent:]

    def _end_of_input(self) -> None:
        self._stdin = None
        self._tunnel.end_of_input()
