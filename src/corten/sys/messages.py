"""Messages between Corten's processes: a JSON object and descriptors, over a SOCK_SEQPACKET unix socket.

A packet is one message. One that is larger than a socket buffer surely takes (a long environment) travels in a
sealed memory file, whose descriptor comes last. Everyone on such a socket is Corten's own; nothing here parses what
a container or a client wrote.
"""

from __future__ import annotations

import array
import json
import os
import socket
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")
_INLINE = 64 << 10
_LARGEST = 16 << 20
_MOST_DESCRIPTORS = 253
"""SCM_MAX_FD: more, the kernel does not take in one message."""
_IN_FILE = b"\0"
"""The whole packet, where the message is in a file; no JSON starts with it."""


_encode = json.JSONEncoder(separators=(",", ":")).encode
_decode = json.JSONDecoder().raw_decode
"""Without the looks at encodings and white space of json.loads: each page that a fork touches is copied."""


class Closed(ConnectionError):
    """The other side is gone."""


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected ends."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(channel: socket.socket, message: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
    """Send one message, whole. Raises Closed, and BlockingIOError on a non-blocking socket whose buffer is full."""
    data = _encode(message).encode()
    try:
        if len(data) <= _INLINE:
            socket.send_fds(channel, [data], list(descriptors))
        else:
            _send_in_file(channel, data, descriptors)
    except (BrokenPipeError, ConnectionResetError) as error:
        raise Closed(str(error)) from error


def _send_in_file(channel: socket.socket, data: bytes, descriptors: Sequence[int]) -> None:
    file = os.memfd_create("message", os.MFD_CLOEXEC)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(file, view) :]
        socket.send_fds(channel, [_IN_FILE], [*descriptors, file])
    finally:
        os.close(file)


def receive(channel: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """One message and its descriptors, which are close-on-exec and the caller's to close. Raises Closed at end of
    file, BlockingIOError on a non-blocking socket with nothing to read."""
    try:
        data, descriptors, flags = whole(lambda: _receive(channel))
    except ConnectionResetError as error:
        raise Closed(str(error)) from error
    if not data:
        raise Closed("end of file")
    if data == _IN_FILE:
        data = _read_file(descriptors.pop())
    if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
        for descriptor in descriptors:
            os.close(descriptor)
        raise Closed("a message was cut off")
    return _decode(data.decode())[0], descriptors


def whole(receive: Callable[[], T]) -> T:
    """What a receive gives, also of a peer that has closed with something unread: of that the kernel tells first, once
    (ECONNRESET), and only then gives what the peer said last."""
    try:
        return receive()
    except ConnectionResetError:
        return receive()


def _receive(channel: socket.socket) -> tuple[bytes, list[int], int]:
    """As socket.recv_fds, which passes no flags on: without MSG_CMSG_CLOEXEC, an exec at the wrong moment would inherit
    what came."""
    descriptors = array.array("i")
    space = socket.CMSG_LEN(_MOST_DESCRIPTORS * descriptors.itemsize)
    data, ancillary, flags, _ = channel.recvmsg(_INLINE + 1, space, socket.MSG_CMSG_CLOEXEC)
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(content[: len(content) - len(content) % descriptors.itemsize])
    return data, list(descriptors), flags


def _read_file(file: int) -> bytes:
    try:
        size = os.fstat(file).st_size
        if size > _LARGEST:
            raise Closed(f"a message of {size} bytes")
        return os.pread(file, size, 0)
    finally:
        os.close(file)
