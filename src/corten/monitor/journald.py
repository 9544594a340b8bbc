"""Lines for systemd's journal."""

from __future__ import annotations

import array
import errno
import os
import socket
import time

from corten.monitor.remote import Remote
from corten.spec.monitor import LogSpec
from corten.sys import memfd
from corten.wire import journal


class Journal:
    """The way to the journal's socket. An entry is a datagram; one that is too long is a sealed memory file."""

    events = 0

    def __init__(self, path: str) -> None:
        self._path = path
        self._socket: socket.socket | None = None

    def fileno(self) -> int:
        return self._socket.fileno() if self._socket is not None else -1

    def connect(self) -> bool:
        if self._socket is None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            self._socket.connect(self._path)
        return True

    def look(self) -> None:
        """It never says anything."""

    def send(self, message: bytes) -> int:
        assert self._socket is not None
        try:
            return self._socket.send(message)
        except OSError as error:
            if error.errno not in (errno.EMSGSIZE, errno.ENOBUFS):
                raise
        return self._send_file(message)

    def _send_file(self, message: bytes) -> int:
        assert self._socket is not None
        file = memfd.sealed(message)
        try:
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [file]))
            self._socket.sendmsg([], [rights])
        finally:
            os.close(file)
        return len(message)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def remote(spec: LogSpec, id: str) -> Remote:
    """The journal of this machine; ``variables`` are the fields that each entry has."""
    own = {name: text.encode("utf-8", "surrogateescape") for name, text in spec.remote["variables"].items()}
    epoch = f"{id}/{time.time_ns()}".encode()
    ordinal = 0

    def encode(line: bytes, stream: str, partial: bool) -> bytes:
        nonlocal ordinal
        ordinal += 1
        more = {"CONTAINER_PARTIAL_MESSAGE": b"true"} if partial else {}
        return journal.encode({
            **own, "CONTAINER_LOG_EPOCH": epoch, "CONTAINER_LOG_ORDINAL": b"%d" % ordinal, **more,
            "PRIORITY": journal.priority(stream), "MESSAGE": line,
        })  # fmt: skip

    return Remote(Journal(spec.remote.get("path") or journal.SOCKET), encode, limit=spec.buffer, waits=spec.waits)
