"""One netlink socket: batches that are acknowledged, dumps, and the kernel's own words when it refuses."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from corten.wire import netlink as wire

NETLINK_ROUTE, NETLINK_NETFILTER = 0, 12
_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, _NETLINK_EXT_ACK = 270, 1, 11
_BUFFER = 65536
_SAFE_DATAGRAM = 65536
_SO_SNDBUFFORCE = 32
"""SO_SNDBUF past net.core.wmem_max, for CAP_NET_ADMIN (socket(7)); a long batch must fit the buffer whole."""


class NetlinkError(OSError):
    """The kernel refused a request; ``strerror`` ends with its extended acknowledgement, ``index`` is the
    request's place in its batch."""

    def __init__(self, errno: int, text: str, index: int) -> None:
        super().__init__(errno, f"{os.strerror(errno)}: {text}" if text else os.strerror(errno))
        self.index = index


class Netlink:
    """A netlink socket of the network namespace that the calling thread is in when it is opened."""

    def __init__(self, protocol: int = NETLINK_ROUTE) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_EXT_ACK, 1)
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    @property
    def port(self) -> int:
        """Its number among the sockets of its protocol, which the kernel gives with the first message."""
        return int(self._socket.getsockname()[0])

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def batch(self, *requests: wire.Request) -> None:
        """Send the requests as one datagram; the kernel works through them in order, past a failed one too.

        Only the last asks for an acknowledgement: errors come unasked. Raises NetlinkError for the first
        refused.
        """
        first, last = self._send(requests)
        self._settle(first, last)

    def transaction(self, begin: wire.Request, requests: Sequence[wire.Request], end: wire.Request) -> None:
        """Send an nfnetlink batch, of which the kernel does all or nothing. Raises NetlinkError for the first
        refused; ``index`` is its place among the requests, -1 when the batch as a whole is refused.

        The last request asks for the acknowledgement, since kernels before 6.10 give none for ``end``.
        """
        first, last = self._send((begin, *requests), end)
        self._settle(first, last, offset=1)

    def _send(self, requests: Sequence[wire.Request], *trailer: wire.Request) -> tuple[int, int]:
        """Send as one datagram; the sequence numbers of the first and of the last that is acknowledged."""
        first, last = self._sequence + 1, self._sequence + len(requests)
        parts = [
            request.encode(number, wire.NLM_F_ACK if number == last else 0)
            for number, request in enumerate((*requests, *trailer), first)
        ]
        self._sequence = last + len(trailer)
        data = b"".join(parts)
        if len(data) > _SAFE_DATAGRAM:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, 2 * len(data))
        self._socket.send(data)
        return first, last

    def _settle(self, first: int, last: int, offset: int = 0) -> None:
        """Read until the last request is answered, or a batch as a whole is refused in the name of its
        begin."""
        failure: NetlinkError | None = None
        while True:
            for message in wire.messages(self._socket.recv(_BUFFER)):
                if message.type != wire.NLMSG_ERROR or not first <= message.sequence <= last:
                    continue
                errno, text = wire.acknowledgement(message)
                if errno and failure is None:
                    failure = NetlinkError(errno, text, message.sequence - first - offset)
                if message.sequence == last or (offset and message.sequence == first):
                    if failure:
                        raise failure
                    return

    def dump(self, request: wire.Request) -> list[wire.Message]:
        """All objects that match; asked again when the kernel says that they changed meanwhile. Raises
        NetlinkError."""
        while True:
            found = self._dump_once(request)
            if found is not None:
                return found

    def _dump_once(self, request: wire.Request) -> list[wire.Message] | None:
        self._sequence += 1
        self._socket.send(request.encode(self._sequence, wire.NLM_F_DUMP))
        found: list[wire.Message] = []
        interrupted = False
        while True:
            for message in wire.messages(self._socket.recv(_BUFFER)):
                if message.sequence != self._sequence:
                    continue
                interrupted = interrupted or bool(message.flags & wire.NLM_F_DUMP_INTR)
                if message.type == wire.NLMSG_ERROR:
                    raise NetlinkError(*wire.acknowledgement(message), index=0)
                if message.type == wire.NLMSG_DONE:
                    return None if interrupted else found
                found.append(message)


class Listener:
    """What the kernel tells everybody of changes in the network namespace that the calling thread is in."""

    def __init__(self, protocol: int, groups: Sequence[int]) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._socket.setblocking(False)
        self._socket.bind((0, 0))
        for group in groups:
            self._socket.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, group)

    def fileno(self) -> int:
        """For an event loop."""
        return self._socket.fileno()

    def read(self) -> tuple[list[wire.Message], bool]:
        """What was told since the last time, and whether some of it was lost: there was more than the socket holds."""
        found: list[wire.Message] = []
        lost = False
        while True:
            try:
                data, (sender, _) = self._socket.recvfrom(_BUFFER)
            except BlockingIOError:
                return found, lost
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                lost = True
            else:
                # Only the kernel is believed: another process may write to a netlink socket, too.
                found += wire.messages(data) if sender == 0 else ()

    def close(self) -> None:
        """Hear no more."""
        self._socket.close()
