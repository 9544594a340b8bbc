"""Whether a log can be had where its options send it: looked at before a start, so that this is what fails."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Mapping
from typing import Any

from corten.errors import CortenError
from corten.monitor import tls
from corten.monitor.syslog import local
from corten.wire import journal

_PATIENCE = 10.0
"""Seconds for a daemon over the network to answer."""


async def check(remote: Mapping[str, Any]) -> None:
    """Raises CortenError, in dockerd's words, when nobody is there."""
    try:
        async with asyncio.timeout(_PATIENCE):
            await _check(remote)
    except TimeoutError:
        raise _failure(f"dial {remote['protocol']} {remote['address']}: i/o timeout") from None
    except OSError as error:
        if not remote["protocol"]:
            raise _failure("Unix syslog delivery error") from error
        said = getattr(error, "reason", None) or os.strerror(error.errno or 0)
        cause = str(said).replace("_", " ").lower()
        raise _failure(f"dial {remote['protocol']} {remote['address']}: {cause}") from error


def _failure(cause: str) -> CortenError:
    return CortenError(f"failed to initialize logging driver: {cause}")


async def _check(remote: Mapping[str, Any]) -> None:
    if remote["driver"] == "journald":
        if not os.path.exists(journal.SOCKET):
            raise _failure("journald is not enabled on this host")
        return
    protocol, address = remote["protocol"], remote["address"]
    if protocol in ("", "unixgram", "unix"):
        _knock(socket.SOCK_STREAM if protocol == "unix" else socket.SOCK_DGRAM, address or local())
        return
    host, _, port = address.rpartition(":")
    name = host.strip("[]")
    if protocol == "udp":
        await asyncio.get_running_loop().getaddrinfo(name, port, type=socket.SOCK_DGRAM)
        return
    context: ssl.SSLContext | None = tls.context(remote["tls"]) if protocol == "tcp+tls" else None
    _, writer = await asyncio.open_connection(name, int(port), ssl=context, server_hostname=name if context else None)
    writer.close()


def _knock(kind: int, path: str) -> None:
    with socket.socket(socket.AF_UNIX, kind) as probe:
        probe.settimeout(0)
        probe.connect(path)
