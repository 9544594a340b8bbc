"""What others do to the host's network while the engine runs: rules that are deleted are made anew, a route that comes
into a network's subnet is told of."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket

from corten.engine.networks import Networks
from corten.errors import CortenError
from corten.network import host
from corten.sys.netlink import NETLINK_ROUTE, Listener
from corten.wire import netlink as wire

_log = logging.getLogger(__name__)


class NetworkWatch:
    """Listens while the engine's event loop runs."""

    def __init__(self, networks: Networks) -> None:
        self._networks = networks
        self._listeners: list[Listener] = []

    def start(self) -> None:
        """Listen from now on, after :meth:`Networks.start`."""
        groups = (wire.RTNLGRP_IPV4_ROUTE, wire.RTNLGRP_IPV6_ROUTE)
        for protocol, chosen, heard in (
            (*self._networks.firewall.groups, self.rules_changed),
            (NETLINK_ROUTE, groups, self.routes_changed),
        ):
            with contextlib.suppress(OSError):
                listener = Listener(protocol, chosen)
                self._listeners.append(listener)
                asyncio.get_running_loop().add_reader(listener.fileno(), heard, listener)

    def rules_changed(self, listener: Listener) -> None:
        """``nft flush ruleset``, or the reload of another firewall, took our rules along: they come back at once."""
        messages, lost = listener.read()
        firewall = self._networks.firewall
        own = firewall.port  # of nearly all that is heard, while somebody waits for a start
        theirs = any(one.port != own and firewall.is_removal(one) for one in messages)
        if not theirs and not lost:
            return
        try:
            if self._networks.restore_rules(whole=theirs):
                _log.warning("%s changed by another program: it is restored", firewall.changed)
        except CortenError as error:
            _log.error("%s changed by another program: %s", firewall.changed, error.message)

    def routes_changed(self, listener: Listener) -> None:
        """A route that came later, a VPN's for one, and overlaps a network: new networks avoid it, this one cannot."""
        messages, _ = listener.read()
        for message in messages:
            route = host.route_of(message) if message.type == wire.RTM_NEWROUTE else None
            if route is None or not route.network.prefixlen:
                continue
            interface = _name(route.index)
            for network, subnet in self._networks.overlapped(route.network, interface):
                _log.warning(
                    "route %s by %s overlaps network %s (%s): one of the two is not reached from this host",
                    route.network, interface or "another gateway", network, subnet,
                )  # fmt: skip

    def close(self) -> None:
        """Listen no more."""
        for listener in self._listeners:
            asyncio.get_running_loop().remove_reader(listener.fileno())
            listener.close()
        self._listeners.clear()


def _name(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError:  # several next hops, or it has gone already
        return ""
