"""A process that stays outside of the new namespace: only from there can newuidmap(1) and newgidmap(1) be root.

It is forked before, waits for the word, runs the two on its parent, and says what they complained of.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Mapping, Sequence

from corten.errors import CortenError

_GO = b"go"


class Helper:
    """``commands`` by name, each an argv of numbers that the files of subordinate ids gave. A context manager."""

    def __init__(self, commands: Mapping[str, Sequence[str]]) -> None:
        self._channel, theirs = socket.socketpair()
        with theirs:
            self._pid = os.fork()
            if self._pid == 0:
                self._channel.close()
                _be_helper(theirs, commands)

    def run(self) -> dict[str, str]:
        """Have the commands executed now: what each complained of, '' where it did its work. Raises CortenError when
        it died over them."""
        self._channel.sendall(_GO)
        with self._channel.makefile("rb") as answer:
            told = answer.read()
        if not told:
            raise CortenError("map ids: the helper died")
        return dict(json.loads(told))

    def __enter__(self) -> Helper:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()
        os.waitpid(self._pid, 0)


def _be_helper(channel: socket.socket, commands: Mapping[str, Sequence[str]]) -> None:
    """In the fork; never returns into its caller."""
    try:
        if channel.recv(len(_GO)):
            channel.sendall(json.dumps({name: _complaint(argv) for name, argv in commands.items()}).encode())
    finally:
        os._exit(0)


def _complaint(argv: Sequence[str]) -> str:
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, env={}, cwd="/", check=False)
    except OSError as error:
        return f"{argv[0]}: {(error.strerror or '').lower()}"
    said = done.stderr.decode(errors="replace").strip()
    return (said or f"{argv[0]}: status {done.returncode}") if done.returncode else ""
