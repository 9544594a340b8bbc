"""The network helper in a process of its own, with the test as its engine."""

from __future__ import annotations

import os
import resource
import signal
import socket
from pathlib import Path

from corten.network.helper import main
from corten.network.resolver import hand_over
from corten.spec.names import NAME, Membership, NameRecord
from corten.sys import messages, process
from tests.support.leaks import name_of
from tests.support.process import descendants


def helpers_of(root: Path) -> list[int]:
    """The network helpers of a data root, also of an engine that was killed."""
    return [pid for pid in descendants(os.getpid()) if name_of(pid) == NAME and _stands_in(pid, root)]


def _stands_in(pid: int, root: Path) -> bool:
    try:
        return os.readlink(f"/proc/{pid}/cwd") == os.path.realpath(root)
    except OSError:  # it has ended
        return False


class Helper:
    """A helper in a process of its own, and the test as its engine."""

    def __init__(self, directory: Path, *, descriptors: int = 0) -> None:
        """``descriptors``: how many it may have, if not as many as the test."""
        self._descriptors = descriptors
        self.resolv_conf = directory / "resolv.conf"
        self.door = str(directory / "net.sock")
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(self.door)
        self._listener.listen()
        self.pid = os.fork()
        if not self.pid:
            self._be_it()
        self.engine, self.hello = self.speak()

    def _be_it(self) -> None:
        try:
            if self._descriptors:
                resource.setrlimit(resource.RLIMIT_NOFILE, (self._descriptors, self._descriptors))
            main.run(self._listener.detach(), str(self.resolv_conf))
        finally:
            os._exit(1)

    def speak(self) -> tuple[socket.socket, dict[str, object]]:
        """Be an engine that finds it; what it says of itself."""
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        channel.settimeout(10)
        channel.connect(self.door)
        messages.send(channel, {"do": "engine"})
        hello, descriptors = messages.receive(channel)
        for descriptor in descriptors:
            os.close(descriptor)
        return channel, hello

    def host_asks(self, *servers: str) -> None:
        """Write the host's resolv.conf anew, as a VPN would."""
        new = self.resolv_conf.with_suffix(".new")
        new.write_text("".join(f"nameserver {server}\n" for server in servers))
        new.rename(self.resolv_conf)

    def put(self, id: str, *, servers: tuple[str, ...] = (), internal: bool = False) -> None:
        """Tell of a container in the only network."""
        place = Membership("n" * 64, "net", (f"name-{id[0]}",), (f"10.9.0.{ord(id[0]) - 96}",), internal=internal)
        messages.send(self.engine, {"do": "put", "record": NameRecord(id, "run", (place,), servers).encode()})

    def open(self, id: str, pid: int) -> None:
        """What a starter does."""
        pidfd = process.pidfd_open(pid)
        try:
            hand_over(self.door, id, "run", pidfd)
        finally:
            os.close(pidfd)

    def carry(self, key: str, listener: socket.socket, target: tuple[str, int], pid: int) -> None:
        """Have a bound socket carried to a container's port, until a process ends."""
        pidfd = process.pidfd_open(pid)
        try:
            message = {"do": "proxy", "key": key, "ip": target[0], "port": target[1]}
            messages.send(self.engine, message, [listener.fileno(), pidfd])
        finally:
            os.close(pidfd)

    def sandboxes(self) -> object:
        """Whom it serves; the newest engine is this one then."""
        self.engine.close()
        self.engine, self.hello = self.speak()
        return self.hello["sandboxes"]

    def has_left(self) -> bool:
        """Whether the process has ended."""
        if self.pid and os.waitpid(self.pid, os.WNOHANG)[0]:
            self.pid = 0
        return not self.pid

    def end(self) -> None:
        """Kill it."""
        self.engine.close()
        self._listener.close()
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
