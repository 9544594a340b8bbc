"""/etc/hosts and /etc/resolv.conf, by Docker's rules."""

from __future__ import annotations

import pytest

from corten.errors import InvalidInput
from corten.network.files import hosts_file, hosts_file_of_host, own_entry, resolv_conf, resolver_is_stub


def _tail(**asked: object) -> list[str]:
    return hosts_file(**asked).splitlines()[6:]  # type: ignore[arg-type]


def test_a_hosts_file() -> None:
    assert hosts_file().splitlines() == [
        "127.0.0.1\tlocalhost",
        "::1\tlocalhost ip6-localhost ip6-loopback",
        "fe00::\tip6-localnet",
        "ff00::\tip6-mcastprefix",
        "ff02::1\tip6-allnodes",
        "ff02::2\tip6-allrouters",
    ]


def test_added_hosts() -> None:
    extra = ["db:10.0.0.5", "six=2001:db8::1", "bracket:[::2]", "host.docker.internal:host-gateway"]
    assert _tail(extra=extra, gateway="172.17.0.1") == [
        "10.0.0.5\tdb",
        "2001:db8::1\tsix",
        "::2\tbracket",
        "172.17.0.1\thost.docker.internal",
    ]


def test_the_lines_of_ones_own_addresses() -> None:
    assert own_entry("172.17.0.2", hostname="web") == "172.17.0.2\tweb\n"
    assert own_entry("fd00::2", hostname="web", domainname="example.org") == "fd00::2\tweb.example.org web\n"
    assert own_entry("", hostname="web") == own_entry("172.17.0.2", hostname="") == ""


@pytest.mark.parametrize("entry", ["db", "db:", "db:nowhere", "gw:host-gateway"])
def test_bad_hosts(entry: str) -> None:
    with pytest.raises(InvalidInput, match="add host"):
        hosts_file(extra=[entry])


@pytest.mark.parametrize("text", ["127.0.0.1 me", "127.0.0.1 me\n"])
def test_the_hosts_own_file_is_kept(text: str) -> None:
    assert hosts_file_of_host(text, extra=["db:10.0.0.5"]) == "127.0.0.1 me\n10.0.0.5\tdb\n"


_HOST = """\
# made by hand
domain old.example
nameserver 127.0.0.53
nameserver 10.0.0.53
nameserver fe80::1%eth0
search a.example b.example
options edns0 trust-ad
"""


def test_servers_that_a_container_cannot_reach_are_left_out() -> None:
    assert resolv_conf(_HOST) == "nameserver 10.0.0.53\nsearch a.example b.example\noptions edns0 trust-ad\n"


@pytest.mark.parametrize(
    "host", ["", "nameserver 127.0.0.1\n", "nameserver ::1\n", "nameserver nonsense\n", "nameserver\n"]
)
def test_a_fallback_when_none_remains(host: str) -> None:
    assert resolv_conf(host) == "nameserver 8.8.8.8\nnameserver 8.8.4.4\n"


def test_in_the_hosts_namespace_every_server_is_reached() -> None:
    assert resolv_conf(_HOST, own_namespace=False).startswith("nameserver 127.0.0.53\nnameserver 10.0.0.53\n")


def test_what_is_asked_replaces() -> None:
    text = resolv_conf(_HOST, servers=["127.0.0.1", "2001:db8::1"], search=["c.example"], options=["ndots:2"])
    assert text == "nameserver 127.0.0.1\nnameserver 2001:db8::1\nsearch c.example\noptions ndots:2\n"


def test_a_dot_means_no_search() -> None:
    assert "search" not in resolv_conf(_HOST, search=["."])


def test_the_stub_is_told_apart() -> None:
    assert resolver_is_stub("nameserver 127.0.0.53\n")
    assert not resolver_is_stub(_HOST)
