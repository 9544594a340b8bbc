"""What the operations of one launch share, on either side of the clone."""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Mapping, Sequence

from corten.runtime import command, shelf
from corten.spec.runtime import WITHIN
from corten.sys import mounts, paths, process, signals

READY, EXECUTE, LINKED, PREPARED, BEGIN = b"ready", b"execute", b"linked", b"prepared", b"begin"
"""The words that are said besides reports of failure. Init to starter: ``prepared`` (it stands by), ``ready``. Starter
to init: ``begin`` (to one that stood by: the engine has done its part), ``linked``. Whoever opens the gate to the init:
``execute``."""
HOOKS = b"hooks"
"""Init to monitor: run the runtime's hooks. The answer is a JSON list: the container's state for those in the
container, while it is created and when it starts."""
_STATES = 1 << 16


_OF_PROCESS = re.compile(r"/proc/(\d+)/root(/.+)")


def open_source(path: str) -> int:
    """An O_PATH descriptor of a bind's source. What stands behind spec.runtime.WITHIN is looked up inside of what
    stands before it: its content is a container's, which must not lead out by a link. Raises OSError."""
    above, within, inside = path.partition(WITHIN)
    descriptor = os.open(above, os.O_PATH | os.O_CLOEXEC)
    if not within:
        return descriptor
    try:
        rules = paths.RESOLVE_IN_ROOT | paths.RESOLVE_NO_MAGICLINKS
        return paths.openat2(descriptor, os.fsencode(inside), os.O_PATH, resolve=rules)
    except OSError as error:
        raise OSError(error.errno, os.strerror(error.errno or 0), path) from error
    finally:
        os.close(descriptor)


def _opened_tree(path: str, *, recursive: bool) -> int:
    descriptor = open_source(path)
    try:
        return mounts.open_tree(descriptor, recursive=recursive)
    finally:
        os.close(descriptor)


def _tree_of(pid: int, path: str, *, recursive: bool) -> int:
    """From a process's own tree: only in its mount namespace can a mount of it be copied (open_tree(2))."""
    # By the host's /proc: an init has a pid namespace of its own, in which the number is nobody's.
    tree = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        with process.visiting(tree, process.CLONE_NEWNS):
            return _opened_tree(path, recursive=recursive)
    finally:
        os.close(tree)


class LaunchContext:
    """Implements :class:`corten.spec.operation.Context` for the starter's operations."""

    def __init__(self) -> None:
        self.init_pid = 0
        self.root = -1
        self.home = ""
        self.command = ""
        self.terminal = -1
        self.shelf = -1
        self.target = -1
        self.trees: dict[str, int] = {}
        self.state = self.state_at_start = b""

    def await_hooks(self) -> None:
        """Only an init waits."""
        raise NotImplementedError

    def source(self, path: str, *, recursive: bool) -> int:
        """From the host's tree, which is in sight; ``/proc/PID/root/…`` from that process's."""
        if matched := _OF_PROCESS.fullmatch(path):
            return _tree_of(int(matched[1]), matched[2], recursive=recursive)
        return _opened_tree(path, recursive=recursive)

    def lead_session(self) -> None:
        """At once."""
        os.setsid()
        # Python ignores SIGPIPE and SIGXFSZ, and a monitor others.
        signals.reset()

    def ready(self) -> None:
        """Only an init becomes ready."""
        raise NotImplementedError

    def execute(self, args: Sequence[str], env: Mapping[str, str]) -> None:
        """Become the command."""
        command.execute(self.command, args, env)

    def console(self, master: int, terminal: int) -> None:
        """Only an init has a console."""
        raise NotImplementedError


class InitContext(LaunchContext):
    """The init's, which speaks to the monitor over ``channel``; ``target`` is whom an exec joins, ``gate`` the
    listening socket at which a held init waits for the word to execute (-1: it is not held)."""

    def __init__(self, channel: socket.socket, *, gate: int, target: int) -> None:
        super().__init__()
        self.target = target
        self.shelf = shelf.descriptor if target < 0 else -1
        self.gate = gate
        self._channel = channel
        self._is_released = False
        self._sources: dict[tuple[str, bool], list[int]] = {}

    def bring(self, sources: Sequence[tuple[str, bool]], trees: Sequence[int]) -> None:
        """What the starter has opened for an init that has left the host's tree."""
        for (path, recursive), tree in zip(sources, trees, strict=True):
            self._sources.setdefault((path, recursive), []).append(tree)

    def source(self, path: str, *, recursive: bool) -> int:
        """What was brought, else from the host's tree."""
        if brought := self._sources.get((path, recursive)):
            return brought.pop(0)
        return LaunchContext.source(self, path, recursive=recursive)

    def await_hooks(self) -> None:
        """Ask for them; a monitor that says nothing has failed, and knows why."""
        self._channel.send(HOOKS)
        answer = self._channel.recv(_STATES)
        if not answer:
            os._exit(1)
        self.state, self.state_at_start = (text.encode() for text in json.loads(answer))

    def report(self, data: bytes) -> None:
        """Tell of a failure: the monitor, or who opened the gate."""
        self._channel.send(data)

    def console(self, master: int, terminal: int) -> None:
        """Send the master to the monitor; keep the terminal."""
        socket.send_fds(self._channel, [b"terminal"], [master])
        os.close(master)
        self.terminal = terminal

    def ready(self) -> None:
        """Tell the monitor; where the start is held, wait at the gate. Who opens it hears how the execution went.

        Once: what is done before the command at its start calls this, too.
        """
        if self._is_released:
            return
        self._is_released = True
        self._channel.send(READY)
        if self.gate < 0:
            return
        with socket.socket(fileno=self.gate) as gate:
            opener, _ = gate.accept()
        self._channel.close()
        self._channel = opener
        if opener.recv(64) != EXECUTE:
            os._exit(1)
