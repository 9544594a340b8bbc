"""The protocol of SSH agents (draft-ietf-sshm-ssh-agent), as far as a build needs it: whole messages, and which of them
a build may send. It may list keys and have something signed; it may not add, remove or lock any.
"""

from __future__ import annotations

from corten.errors import DataCorrupt

LONGEST = 256 << 10
"""Bytes of a message, as OpenSSH has it."""
_LENGTH = 4
_REQUEST_IDENTITIES, _SIGN_REQUEST = 11, 13
FAILURE = b"\0\0\0\1\5"
"""SSH_AGENT_FAILURE."""


class MessageReader:
    """Takes bytes cut anywhere and gives whole messages, their lengths before them."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def receive(self, data: bytes) -> list[bytes]:
        """The messages that ``data`` completes. Raises DataCorrupt for one that is too long, or has no type."""
        self._buffer += data
        found = []
        while len(self._buffer) >= _LENGTH:
            size = int.from_bytes(self._buffer[:_LENGTH], "big")
            if not 0 < size <= LONGEST:
                raise DataCorrupt(f"read message of an SSH agent: {size} bytes")
            if len(self._buffer) < _LENGTH + size:
                break
            found.append(bytes(self._buffer[: _LENGTH + size]))
            del self._buffer[: _LENGTH + size]
        return found


def permitted(message: bytes) -> bool:
    """Whether a build may send this message to somebody's agent."""
    return message[_LENGTH] in (_REQUEST_IDENTITIES, _SIGN_REQUEST)
