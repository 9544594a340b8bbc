"""A plain WebSocket client over a unix socket, written from RFC 6455."""

from __future__ import annotations

import base64
import os
import socket
import struct
from pathlib import Path


class WebSocket:
    """One connection; ``status`` is the handshake's."""

    def __init__(self, path: Path, target: str, **headers: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(20)
        self._socket.connect(str(path))
        key = base64.b64encode(os.urandom(16)).decode()
        named = {"Host": "localhost", "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": key,
                 "Sec-WebSocket-Version": "13", **headers}  # fmt: skip
        lines = [f"GET {target} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items()), "", ""]
        self._socket.sendall("\r\n".join(lines).encode())
        self._stream = self._socket.makefile("rb")
        self.status = int(self._stream.readline().split()[1])
        self.headers = dict(iter(self._header, ("", "")))

    def _header(self) -> tuple[str, str]:
        name, _, value = self._stream.readline().decode().strip().partition(": ")
        return name.lower(), value

    def send(self, payload: bytes, opcode: int = 2) -> None:
        """One masked frame of less than 126 bytes."""
        mask = os.urandom(4)
        hidden = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
        self._socket.sendall(struct.pack("!BB", 0x80 | opcode, 0x80 | len(payload)) + mask + hidden)

    def receive(self) -> tuple[int, bytes]:
        """(opcode, payload) of the next frame; (-1, b"") when the connection is over."""
        head = self._stream.read(2)
        if len(head) < 2:
            return -1, b""
        size = head[1] & 0x7F
        if size > 125:
            size = int.from_bytes(self._stream.read(2 if size == 126 else 8), "big")
        return head[0] & 0x0F, self._stream.read(size)

    def rest(self) -> tuple[bytes, int]:
        """(all data to the end, the code of the closing frame)."""
        parts: list[bytes] = []
        while True:
            opcode, payload = self.receive()
            if opcode in (-1, 8):
                return b"".join(parts), int.from_bytes(payload[:2], "big")
            parts.append(payload)

    def close(self) -> None:
        """Hang up."""
        self._stream.close()
        self._socket.close()
