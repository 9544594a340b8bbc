"""Published ports that no rule of the kernel serves: what comes to a socket of the host's is carried to a container.

That is ``[::1]``, which the kernel translates to no other address, and everything where there is no firewall. The
container sees the host's address and not the client's, as with Docker's own proxy. Of connections and of datagrams'
clients there is a number; a direction holds one buffer, and is not read while that is full.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from collections.abc import Callable, Sequence
from typing import Any

from corten.network.helper.loop import READ, WRITE, Loop
from corten.network.helper.room import Room

SILENCE = 90.0
"""Seconds after which a client that sends datagrams is forgotten, as by Docker's proxy."""
_BUFFER = 1 << 16
"""Bytes, of a datagram."""
_AT_ONCE = struct.pack("ii", 1, 0)
_RECEIVED = 212992
"""Bytes, the kernel's own default: what a socket has of datagrams that were not read yet."""
_IN_A_TURN = 16


class Proxies:
    """All proxies of one engine, by the key that it gave them."""

    def __init__(self, loop: Loop, room: Room) -> None:
        self._loop, self._room = loop, room
        self._open: dict[str, tuple[_Streams | _Datagrams, int]] = {}
        loop.chore(self._expire)

    @property
    def busy(self) -> bool:
        """Whether there is any."""
        return bool(self._open)

    @property
    def keys(self) -> list[str]:
        """Those that there are."""
        return list(self._open)

    def open(self, key: str, listener: socket.socket, target: Target, pidfd: int) -> None:
        """Carry what comes to a bound socket to a container's address and port, until the process of ``pidfd`` ends.
        Both descriptors are this object's from now on."""
        self.close(key)
        listener.setblocking(False)
        family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
        kind = _Streams if listener.type == socket.SOCK_STREAM else _Datagrams
        self._open[key] = kind(self._loop, listener, family, target, self._room), pidfd
        self._loop.add(pidfd, lambda: self.close(key), first=True)

    def move(self, key: str, other: str, target: Target) -> None:
        """What came to one container's address is to go to another, from now on, by another key. Raises KeyError."""
        proxy, pidfd = self._open[key]
        listener, process = proxy.listener.dup(), os.dup(pidfd)
        self.close(key)
        self.open(other, listener, target, process)

    def close(self, key: str) -> None:
        """End a proxy and all that it carries; nothing when there is none."""
        if (found := self._open.pop(key, None)) is not None:
            proxy, pidfd = found
            self._loop.remove(pidfd)
            os.close(pidfd)
            proxy.close()

    def _expire(self, now: float) -> float:
        return min((proxy.expire(now) for proxy, _ in self._open.values()), default=now + 60.0)


Target = tuple[str, int]


class _Streams:
    """A listening socket, and the connections that came by it."""

    def __init__(
        self, loop: Loop, listener: socket.socket, family: socket.AddressFamily, target: Target, room: Room
    ) -> None:
        self._loop, self.listener, self._family, self._target, self._room = loop, listener, family, target, room
        self._connections: set[_Connection] = set()
        # What held the port before (network/ports.py) had given this up, to be the only one.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.listen(128)
        loop.add(listener.fileno(), self._accept)

    def _accept(self) -> None:
        try:
            client, _ = self.listener.accept()
        except OSError:
            return
        if not self._room.take():
            # Reset, which no client takes for an answer that is over.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
            client.close()
            return
        try:
            container = self._called()
        except OSError:
            client.close()
            self._room.give()
            return
        self._connections.add(_Connection(self._loop, client, container, self._room, self._connections.discard))

    def _called(self) -> socket.socket:
        """A socket on its way to the container. Raises OSError."""
        made = socket.socket(self._family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            with contextlib.suppress(BlockingIOError):
                made.connect(self._target)
        except OSError:
            made.close()
            raise
        return made

    def expire(self, now: float) -> float:
        return now + 60.0

    def close(self) -> None:
        self._loop.remove(self.listener.fileno())
        self.listener.close()
        for connection in list(self._connections):
            connection.close()


class _Way:
    """One direction: bytes that were read at one end and not yet written at the other."""

    def __init__(self, source: socket.socket, target: socket.socket) -> None:
        self.source, self.target = source, target
        self.held = b""
        self.ended = self.shut = False

    def move(self, most: int) -> None:
        """As much as there is and is taken, ``most`` bytes at a time. Raises OSError."""
        with contextlib.suppress(BlockingIOError):
            for _ in range(_IN_A_TURN):
                if not self.held and not self.ended:
                    self.held = self.source.recv(most)
                    self.ended = not self.held
                if self.held:
                    self.held = self.held[self.target.send(self.held) :]
                if self.held or self.ended:
                    break
        if self.ended and not self.held and not self.shut:
            self.shut = True
            with contextlib.suppress(OSError):
                self.target.shutdown(socket.SHUT_WR)


class _Connection:
    """A client and a container that are connected."""

    def __init__(
        self, loop: Loop, client: socket.socket, container: socket.socket, room: Room,
        over: Callable[[_Connection], None],
    ) -> None:  # fmt: skip
        self._loop, self._room, self._over = loop, room, over
        self._ends = (client, container)
        self._ways = (_Way(client, container), _Way(container, client))
        self._connected = False
        for end in self._ends:
            end.setblocking(False)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        loop.add(client.fileno(), self._ready, events=0)
        loop.add(container.fileno(), self._connect, events=WRITE)

    def _connect(self) -> None:
        container = self._ends[1]
        if container.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.close()
            return
        self._connected = True
        self._loop.remove(container.fileno())
        self._loop.add(container.fileno(), self._ready)
        self._ready()

    def _ready(self) -> None:
        if not self._connected:  # the client has gone
            self.close()
            return
        try:
            for way in self._ways:
                way.move(self._room.buffer)
        except OSError:
            self.close()
            return
        if all(way.shut for way in self._ways):
            self.close()
            return
        for end in self._ends:
            self._loop.change(end.fileno(), self._events(end))

    def _events(self, end: socket.socket) -> int:
        reads = any(way.source is end and not way.held and not way.ended for way in self._ways)
        writes = any(way.target is end and way.held for way in self._ways)
        return (READ if reads else 0) | (WRITE if writes else 0)

    def close(self) -> None:
        if self._ends[0].fileno() < 0:
            return
        for end in self._ends:
            self._loop.remove(end.fileno())
            end.close()
        self._room.give()
        self._over(self)


_Asked = tuple[tuple[int, int, bytes], ...]
_Client = tuple[Any, _Asked]
"""The address that a datagram came from, and the one of the host that it was sent to."""
_IP_PKTINFO, _IPV6_RECVPKTINFO, _IPV6_PKTINFO = 8, 49, 50
_TELL_ADDRESS = {
    socket.AF_INET: (socket.IPPROTO_IP, _IP_PKTINFO),
    socket.AF_INET6: (socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO),
}
_TOLD = socket.CMSG_SPACE(20)


def _asked(told: Sequence[tuple[int, int, bytes]]) -> _Asked:
    """What has an answer come from the address that was asked, as a client expects, also where the host has several: a
    struct in_pktinfo or in6_pktinfo (ip(7), ipv6(7)). The interface is the routes' to choose, but for an address that
    needs one."""
    for level, kind, data in told:
        if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO):
            return ((level, kind, bytes(4) + data[4:8] + bytes(4)),)
        if (level, kind) == (socket.IPPROTO_IPV6, _IPV6_PKTINFO):
            is_local = data[0] == 0xFE and data[1] & 0xC0 == 0x80
            return ((level, kind, data[:16] + (data[16:20] if is_local else bytes(4))),)
    return ()


class _Datagrams:
    """A socket that takes datagrams, and one for each client's answers."""

    def __init__(
        self, loop: Loop, listener: socket.socket, family: socket.AddressFamily, target: Target, room: Room
    ) -> None:
        self._loop, self.listener, self._family, self._target, self._room = loop, listener, family, target, room
        self._clients: dict[_Client, tuple[socket.socket, float]] = {}
        """Longest silent first."""
        # What held the port before took nothing in.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVED)
        listener.setsockopt(*_TELL_ADDRESS[listener.family], 1)
        loop.add(listener.fileno(), self._receive)

    def _receive(self) -> None:
        for _ in range(_IN_A_TURN):
            try:
                data, told, _, address = self.listener.recvmsg(_BUFFER, _TOLD)
            except OSError:
                return
            with contextlib.suppress(OSError):
                self._towards((address, _asked(told))).send(data)

    def _towards(self, client: _Client) -> socket.socket:
        """The socket of a client; it is heard of now."""
        known = self._clients.pop(client, None)
        made = known[0] if known is not None else self._connected(client)
        self._clients[client] = (made, time.monotonic() + SILENCE)
        return made

    def _connected(self, client: _Client) -> socket.socket:
        if not self._room.take():
            if not self._clients:
                raise BlockingIOError
            self._forget(next(iter(self._clients)))
            self._room.take()
        try:
            made = self._called()
        except OSError:
            self._room.give()
            raise
        self._loop.add(made.fileno(), lambda: self._answer(made, client))
        return made

    def _called(self) -> socket.socket:
        made = socket.socket(self._family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            made.connect(self._target)
        except OSError:
            made.close()
            raise
        return made

    def _answer(self, made: socket.socket, client: _Client) -> None:
        address, asked = client
        for _ in range(_IN_A_TURN):
            try:
                data = made.recv(_BUFFER)
            except OSError:  # no more, or a word that nobody listens there
                return
            with contextlib.suppress(OSError):
                self.listener.sendmsg([data], asked, 0, address)

    def _forget(self, client: _Client) -> None:
        made, _ = self._clients.pop(client)
        self._loop.remove(made.fileno())
        made.close()
        self._room.give()

    def expire(self, now: float) -> float:
        while self._clients:
            client, (_, deadline) = next(iter(self._clients.items()))
            if deadline > now:
                return deadline
            self._forget(client)
        return now + 60.0

    def close(self) -> None:
        self._loop.remove(self.listener.fileno())
        self.listener.close()
        for client in list(self._clients):
            self._forget(client)
