"""EXPOSE: ``[[IP:]HOST:]PORT[-PORT][/PROTOCOL]``, of which an image keeps the container's ports alone."""

from __future__ import annotations

import ipaddress
import re

from corten.build.expansion import quoted
from corten.errors import InvalidInput

_PROTOCOLS = ("tcp", "udp", "sctp")
_NUMBER = re.compile(r"\+?0{0,99}[0-9]{1,5}", re.ASCII)


def parse(text: str) -> tuple[str, ...]:
    """``80/tcp`` and so on for each port of a range. Raises InvalidInput in BuildKit's words."""
    address, host, container, protocol = split(text)
    if address.startswith("[") and address.endswith("]"):
        address = address[1:-1]
    if address and not _is_address(address):
        raise InvalidInput(f"invalid IP address: {address}")
    first, last = _range(container, "containerPort")
    if host:
        host_first, host_last = _range(host, "hostPort")
        if last - first not in (0, host_last - host_first):
            raise InvalidInput(f"invalid ranges specified for container and host Ports: {container} and {host}")
    return tuple(f"{port}/{protocol.lower()}" for port in range(first, last + 1))


def split(text: str) -> tuple[str, str, str, str]:
    """Address, host's port, container's port and protocol as written. Raises InvalidInput."""
    *before, last = text.split(":")
    container, _, protocol = last.partition("/")
    if not container:
        raise InvalidInput(f"invalid port: {quoted(text)}: no port specified")
    if protocol and protocol.lower() not in _PROTOCOLS:
        raise InvalidInput(f"invalid port: {quoted(text)}: invalid proto: {protocol}")
    return ":".join(before[:-1]), before[-1] if before else "", container, protocol or "tcp"


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _range(text: str, what: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    ends = (first, last) if dash else (first, first)
    if not all(_NUMBER.fullmatch(end) and int(end) <= 65535 for end in ends) or int(ends[1]) < int(ends[0]):
        raise InvalidInput(f"invalid {what}: {text}")
    return int(ends[0]), int(ends[1])
