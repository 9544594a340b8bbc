"""Names where a container has several networks, and where they change while it runs."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator

import pytest

from tests.support.command import Cli
from tests.support.dns import Upstream, answering, answers, ask, code, look_up
from tests.support.engine import Engine
from tests.support.helper import helpers_of
from tests.support.process import wait_until
from tests.support.spaces import network_of

pytestmark = [pytest.mark.root, pytest.mark.network]

NOBODY = "127.0.0.1"
"""For --dns: the container's own loopback, where nobody answers, so that no question leaves the test."""
SLEEP = ("busybox", "sleep", "1h")


@pytest.fixture(autouse=True)
def _clean(shared_engine: Engine) -> Iterator[None]:
    """Containers and networks go after each test, also after one that failed."""
    yield
    if ids := shared_engine.cli("ps", "-aq").check().lines:
        shared_engine.cli("rm", "-f", *ids).check()
    shared_engine.cli("network", "prune", "-f").check()


@pytest.fixture
def cli(shared_engine: Engine) -> Cli:
    """Docker's own command line."""
    return shared_engine.docker


def run(cli: Cli, name: str, *options: str) -> None:
    cli("run", "-d", "--init", "--name", name, "--dns", NOBODY, *options, *SLEEP).check()


def address(engine: Engine, name: str, network: str, key: str = "IPAddress") -> str:
    return str(engine.inspect(name)["NetworkSettings"]["Networks"][network][key])


def nameservers(cli: Cli, name: str) -> list[str]:
    lines = cli("exec", name, "cat", "/etc/resolv.conf").check().lines
    return [line.split()[1] for line in lines if line.startswith("nameserver")]


def test_a_container_in_two_networks(shared_engine: Engine, cli: Cli) -> None:
    """It knows both sides, and is known on each by that side's aliases; the sides do not know each other."""
    engine = shared_engine
    for network in ("front", "back"):
        cli("network", "create", network).check()
    run(cli, "web", "--network", "front", "--network-alias", "peer")
    run(cli, "db", "--network", "back", "--network-alias", "peer")
    run(cli, "app", "--network", "name=front,alias=shop,alias=both", "--network", "name=back,alias=client,alias=both")
    web, db, app = (engine.init(name) for name in ("web", "db", "app"))
    assert look_up(app, "web") == [address(engine, "web", "front")]
    assert look_up(app, "db") == [address(engine, "db", "back")]
    assert look_up(app, "peer.front") == [address(engine, "web", "front")]
    assert look_up(app, "peer.back") == [address(engine, "db", "back")]
    for init, network, own, others in ((web, "front", "shop", "client"), (db, "back", "client", "shop")):
        place = address(engine, "app", network)
        for name in ("app", own, "both", f"app.{network}"):
            assert look_up(init, name) == [place]
        assert code(init, others) == "SERVFAIL"
        pointer = ".".join(reversed(place.split("."))) + ".in-addr.arpa"
        assert look_up(init, pointer, "PTR") == [f"app.{network}."]
    for init, name in ((web, "db"), (db, "web"), (web, "app.back"), (db, "peer.front")):
        assert code(init, name) == "SERVFAIL"


def test_names_follow_connect_and_disconnect(shared_engine: Engine, cli: Cli) -> None:
    engine = shared_engine
    for network in ("front", "back"):
        cli("network", "create", network).check()
    run(cli, "web", "--network", "front")
    run(cli, "db", "--network", "back")
    web, db = engine.init("web"), engine.init("db")
    cli("network", "connect", "--alias", "store", "--link", "db:data", "back", "web").check()
    assert look_up(web, "db") == look_up(web, "data") == [address(engine, "db", "back")]
    assert look_up(db, "store") == look_up(db, "web") == [address(engine, "web", "back")]
    assert code(db, "data") == "SERVFAIL"  # the link is the other's alone
    cli("rename", "db", "sql").check()
    for name in ("sql", "sql.back", "data"):
        assert look_up(web, name) == [address(engine, "sql", "back")]
    with network_of(web), Upstream(NOBODY, answering("192.0.2.7")) as upstream:
        cli("network", "disconnect", "back", "web").check()
        assert look_up(web, "sql") == ["192.0.2.7"]  # a name like any other of the world's
    assert upstream.asked == ["sql"]
    for name in ("web", "store"):
        assert code(db, name) == "SERVFAIL"
    assert look_up(web, "web") == [address(engine, "web", "front")]
    # Without a network nobody is asked at all; with the next one all is as before.
    cli("network", "disconnect", "front", "web").check()
    with network_of(web), Upstream(NOBODY, answering("192.0.2.7")) as upstream:
        assert code(web, "example.org") == "SERVFAIL"
    assert upstream.asked == []
    cli("network", "connect", "back", "web").check()
    assert look_up(web, "sql") == [address(engine, "sql", "back")]


def test_a_resolver_comes_with_the_first_users_network(shared_engine: Engine, cli: Cli) -> None:
    """As with dockerd: it comes while the container runs, and stays; a resolv.conf of one's own is left alone."""
    engine = shared_engine
    cli("network", "create", "late").check()
    run(cli, "peer", "--network", "late")
    run(cli, "plain")
    run(cli, "own")
    cli("exec", "own", "sh", "-c", "echo nameserver 192.0.2.1 >/etc/resolv.conf").check()
    assert nameservers(cli, "plain") == [NOBODY]
    for name in ("plain", "own"):
        cli("network", "connect", "late", name).check()
    plain = engine.init("plain")
    assert nameservers(cli, "plain") == ["127.0.0.11"]
    assert nameservers(cli, "own") == ["192.0.2.1"]
    ip = address(engine, "peer", "late")
    assert ip in cli("exec", "plain", "nslookup", "peer").check().out
    assert look_up(engine.init("own"), "peer") == [ip]  # it is there to be asked
    engine.kill()
    assert look_up(plain, "peer") == [ip]
    engine.start()
    assert look_up(plain, "peer", stream=True) == [ip]
    cli("network", "disconnect", "late", "plain").check()
    with network_of(plain), Upstream(NOBODY, answering("192.0.2.7")):
        assert look_up(plain, "peer") == ["192.0.2.7"]
    engine.kill()
    engine.start()  # the default network alone is left, and the resolver is still the one that is asked
    with network_of(plain), Upstream(NOBODY, answering("192.0.2.7")):
        assert look_up(plain, "peer") == ["192.0.2.7"]
    cli("restart", "-t", "0", "plain").check()
    assert nameservers(cli, "plain") == [NOBODY]


def test_names_of_an_ipv6_network(shared_engine: Engine, cli: Cli) -> None:
    """Of both families, each from its network; a network without IPv6 has none to tell."""
    engine = shared_engine
    cli("network", "create", "--ipv6", "--subnet", "fd00:91::/64", "six").check()
    cli("network", "create", "four").check()
    run(cli, "one", "--network", "six", "--network", "four")
    run(cli, "two", "--network", "six")
    run(cli, "three", "--network", "four")
    one, three = engine.init("one"), engine.init("three")
    six = address(engine, "two", "six", "GlobalIPv6Address")
    assert six.startswith("fd00:91::")
    assert look_up(one, "two", "AAAA") == [six]
    assert look_up(one, "two") == [address(engine, "two", "six")]
    assert look_up(one, "two", "ANY") == sorted([address(engine, "two", "six"), six])
    assert look_up(three, "one") == [address(engine, "one", "four")]
    assert look_up(three, "one", "AAAA") == []
    nibbles = "".join(reversed(socket.inet_pton(socket.AF_INET6, six).hex()))
    assert look_up(one, f"{'.'.join(nibbles)}.ip6.arpa", "PTR") == ["two.six."]
    said = cli("exec", "two", "ping", "-6", "-c", "1", "one").check().out
    assert f"({address(engine, 'one', 'six', 'GlobalIPv6Address')})" in said


def test_a_service_takes_turns_in_each_network(shared_engine: Engine, cli: Cli) -> None:
    """Several containers by one alias, as Compose has the replicas of a service."""
    engine = shared_engine
    for network in ("front", "back"):
        cli("network", "create", network).check()
    for name in ("api-1", "api-2"):
        run(cli, name, "--network", "name=front,alias=api", "--network", "name=back,alias=api")
    for network in ("front", "back"):
        run(cli, network, "--network", network)
        init = engine.init(network)
        both = sorted(address(engine, name, network) for name in ("api-1", "api-2"))
        assert look_up(init, "api") == both
        assert {ask(init, "api").answer[0][0].to_text() for _ in range(4)} == set(both)
    os.kill(engine.init("api-1"), signal.SIGKILL)
    cli("wait", "api-1").check()
    for network in ("front", "back"):
        assert look_up(engine.init(network), "api") == [address(engine, "api-2", network)]


def test_an_internal_network_beside_one_that_leads_out(shared_engine: Engine, cli: Cli) -> None:
    """Who has a way out asks others; with the way out the asking goes."""
    engine = shared_engine
    cli("network", "create", "--internal", "vault").check()
    cli("network", "create", "open").check()
    run(cli, "cell", "--network", "vault")
    run(cli, "gate", "--network", "vault", "--network", "open")
    cell, gate = engine.init("cell"), engine.init("gate")
    with network_of(gate), Upstream(NOBODY, answering("192.0.2.7")) as upstream:
        assert look_up(gate, "example.org") == ["192.0.2.7"]
        assert look_up(gate, "cell") == [address(engine, "cell", "vault")]
        assert code(cell, "example.org") == "SERVFAIL"
        cli("network", "disconnect", "open", "gate").check()
        assert code(gate, "example.org") == "SERVFAIL"
    assert upstream.asked == ["example.org"]
    assert look_up(cell, "gate") == [address(engine, "gate", "vault")]


def test_a_dead_helper_is_replaced_where_networks_changed(shared_engine: Engine, cli: Cli) -> None:
    engine = shared_engine
    cli("network", "create", "late").check()
    run(cli, "peer", "--network", "late")
    run(cli, "plain")
    cli("network", "connect", "late", "plain").check()
    plain = engine.init("plain")
    (helper,) = helpers_of(engine.root)
    os.kill(helper, signal.SIGKILL)
    wait_until(lambda: answers(plain, "peer"), "another helper's sockets")
    assert look_up(plain, "peer") == [address(engine, "peer", "late")]
