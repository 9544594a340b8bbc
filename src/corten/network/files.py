"""The contents of a container's /etc/hosts and /etc/resolv.conf, by Docker's rules: text in, text out."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

from corten.errors import InvalidInput
from corten.spec.names import ADDRESS

_HOSTS = """\
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""
STUB_RESOLVER, RESOLVED_FILE = "127.0.0.53", "/run/systemd/resolve/resolv.conf"
_FALLBACK = ("8.8.8.8", "8.8.4.4")
"""Docker's, for a host whose only name servers are on its own loopback, out of a container's reach."""


def hosts_file(*, extra: Sequence[str] = (), gateway: str = "") -> str:
    """A container's hosts file, without its own address. ``extra`` are ``name:address`` of --add-host,
    ``host-gateway`` standing for ``gateway``. Raises InvalidInput for a malformed one."""
    return _HOSTS + _extra_hosts(extra, gateway)


def hosts_file_of_host(text: str, *, extra: Sequence[str] = (), gateway: str = "") -> str:
    """The hosts file of a container in the host's network namespace: the host's own, and --add-host."""
    ended = text if not text or text.endswith("\n") else text + "\n"
    return ended + _extra_hosts(extra, gateway)


def _extra_hosts(extra: Sequence[str], gateway: str) -> str:
    lines = []
    for entry in extra:
        name, _, address = entry.partition("=" if "=" in entry else ":")
        if address == "host-gateway":
            if not gateway:
                raise InvalidInput(f"add host {entry!r}: this network has no host gateway")
            address = gateway
        lines.append(f"{_host_address(address, entry)}\t{name}\n")
    return "".join(lines)


def _host_address(text: str, entry: str) -> str:
    try:
        return str(ipaddress.ip_address(text.removeprefix("[").removesuffix("]")))
    except ValueError:
        raise InvalidInput(f"add host {entry!r}: invalid IP address {text!r}") from None


def own_entry(ip: str, *, hostname: str, domainname: str = "") -> str:
    """The line of one of a container's own addresses; empty without one."""
    if not ip or not hostname:
        return ""
    full = f"{hostname}.{domainname}" if domainname else hostname
    names = dict.fromkeys((full, full.partition(".")[0]))  # a host name may have its domain in itself
    return f"{ip}\t{' '.join(names)}\n"


def is_address(text: str, version: int) -> bool:
    """Whether a text is an IP address of a version, of one machine."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return address.version == version and not address.is_unspecified


def is_link_local(text: str) -> bool:
    """Whether a text is an address of 169.254.0.0/16 or fe80::/10, without a zone."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return address.is_link_local and "%" not in text


def resolv_conf(
    host: str,
    *,
    servers: Sequence[str] = (),
    search: Sequence[str] = (),
    options: Sequence[str] = (),
    own_namespace: bool = True,
) -> str:
    """A container's resolv.conf, from the host's and what --dns, --dns-search and --dns-option replace of it.

    In a network namespace of its own (``own_namespace``) a name server on the host's loopback, or one reached
    by IPv6, is of no use: they are left out, and Google's stand in when none remains.
    """
    nameservers = list(servers) or _values(host, "nameserver")
    if own_namespace and not servers:
        nameservers = [server for server in nameservers if _reachable(server)] or list(_FALLBACK)
    domains = list(search) or _words(host, "search") or _words(host, "domain")
    chosen = list(options) or _words(host, "options")
    lines = [f"nameserver {server}" for server in nameservers]
    if domains and domains != ["."]:
        lines.append("search " + " ".join(domains))
    if chosen:
        lines.append("options " + " ".join(chosen))
    return "".join(line + "\n" for line in lines)


def resolv_conf_of_resolver(host: str, *, search: Sequence[str] = (), options: Sequence[str] = ()) -> str:
    """The resolv.conf of a container in a user's network, whose name server is the engine's own.

    Docker's ``ndots:0``, unless a number of dots is asked for: a container's name is asked for as it stands first, and
    only then with the search list.
    """
    chosen = list(options) or _words(host, "options")
    if not any(option.startswith("ndots:") for option in chosen):
        chosen.append("ndots:0")
    text = resolv_conf(host, servers=[ADDRESS], search=search, options=chosen)
    return f"# Corten's own resolver: it knows the containers in this one's networks, and asks others.\n{text}"


def options(host: str) -> list[str]:
    """The options of a resolv.conf."""
    return _words(host, "options")


def has_ndots(options: Sequence[str]) -> bool:
    """Whether a number of dots is asked for that makes a name without any one for the search list."""
    numbers = [option.partition(":")[2] for option in options if option.startswith("ndots:")]
    return any(number.isdigit() and int(number) > 0 for number in numbers)


def resolver_is_stub(host: str) -> bool:
    """Whether systemd-resolved's stub is the only name server: the real ones are in :data:`RESOLVED_FILE`."""
    return _values(host, "nameserver") == [STUB_RESOLVER]


def _reachable(server: str) -> bool:
    try:
        address = ipaddress.ip_address(server.partition("%")[0])
    except ValueError:
        return False
    return address.version == 4 and not address.is_loopback


def _directives(text: str, name: str) -> Iterable[list[str]]:
    for line in text.splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == name:
            yield words[1:]


def _values(text: str, name: str) -> list[str]:
    """The first word of each such line."""
    return [words[0] for words in _directives(text, name)]


def _words(text: str, name: str) -> list[str]:
    """The words of the last such line: it replaces those before (resolv.conf(5))."""
    found: list[str] = []
    for words in _directives(text, name):
        found = words
    return found
