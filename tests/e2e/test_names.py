"""Names in users' networks, asked by what runs in the containers, through both command lines; with the engine alive,
dead and started anew."""

from __future__ import annotations

import os
import signal

import pytest

from tests.support.command import Cli
from tests.support.dns import Upstream, answering, answers, ask, code, look_up, texts
from tests.support.engine import Engine
from tests.support.helper import helpers_of
from tests.support.process import wait_until
from tests.support.spaces import network_of

pytestmark = [pytest.mark.root, pytest.mark.network]

SLEEP = ("busybox", "sleep", "1000")
NOBODY = "127.0.0.1"
"""For --dns: the container's own loopback, where nobody answers, so that no question leaves the test."""


def address(engine: Engine, name: str) -> str:
    networks = engine.inspect(name)["NetworkSettings"]["Networks"]
    return str(next(iter(networks.values()))["IPAddress"])


@pytest.fixture
def pair(engine: Engine, cli: Cli, busybox: str) -> tuple[int, int]:
    """The inits of ``web`` and ``db`` in the network ``back``."""
    cli("network", "create", "back").check()
    for name in ("web", "db"):
        cli("run", "-d", "--name", name, "--network", "back", "--dns", NOBODY, "--network-alias", f"{name}-alias",
            "--network-alias", "both", *SLEEP).check()  # fmt: skip
    return engine.init("web"), engine.init("db")


def test_names_of_a_network(engine: Engine, cli: Cli, docker_cli: Cli, pair: tuple[int, int]) -> None:
    web, _ = pair
    ip = address(engine, "db")
    short = engine.inspect("db")["Id"][:12]
    for name in ("db", "DB", "db-alias", short, "db.back", "both.back"):
        assert ip in look_up(web, name)
    assert look_up(web, "both") == sorted([address(engine, "web"), ip])
    assert {tuple(item.to_text() for item in ask(web, "both").answer[0]) for _ in range(8)} == {
        (ip, address(engine, "web")), (address(engine, "web"), ip),
    }  # fmt: skip
    assert look_up(web, "db", "AAAA") == []
    assert look_up(web, ".".join(reversed(ip.split("."))) + ".in-addr.arpa", "PTR") == ["db.back."]
    assert look_up(web, "db", stream=True) == [ip]
    # What runs inside, and by Docker's own command line.
    assert ip in docker_cli("exec", "web", "nslookup", "db").check().out
    assert f"({ip})" in docker_cli("run", "--rm", "--network", "back", "busybox", "ping", "-c1", "db-alias").check().out
    assert code(web, "nobody") == "SERVFAIL"  # there is nobody to ask


def test_where_names_are_asked(engine: Engine, cli: Cli, pair: tuple[int, int]) -> None:
    shown = cli("exec", "web", "cat", "/etc/resolv.conf").check().lines
    assert [line for line in shown if line.startswith("nameserver")] == ["nameserver 127.0.0.11"]
    assert any(line.startswith("options") and line.endswith("ndots:0") for line in shown)
    asked = ("--dns-search", "corp.test", "--dns-option", "ndots:2", "--dns-option", "timeout:1")
    shown = cli("run", "--rm", "--network", "back", *asked, "busybox", "cat", "/etc/resolv.conf").check().lines
    assert shown[1:] == ["nameserver 127.0.0.11", "search corp.test", "options ndots:2 timeout:1"]
    default = cli("run", "--rm", "busybox", "cat", "/etc/resolv.conf").check().out
    assert "127.0.0.11" not in default
    plan = cli("run", "--explain", "--network", "back", "busybox", "true").check().out
    assert "127.0.0.11:53" in plan
    assert "127.0.0.11:53" not in cli("run", "--explain", "busybox", "true").check().out


def test_other_networks_names_are_not_known(engine: Engine, cli: Cli, pair: tuple[int, int]) -> None:
    cli("network", "create", "front").check()
    cli("run", "-d", "--name", "stranger", "--network", "front", "--dns", NOBODY, *SLEEP).check()
    stranger = engine.init("stranger")
    assert look_up(stranger, "stranger") == [address(engine, "stranger")]
    for name in ("db", "db.back", "both"):
        assert code(stranger, name) == "SERVFAIL"
        assert code(pair[0], "stranger") == "SERVFAIL"


def test_other_names_are_asked_of_others(engine: Engine, cli: Cli, pair: tuple[int, int]) -> None:
    web, _ = pair
    with network_of(web), Upstream(NOBODY, answering("192.0.2.7")) as upstream:
        for stream in (False, True):
            assert look_up(web, "example.org", stream=stream) == ["192.0.2.7"]
            assert look_up(web, "db", stream=stream) == [address(engine, "db")]
            assert look_up(web, "db", "AAAA", stream=stream) == []
    assert upstream.asked == ["example.org", "tcp:example.org"]


def test_a_container_may_serve_names_itself(engine: Engine, cli: Cli, pair: tuple[int, int]) -> None:
    """Port 53 is free on every address, also for who binds all of them."""
    web, _ = pair
    with network_of(web), Upstream("0.0.0.0", answering("192.0.2.9")) as own:
        assert look_up(web, "db") == [address(engine, "db")]
        assert look_up(web, "elsewhere") == ["192.0.2.9"]  # NOBODY has become somebody
    assert own.asked == ["elsewhere"]


def test_an_internal_network_asks_nobody(engine: Engine, cli: Cli, busybox: str) -> None:
    cli("network", "create", "--internal", "inside").check()
    cli("run", "-d", "--name", "cell", "--network", "inside", "--dns", NOBODY, *SLEEP).check()
    cell = engine.init("cell")
    with network_of(cell), Upstream(NOBODY, answering("192.0.2.7")) as upstream:
        assert look_up(cell, "cell") == [address(engine, "cell")]
        assert code(cell, "example.org") == "SERVFAIL"
    assert upstream.asked == []


def test_names_follow_what_happens(engine: Engine, cli: Cli, pair: tuple[int, int]) -> None:
    web, db = pair
    cli("rename", "db", "data").check()
    assert look_up(web, "data") == [address(engine, "data")]
    assert code(web, "db") == "SERVFAIL"
    os.kill(db, signal.SIGKILL)
    cli("wait", "data").check()
    assert code(web, "data") == "SERVFAIL"
    assert look_up(web, "both") == [address(engine, "web")]
    cli("start", "data").check()
    assert look_up(web, "data") == [address(engine, "data")]
    cli("rm", "-f", "data").check()
    assert code(web, "data") == "SERVFAIL"


def test_names_resolve_without_an_engine(engine: Engine, cli: Cli, pair: tuple[int, int]) -> None:
    web, db = pair
    ip, (helper,) = address(engine, "db"), helpers_of(engine.root)
    engine.kill()
    assert look_up(web, "db") == [ip]
    os.kill(db, signal.SIGKILL)  # a name leaves with its container, engine or not
    wait_until(lambda: not texts(ask(web, "db")), "the end of the name")
    engine.start()
    assert helpers_of(engine.root) == [helper]
    assert look_up(web, "web") == [address(engine, "web")]
    assert code(web, "db") == "SERVFAIL"
    cli("start", "db").check()
    assert look_up(web, "db") == [address(engine, "db")]


def test_a_dead_helper_is_replaced(engine: Engine, cli: Cli, pair: tuple[int, int]) -> None:
    web, _ = pair
    (helper,) = helpers_of(engine.root)
    os.kill(helper, signal.SIGKILL)
    wait_until(lambda: answers(web, "db"), "another helper's sockets")
    assert helpers_of(engine.root) != [helper]
    assert look_up(web, "db") == [address(engine, "db")]
    # The same once more, with nobody there to see it.
    engine.kill()
    (helper,) = helpers_of(engine.root)
    os.kill(helper, signal.SIGKILL)
    engine.start()
    wait_until(lambda: answers(web, "db"), "another helper's sockets")
    assert look_up(web, "db", stream=True) == [address(engine, "db")]


def test_nothing_is_left(engine: Engine, cli: Cli, busybox: str, no_leaks: None) -> None:
    cli("network", "create", "back").check()
    for number in range(5):
        cli("run", "-d", "--rm", "--name", f"c{number}", "--network", "back", *SLEEP).check()
    assert helpers_of(engine.root)
    cli("rm", "-f", *(f"c{number}" for number in range(5))).check()
    cli("network", "rm", "back").check()


def test_the_default_bridge_needs_no_helper(engine: Engine, cli: Cli, busybox: str) -> None:
    cli("run", "-d", *SLEEP).check()
    assert helpers_of(engine.root) == []
