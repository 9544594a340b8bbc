"""Those who take a container's log: a syslog daemon that keeps what it hears, and systemd's journal."""

from __future__ import annotations

import json
import os
import select
import shutil
import socket
import ssl
import subprocess
import threading
from pathlib import Path
from typing import Any

from tests.support.command import run
from tests.support.process import end, wait_until

_JOURNALD = "/lib/systemd/systemd-journald"
_SCRIPT = (
    "mkdir -p /run/systemd /run/log && mount -t tmpfs tmpfs /run/systemd && mount -t tmpfs tmpfs /run/log && "
    f"mkdir -p /run/systemd/journal /run/log/journal && exec {_JOURNALD}"
)


class Syslog:
    """Listens on a socket that is bound, and keeps every byte. ``context`` makes it speak TLS."""

    def __init__(self, listener: socket.socket, context: ssl.SSLContext | None = None) -> None:
        self._listener, self._context = listener, context
        self.heard: list[bytes] = []
        """Datagrams; or what came by each connection, in pieces."""
        self.connections = 0
        self._end, self._ended = os.pipe()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        if listener.type == socket.SOCK_STREAM:
            listener.listen()
        self._thread.start()

    @classmethod
    def unix(cls, path: Path, kind: int) -> Syslog:
        """On a path."""
        listener = socket.socket(socket.AF_UNIX, kind)
        listener.bind(str(path))
        return cls(listener)

    @classmethod
    def inet(cls, kind: int, context: ssl.SSLContext | None = None, port: int = 0) -> Syslog:
        """On a port of loopback."""
        listener = socket.socket(socket.AF_INET, kind)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        return cls(listener, context)

    @property
    def port(self) -> int:
        """Its port."""
        number: int = self._listener.getsockname()[1]
        return number

    @property
    def text(self) -> str:
        """All that was heard."""
        return b"".join(self.heard).decode()

    def wait(self, what: str) -> str:
        """All that was heard, once ``what`` is among it."""
        wait_until(lambda: what in self.text, f"{what!r} in {self.text!r}")
        return self.text

    def _serve(self) -> None:
        streams: list[socket.socket] = []
        while True:
            waited: list[Any] = [self._end, self._listener, *streams]
            ready, _, _ = select.select(waited, [], [])
            if self._end in ready:
                break
            for one in ready:
                if one is not self._listener or self._listener.type == socket.SOCK_DGRAM:
                    self._hear(one, streams)
                elif (stream := self._accepted()) is not None:
                    streams.append(stream)
        for one in streams:
            one.close()

    def _accepted(self) -> socket.socket | None:
        stream, _ = self._listener.accept()
        self.connections += 1
        try:
            return stream if self._context is None else self._context.wrap_socket(stream, server_side=True)
        except OSError:  # it only looked whether somebody is there
            return None

    def _hear(self, one: Any, streams: list[socket.socket]) -> None:
        try:
            data = one.recv(1 << 20)
        except OSError:
            data = b""
        if data:
            self.heard.append(data)
        elif one in streams:
            streams.remove(one)
            one.close()

    def close(self) -> None:
        """Hang up on everybody."""
        os.close(self._ended)
        self._thread.join()
        os.close(self._end)
        self._listener.close()


def journald_problem() -> str:
    """Why systemd's journal cannot be started here; '' when it can."""
    missing = [tool for tool in ("journalctl", "nsenter", "unshare") if not shutil.which(tool)]
    missing += [] if os.path.exists(_JOURNALD) else ["systemd-journald"]
    return f"not installed: {' '.join(missing)}" if missing else ""


class Journald:
    """A journal in a mount namespace of its own, where it takes the place of the machine's."""

    def __init__(self, log: Path) -> None:
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                ["unshare", "--mount", "--propagation", "private", "sh", "-c", _SCRIPT],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip
        root = Path(f"/proc/{self._process.pid}/root/run/systemd/journal")
        wait_until(lambda: (root / "socket").exists(), f"journald: {log.read_text()}", pid=self._process.pid)

    @property
    def within(self) -> tuple[str, ...]:
        """What runs a command where this journal is the machine's."""
        return ("nsenter", f"--mount=/proc/{self._process.pid}/ns/mnt", "--")

    def entries(self, *matches: str) -> list[dict[str, Any]]:
        """What ``journalctl`` shows."""
        said = run([*self.within, "journalctl", "-o", "json", "--no-pager", "--all", *matches])
        return [json.loads(line) for line in said.lines if line.startswith("{")]

    def close(self) -> None:
        """End it; its files go with its namespace."""
        end(self._process)
