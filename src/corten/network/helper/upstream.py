"""Whom to ask for names that are not containers': from the host's resolv.conf as it is now, or as --dns said.

The host's own servers on its loopback are asked from the host, and so are those reached by IPv6, which a container may
not have; all others from where the container stands, by its routes and filters. What --dns names is asked from there
without exception: 127.0.0.1 is the container's own.
"""

from __future__ import annotations

import dataclasses
import os
import socket
from collections.abc import Sequence

_MOST = 3
"""MAXNS of resolv.conf(5), which Docker keeps to as well."""
_PORT = 53
Address = tuple[str, int] | tuple[str, int, int, int]


@dataclasses.dataclass(frozen=True, slots=True)
class Server:
    """One to ask."""

    address: Address
    family: socket.AddressFamily
    from_host: bool
    """From the host's namespace, not the container's."""


def servers(texts: Sequence[str], *, of_host: bool) -> list[Server]:
    """Those that can be asked, in their order; ``of_host``: from the host's resolv.conf."""
    found = filter(None, (_server(text, of_host=of_host) for text in texts))
    return list(found)[:_MOST]


def _server(text: str, *, of_host: bool) -> Server | None:
    host, _, zone = text.partition("%")
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            packed = socket.inet_pton(family, host)
        except OSError:
            continue
        if family == socket.AF_INET:
            return Server((host, _PORT), family, of_host and packed[0] == 127)
        return Server((host, _PORT, 0, _scope(zone)), family, of_host)
    return None


def _scope(zone: str) -> int:
    try:
        return int(zone) if zone.isdigit() else socket.if_nametoindex(zone) if zone else 0
    except OSError:
        return 0


class HostServers:
    """The servers of the host's resolv.conf, read again when it has changed: a VPN came or went."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._seen: tuple[int, ...] = ()
        self._servers: list[Server] = []

    def __call__(self) -> list[Server]:
        """As of now; none where there is no such file."""
        try:
            status = os.stat(self._path)
            seen = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
            if seen != self._seen:
                self._servers, self._seen = servers(_nameservers(self._path), of_host=True), seen
        except OSError:
            self._servers, self._seen = [], ()
        return self._servers


def _nameservers(path: str) -> list[str]:
    with open(path, encoding="utf-8", errors="replace") as file:
        lines = [line.split() for line in file]
    return [words[1] for words in lines if len(words) > 1 and words[0] == "nameserver"]
