"""``--ssh``: agents that a build may ask. This side speaks with them; the engine gets their answers only."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from socket import AF_UNIX, socket

from corten.errors import CortenError, InvalidInput
from corten.wire import sshagent

from .options import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_PATIENCE = 10
"""Seconds for a program to end."""


def _agent(text: str, stack: contextlib.ExitStack) -> tuple[str, str]:
    """The id and the socket of ``ID[=SOCKET|KEY[,KEY]]``. For keys, an agent is run until the stack ends. Raises
    UsageError, InvalidInput, CortenError."""
    name, _, value = text.partition("=")
    paths = [path for path in value.split(",") if path]
    if not name:
        raise UsageError(f'invalid argument "{text}" for "--ssh" flag: it needs ID[=SOCKET|KEY[,KEY]]')
    if not paths:
        path = os.environ.get("SSH_AUTH_SOCK", "")
        if not path:
            raise InvalidInput(
                f"--ssh {text}: invalid empty ssh agent socket", hint="make sure SSH_AUTH_SOCK is set, or name a key"
            )
        paths = [path]
    sockets = [path for path in paths if _is_socket(path)]
    if sockets and len(paths) > 1:
        raise InvalidInput(f"--ssh {text}: only one socket is allowed, and no key beside it")
    return name, sockets[0] if sockets else stack.enter_context(_with_keys(paths))


def _is_socket(path: str) -> bool:
    import stat

    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError as error:
        raise CortenError.from_os("open", path, error) from error


@contextlib.contextmanager
def _with_keys(paths: Sequence[str]) -> Iterator[str]:
    """An agent of our own that has keys. It asks for a passphrase where a key has one."""
    with tempfile.TemporaryDirectory(prefix="corten-ssh-") as directory:
        path = os.path.join(directory, "agent")
        with _run("ssh-agent", "-D", "-a", path) as process:
            try:
                while not os.path.exists(path) and process.poll() is None:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(0.01)
                with _run("ssh-add", "-q", *paths, SSH_AUTH_SOCK=path) as adding:
                    if adding.wait():
                        raise InvalidInput(f"--ssh: {', '.join(paths)}: ssh-add does not take it")
                yield path
            finally:
                process.terminate()
                process.wait(_PATIENCE)


def _run(*command: str, **variables: str) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, **variables})
    except OSError as error:
        raise CortenError.from_os("run", command[0], error) from error


class Agents:
    """The agents of ``--ssh``, with which it speaks for the engine, a connection a channel. Only what lists or signs
    reaches them. ``sockets`` are theirs, by id."""

    def __init__(self, texts: Sequence[str]) -> None:
        """Raises UsageError, InvalidInput, CortenError."""
        with contextlib.ExitStack() as stack:
            self.sockets = dict(_agent(text, stack) for text in texts)
            self._stack = stack.pop_all()
        self._open: dict[bytes, tuple[socket, sshagent.MessageReader]] = {}

    def close(self) -> None:
        """The build is over."""
        for connection, _ in self._open.values():
            connection.close()
        self._open.clear()
        self._stack.close()

    def open(self, channel: bytes, id: str) -> None:
        """The engine opens a channel. One that cannot be had answers nothing but failure."""
        path = self.sockets.get(id)
        if path is None:
            return
        connection = socket(AF_UNIX)
        try:
            connection.connect(path)
        except OSError:
            connection.close()
            return
        self._open[channel] = (connection, sshagent.MessageReader())

    def answer(self, channel: bytes, data: bytes) -> Iterator[bytes]:
        """What comes back for bytes of the engine's; at the end of a channel it is closed. Raises DataCorrupt."""
        found = self._open.get(channel)
        if not data:
            if found is not None:
                self._open.pop(channel)[0].close()
            return
        if found is None:
            yield b""
            return
        connection, reader = found
        for message in reader.receive(data):
            yield _asked(connection, message) if sshagent.permitted(message) else sshagent.FAILURE


def _asked(connection: socket, message: bytes) -> bytes:
    """An agent's answer to one message; nothing when it has gone."""
    reader = sshagent.MessageReader()
    try:
        connection.sendall(message)
        while data := connection.recv(65536):
            for answer in reader.receive(data):
                return answer
    except OSError:
        return b""
    return b""
