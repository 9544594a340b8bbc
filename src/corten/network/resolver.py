"""The sockets of a container's resolver: made inside its namespace, answered by the network helper.

Port 53 stays free for a name server of the container's own, which may well listen on 0.0.0.0: the sockets are at
ports that the kernel chooses, and the few packets to 127.0.0.11:53, and the answers, have their port changed on the
way (``nft list ruleset`` inside shows it). Docker does the same by address translation, which would have the kernel
track every connection of the container (docs/adr/0009). Where the kernel has no nf_tables they are at port 53 itself.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import functools
import os
import socket
import struct
from collections.abc import Iterator
from typing import ClassVar

from corten.network.link import switched_on
from corten.spec.names import ADDRESS, VERSION
from corten.spec.operation import PARENT, Context, Operation, operation
from corten.sys import messages, process
from corten.sys.netlink import NETLINK_NETFILTER, Netlink
from corten.wire import nft
from corten.wire.netlink import Request

_TABLE, _CHAIN = nft.Table("corten"), "resolver"
_PORT = 53
_PORT_BYTES, _DATAGRAMS, _STREAMS = b"\0\x35", b"\xff\xfe", b"\xff\xfd"
_BACKLOG = 64
_PATIENCE = struct.pack("ll", 5, 0)
"""Seconds, for a helper that does not listen: a struct timeval (socket(7))."""
_ADDRESS = socket.inet_aton(ADDRESS)
_NO_NF_TABLES = (
    errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT, errno.EOPNOTSUPP, errno.ENOENT, errno.EPERM, errno.EACCES,
)  # fmt: skip
"""How a kernel refuses that has none of it, not the part that changes packets, or does not allow it."""


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class ResolverSockets(Operation):
    """Give the container a resolver at 127.0.0.11."""

    kind: ClassVar[str] = "network.resolver"
    stage: ClassVar[str] = PARENT
    group: ClassVar[str] = "network"

    container_id: str
    run_id: str
    door: str
    """The socket at which the network helper takes them."""

    def what(self) -> str:
        return f"{ADDRESS}:{_PORT}"

    def why(self) -> str:
        return (
            "Here the container asks for names. The sockets are made inside its namespace and handed to the network "
            "helper, which answers also while there is no engine. Packets to port 53 are sent on to the port that they "
            "have, so that the container can run a name server of its own; a kernel without nf_tables cannot do that, "
            "and they take port 53 of this address."
        )

    def shell(self) -> str:
        return "# sockets of another namespace: no shell command hands these over"

    def rehearse(self, context: Context) -> None:
        with contextlib.suppress(OSError), Netlink(NETLINK_NETFILTER):
            _template()

    def run(self, context: Context) -> None:
        pidfd = process.pidfd_open(context.init_pid)
        try:
            hand_over(self.door, self.container_id, self.run_id, pidfd)
        finally:
            os.close(pidfd)


def hand_over(door: str, container_id: str, run: str, pidfd: int, *, again: bool = False) -> None:
    """Make the sockets in the namespace of ``pidfd``, and give them to the helper at ``door``; ``again``: those of an
    earlier helper are no more. Raises OSError."""
    message = {"do": "sandbox", "id": container_id, "run": run, "version": VERSION}
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as helper:
        helper.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _PATIENCE)
        helper.connect(door)
        with _opened(pidfd, again=again) as sockets:
            messages.send(helper, message, [pidfd, *(one.fileno() for one in sockets)])


@contextlib.contextmanager
def _opened(pidfd: int, *, again: bool) -> Iterator[tuple[socket.socket, socket.socket]]:
    with contextlib.ExitStack() as opened:
        with process.visiting(pidfd, process.CLONE_NEWNET):
            _require_loopback()
            sockets = _translated(opened, again=again) or _bound(opened, _PORT)
            sockets[1].listen(_BACKLOG)
        yield sockets


def _translated(opened: contextlib.ExitStack, *, again: bool) -> tuple[socket.socket, socket.socket] | None:
    """The sockets at ports of the kernel's choice, and the rules that lead there; None where there is no nf_tables."""
    with contextlib.ExitStack() as mine:
        try:
            kernel = mine.enter_context(Netlink(NETLINK_NETFILTER))
            sockets = _bound(mine, 0)
            if again:
                _forget_rules(kernel)
            rules = _rules(*(one.getsockname()[1] for one in sockets))
            kernel.transaction(nft.begin(), rules, nft.end())
        except OSError as error:
            if error.errno not in _NO_NF_TABLES:
                raise
            return None
        kernel.close()
        opened.push(mine.pop_all())
        return sockets


def _require_loopback() -> None:
    """While lo is down, the kernel takes its addresses for broadcast ones, and answers would come from another. The
    init may not have come to it yet."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((ADDRESS, _PORT))  # sends nothing
    except OSError:
        with Netlink() as kernel:
            kernel.batch(switched_on("lo"))


def _forget_rules(kernel: Netlink) -> None:
    """Not always: to delete anything makes the kernel wait for all its processors, some 10 ms."""
    fresh = [nft.new_table(_TABLE), nft.delete_table(_TABLE)]
    kernel.transaction(nft.begin(), fresh, nft.end())


def _bound(opened: contextlib.ExitStack, port: int) -> tuple[socket.socket, socket.socket]:
    datagrams, streams = (
        opened.enter_context(socket.socket(socket.AF_INET, kind)) for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM)
    )
    # A helper that died has left connections of this port behind.
    streams.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    for one in (datagrams, streams):
        one.bind((ADDRESS, port))
    return datagrams, streams


def _rules(datagrams: int, streams: int) -> list[Request]:
    ports = datagrams.to_bytes(2, "big"), streams.to_bytes(2, "big")
    return [
        Request(one.type, one.flags, one.body.replace(_DATAGRAMS, ports[0]).replace(_STREAMS, ports[1]))
        for one in _template()
    ]


@functools.cache
def _template() -> tuple[Request, ...]:
    """The table, with marks where the ports will be: nothing else in it has such bytes."""
    marks = (socket.IPPROTO_UDP, _DATAGRAMS), (socket.IPPROTO_TCP, _STREAMS)
    rules = [
        nft.rule(_TABLE, _CHAIN, nft.move_port(protocol, *way))
        for protocol, port in marks
        for way in ((nft.TO, _ADDRESS, _PORT_BYTES, port), (nft.FROM, _ADDRESS, port, _PORT_BYTES))
    ]
    return nft.new_table(_TABLE), nft.base_chain(_TABLE, _CHAIN, "filter", nft.OUTPUT, nft.RAW), *rules
