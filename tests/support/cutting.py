"""A wire that breaks: a TCP relay that cuts its first connections after so many bytes of what clients send."""

from __future__ import annotations

import contextlib
import select
import socket
import threading

_STEP = 1 << 14


class CuttingRelay:
    """Relays to a port of loopback; ``cuts`` are the bytes after which the next connection that sends so many ends."""

    def __init__(self, target: int, cuts: list[int]) -> None:
        self._target, self._cuts = target, cuts
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.sent = 0
        """Bytes that clients sent in all."""
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Listen no more. Closing alone wakes nobody who waits in accept(2): he would go on with whatever gets the
        descriptor's number next."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def _relay(self, client: socket.socket) -> None:
        server = socket.create_connection(("127.0.0.1", self._target))
        own = 0
        with client, server, contextlib.suppress(OSError):
            while True:
                ready, _, _ = select.select([client, server], [], [])
                for one in ready:
                    data = one.recv(_STEP)
                    if not data:
                        return
                    (server if one is client else client).sendall(data)
                    if one is client:
                        own += len(data)
                        if self._is_cut(own, len(data)):
                            return

    def _is_cut(self, own: int, more: int) -> bool:
        with self._lock:
            self.sent += more
            if self._cuts and own > self._cuts[0]:
                self._cuts.pop(0)
                return True
        return False
