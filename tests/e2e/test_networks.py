"""Several networks a container, and networks that change while it runs: by the API, docker's command and Corten's."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from tests.support import http
from tests.support.command import Cli, run
from tests.support.engine import Engine
from tests.support.process import wait_until

pytestmark = [pytest.mark.network, pytest.mark.root]
RUN = ("run", "-d", "--init")


@pytest.fixture(params=["docker", "corten"])
def command(request: pytest.FixtureRequest, shared_engine: Engine) -> Cli:
    """Both command lines are to do the same."""
    return shared_engine.docker if request.param == "docker" else shared_engine.cli


@pytest.fixture(autouse=True)
def _clean(shared_engine: Engine) -> Iterator[None]:
    """Containers and networks go after each test, also after one that failed."""
    yield
    if ids := shared_engine.cli("ps", "-aq").check().lines:
        shared_engine.cli("rm", "-f", *ids).check()
    shared_engine.cli("network", "prune", "-f").check()


def _shown(engine: Engine, container: str) -> dict[str, Any]:
    shown: dict[str, Any] = engine.inspect(container)["NetworkSettings"]["Networks"]
    return shown


def _inside(cli: Cli, container: str, *argv: str) -> str:
    return cli("exec", container, *argv).check().out


def test_several_networks_from_the_start(shared_engine: Engine, command: Cli) -> None:
    """The way out is that of the first name, or of the highest priority; eth0 is of the first network that is named."""
    for name, subnet in (("beta", "10.81.1.0/24"), ("alpha", "10.81.2.0/24"), ("gamma", "10.81.3.0/24")):
        command("network", "create", "--subnet", subnet, name).check()
    command(
        *RUN, "--name", "one", "--network", "name=beta,alias=bee,ip=10.81.1.77,mac-address=02:42:00:00:00:77",
        "--network", "alpha", "busybox", "sleep", "1h",
    ).check()  # fmt: skip
    shown = _shown(shared_engine, "one")
    assert (shown["beta"]["IPAddress"], shown["beta"]["MacAddress"]) == ("10.81.1.77", "02:42:00:00:00:77")
    assert (shown["alpha"]["IPAddress"], shown["alpha"]["Gateway"]) == ("10.81.2.2", "10.81.2.1")
    assert shown["beta"]["Aliases"] == ["bee"]
    assert shown["beta"]["DNSNames"][:2] == ["one", "bee"]
    addresses = _inside(command, "one", "ip", "-4", "address")
    assert "10.81.1.77/24 brd 10.81.1.255 scope global eth0" in addresses
    assert "10.81.2.2/24 brd 10.81.2.255 scope global eth1" in addresses
    assert "default via 10.81.2.1 dev eth1" in _inside(command, "one", "ip", "route")
    name = shared_engine.inspect("one")["Config"]["Hostname"]
    assert f"10.81.1.77\t{name}\n10.81.2.2\t{name}\n" in _inside(command, "one", "cat", "/etc/hosts")
    command(
        *RUN, "--name", "two", "--network", "alpha", "--network", "name=gamma,gw-priority=5", "busybox", "sleep", "1h"
    ).check()
    assert "default via 10.81.3.1 dev eth1" in _inside(command, "two", "ip", "route")
    assert shared_engine.inspect("two")["NetworkSettings"]["Networks"]["gamma"]["GwPriority"] == 5


def test_a_running_container_joins_and_leaves(shared_engine: Engine, command: Cli) -> None:
    """Its connections go on; the way out and the published ports follow the gateway."""
    command("network", "create", "--subnet", "10.82.1.0/24", "front").check()
    command("network", "create", "--subnet", "10.82.2.0/24", "back").check()
    echo = ("nc", "-ll", "-p", "80", "-e", "cat")
    everywhere = [f"80/tcp -> {place}:18321" for place in ("0.0.0.0", "[::]")]
    command(*RUN, "--name", "server", "--network", "back", "busybox", *echo).check()
    command(*RUN, "--name", "web", "-p", "18321:80", "--network", "front", "busybox", *echo).check()
    ask = ("exec", "-i", "web", "nc", "-w", "1", "10.82.2.2", "80")
    assert command(*ask, stdin=b"hello").code != 0
    with _answering(18321) as stream:
        command("network", "connect", "--alias", "store", "--ip", "10.82.2.50", "back", "web").check()
        shown = _shown(shared_engine, "web")
        assert (shown["back"]["IPAddress"], shown["back"]["Aliases"]) == ("10.82.2.50", ["store"])
        assert "10.82.2.50\t" in _inside(command, "web", "cat", "/etc/hosts")
        assert command(*ask, stdin=b"hello").check().out == "hello"
        assert "default via 10.82.2.1 dev eth1" in _inside(command, "web", "ip", "route")
        assert _echo(stream) == b"ping"
        with _answering(18321):
            pass
        command("network", "disconnect", "back", "web").check()
        assert _echo(stream) == b"ping"
    assert "eth1" not in _inside(command, "web", "ip", "link")
    assert "default via 10.82.1.1 dev eth0" in _inside(command, "web", "ip", "route")
    assert "10.82.2.50" not in _inside(command, "web", "cat", "/etc/hosts")
    assert list(_shown(shared_engine, "web")) == ["front"]
    assert command("port", "web").check().lines == everywhere
    command("network", "disconnect", "front", "web").check()
    assert _shown(shared_engine, "web") == {}
    assert command("port", "web").check().out == ""
    command("network", "connect", "back", "web").check()
    assert command("port", "web").check().lines == everywhere
    assert "eth0" in _inside(command, "web", "ip", "link")
    with _answering(18321):
        pass


def _await_listener(port: int, address: str = "127.0.0.1") -> None:
    """Return when the container's server is there: the command of ``run -d`` may take its time."""

    def is_there() -> bool:
        try:
            socket.create_connection((address, port), timeout=5).close()
        except ConnectionRefusedError:
            return False
        return True

    wait_until(is_there, f"who listens behind port {port}")


@contextlib.contextmanager
def _answering(port: int, address: str = "127.0.0.1") -> Iterator[socket.socket]:
    with socket.create_connection((address, port), timeout=5) as stream:
        assert _echo(stream) == b"ping"
        yield stream


def _echo(stream: socket.socket) -> bytes:
    stream.sendall(b"ping")
    return stream.recv(100)


def test_a_stopped_container_joins_and_leaves(shared_engine: Engine, command: Cli) -> None:
    """It is recorded, and so by its next start; its first network may be left, too."""
    command("network", "create", "later").check()
    command("create", "--name", "still", "busybox", "sleep", "1h").check()
    command("network", "connect", "later", "still").check()
    assert {name: one["IPAddress"] for name, one in _shown(shared_engine, "still").items()} == {
        "bridge": "", "later": "",
    }  # fmt: skip
    command("network", "disconnect", "bridge", "still").check()
    command("start", "still").check()
    (place,) = _shown(shared_engine, "still").values()
    assert place["IPAddress"]
    assert "eth1" not in _inside(command, "still", "ip", "link")


def test_networks_changed_survive_the_engine(shared_engine: Engine) -> None:
    cli = shared_engine.cli
    cli("network", "create", "--subnet", "10.83.0.0/24", "kept").check()
    cli(*RUN, "--name", "long", "busybox", "sleep", "1h").check()
    cli("network", "connect", "kept", "long").check()
    before = _shown(shared_engine, "long")
    shared_engine.kill()
    shared_engine.start()
    assert _shown(shared_engine, "long") == before
    cli(*RUN, "--name", "next", "--network", "kept", "busybox", "sleep", "1h").check()
    assert _shown(shared_engine, "next")["kept"]["IPAddress"] == "10.83.0.3"
    cli("network", "disconnect", "kept", "long").check()
    assert "eth1" not in _inside(cli, "long", "ip", "link")


@pytest.mark.parametrize(
    ("action", "network", "body", "status", "message"),
    [
        ("connect", "nowhere", {}, 404, "network nowhere not found"),
        ("connect", "mesh", {"Container": "ghost"}, 404, "No such container: ghost"),
        ("connect", "bridge", {}, 403, "endpoint with name busy already exists in network bridge"),
        ("connect", "host", {}, 400, "cannot connect container to host network"),
        ("connect", "none", {}, 400, "one of the networks in private (none) mode"),
        ("connect", "mesh", {"EndpointConfig": {"IPAMConfig": {"IPv4Address": "10.9.9.9"}}}, 400,
         "no configured subnet or ip-range contain the IP address 10.9.9.9"),
        ("connect", "mesh", {"EndpointConfig": {"IPAMConfig": {"IPv4Address": "10.84.0.1"}}}, 403,
         "Address already in use"),
        ("connect", "mesh", {"EndpointConfig": {"IPAMConfig": {"IPv4Address": "ten"}}}, 400, "invalid IPv4 address"),
        ("connect", "mesh", {"EndpointConfig": {"MacAddress": "ff:00"}}, 400, "invalid MAC address"),
        ("connect", "mesh", {"EndpointConfig": {"DriverOpts": {"com.docker.network.speed": "high"}}}, 501,
         "driver options com.docker.network.speed"),
        ("connect", "mesh", {"EndpointConfig": {"DriverOpts": {"com.docker.network.endpoint.ifname": "eth0"}}}, 500,
         "change the networks of busy: network.veth"),
        ("connect", "mesh", {"EndpointConfig": {"DriverOpts": {
            "com.docker.network.endpoint.sysctls": "net.ipv4.conf.IFNAME.no_such_thing=1"}}}, 500,
         "network.switch /proc/sys/net/ipv4/conf/eth1/no_such_thing: no such file"),
        ("disconnect", "mesh", {}, 500, "is not connected to network mesh"),
        ("disconnect", "mesh", {"Container": "ghost", "Force": True}, 404, "No such container: ghost"),
    ],
)  # fmt: skip
def test_refusals(
    shared_engine: Engine, action: str, network: str, body: dict[str, Any], status: int, message: str
) -> None:
    shared_engine.cli("network", "create", "--subnet", "10.84.0.0/24", "mesh").check()
    shared_engine.cli(*RUN, "--name", "busy", "busybox", "sleep", "1h").check()
    answer = shared_engine.api("POST", f"/networks/{network}/{action}", {"Container": "busy", **body})
    assert (answer.status, message in json.loads(answer.body)["message"]) == (status, True), answer.body
    assert list(_shown(shared_engine, "busy")) == ["bridge"]
    assert json.loads(shared_engine.cli("network", "inspect", "mesh").check().out)[0]["Containers"] == {}
    assert "eth1" not in _inside(shared_engine.cli, "busy", "ip", "link")


def test_names_ids_and_filters(shared_engine: Engine) -> None:
    """A container created by a network's ID is in it by its name; it is found by each of its networks."""
    cli = shared_engine.cli
    id = cli("network", "create", "--attachable", "--label", "tier=back", "known").check().out.strip()
    assert json.loads(cli("network", "inspect", "known").check().out)[0]["Attachable"] is True
    cli("create", "--name", "by-id", "--network", f"name={id[:12]},alias=it", "busybox").check()
    cli("network", "connect", "bridge", "by-id").check()
    assert list(_shown(shared_engine, "by-id")) == ["known", "bridge"]
    assert _shown(shared_engine, "by-id")["known"]["Aliases"] == ["it"]
    for network, names in (("known", ["by-id"]), ("bridge", ["by-id"]), ("none", [])):
        listed = cli("ps", "-a", "--filter", f"network={network}", "--format", "{{.Names}}").check().lines
        assert listed == names
    assert cli("network", "ls", "-q", "--filter", "label!=tier").check().lines != []
    cli("rm", "by-id").check()
    assert "known" not in cli("network", "prune", "-f", "--filter", "until=1h").check().out
    assert "known" not in cli("network", "prune", "-f", "--filter", "label!=tier=back").check().out
    assert "known" in cli("network", "prune", "-f", "--filter", "label=tier=back").check().out


def test_explain_shows_every_network(shared_engine: Engine) -> None:
    cli = shared_engine.cli
    cli("network", "create", "--subnet", "10.89.0.0/24", "first").check()
    cli("network", "create", "--subnet", "10.89.1.0/24", "second").check()
    said = cli("run", "--explain", "--rm", "--network", "first", "--network", "second", "busybox", "true").check().out
    for step in ("to eth0", "to eth1", "eth0 10.89.0.2/24", "eth1 10.89.1.2/24", "default via 10.89.0.1"):
        assert step in said
    assert "default via 10.89.1.1" not in said


def test_a_hosts_file_that_a_container_filled_is_left_alone(shared_engine: Engine) -> None:
    """The engine does not read gigabytes because a container wrote them; the network is changed all the same."""
    cli = shared_engine.cli
    cli("network", "create", "more").check()
    cli(*RUN, "--name", "hostile", "busybox", "sleep", "1h").check()
    _inside(cli, "hostile", "dd", "if=/dev/zero", "of=/etc/hosts", "bs=1", "count=1", "seek=8G")
    cli("network", "connect", "more", "hostile").check()
    assert "eth1" in _inside(cli, "hostile", "ip", "link")
    assert "it is larger than" in shared_engine.said()


def test_a_network_is_not_joined_when_the_ports_cannot_be_opened_there(shared_engine: Engine) -> None:
    """The first network with a gateway opens them: all is as before when one is taken, and can be tried again."""
    cli = shared_engine.cli
    cli("network", "create", "--internal", "inner").check()
    cli("network", "create", "--subnet", "10.84.9.0/24", "outer").check()
    cli(*RUN, "--name", "web", "--network", "inner", "-p", "18340:80", "busybox", "sleep", "1h").check()
    assert cli("port", "web").check().out == ""
    with socket.create_server(("0.0.0.0", 18340)):
        assert "address already in use" in cli("network", "connect", "outer", "web").err
    assert list(_shown(shared_engine, "web")) == ["inner"]
    assert "eth1" not in _inside(cli, "web", "ip", "link")
    assert "default" not in _inside(cli, "web", "ip", "route")
    cli("network", "connect", "outer", "web").check()
    assert _shown(shared_engine, "web")["outer"]["IPAddress"] == "10.84.9.2"
    assert cli("port", "web").check().lines == ["80/tcp -> 0.0.0.0:18340", "80/tcp -> [::]:18340"]
    assert "default via 10.84.9.1 dev eth1" in _inside(cli, "web", "ip", "route")


def test_events_and_the_networks_view(shared_engine: Engine) -> None:
    cli = shared_engine.cli
    cli("network", "create", "--subnet", "10.85.0.0/24", "seen").check()
    cli(*RUN, "--name", "guest", "busybox", "sleep", "1h").check()
    cli("network", "connect", "seen", "guest").check()
    network = json.loads(cli("network", "inspect", "seen").check().out)[0]
    ((id, place),) = network["Containers"].items()
    assert (place["Name"], place["IPv4Address"]) == ("guest", "10.85.0.2/24")
    assert "has active endpoints" in cli("network", "rm", "seen").err
    cli("network", "disconnect", "-f", "seen", "guest").check()
    window = ("--since", "1", "--until", f"{time.time():.9f}")
    told = cli("events", *window, "--filter", "type=network", "--format", "{{json .}}").check()
    about = [json.loads(line) for line in told.lines]
    mine = [one for one in about if one["Actor"]["Attributes"].get("name") == "seen"]
    assert [one["Action"] for one in mine] == ["create", "connect", "disconnect"]
    assert [one["Actor"]["Attributes"].get("container") for one in mine] == [None, id, id]


def test_a_successor_announces_itself(shared_engine: Engine) -> None:
    """It has the address of who was there before, and another Ethernet address: a neighbour that knew that one hears
    of it, without asking."""
    cli = shared_engine.cli
    cli("network", "create", "--ipv6", "--subnet", "10.82.9.0/24", "--subnet", "fd00:82::/64", "heard").check()
    cli(*RUN, "--name", "asker", "--network", "heard", "busybox", "sleep", "1h").check()
    own = ("--network", "heard", "--ip", "10.82.9.50", "--ip6", "fd00:82::50")
    for mac in (f"02:42:00:00:82:0{number}" for number in range(3)):
        cli(*RUN, "--name", "web", *own, "--mac-address", mac, "busybox", "sleep", "1h").check()
        for address in ("10.82.9.50", "fd00:82::50"):
            wait_until(partial(_has_heard, cli, address, mac), "its word")
            _inside(cli, "asker", "ping", "-c1", "-W5", address)
            assert _neighbour(cli, address) == mac
        cli("rm", "-f", "web").check()


def _has_heard(cli: Cli, address: str, mac: str) -> bool:
    return _neighbour(cli, address) in ("", mac)


def _neighbour(cli: Cli, address: str) -> str:
    words = _inside(cli, "asker", "ip", "neigh", "show", "to", address).split()
    return words[words.index("lladdr") + 1] if "lladdr" in words else ""


def test_what_is_asked_of_an_interface(shared_engine: Engine, command: Cli) -> None:
    command(
        "network", "create", "-o", "com.docker.network.container_iface_prefix=lan", "-o",
        "com.docker.network.driver.mtu=1280", "wired",
    ).check()  # fmt: skip
    option = "driver-opt=com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1"
    command(*RUN, "--name", "own", "--network", f"name=wired,{option}", "busybox", "sleep", "1h").check()
    assert "mtu 1280" in _inside(command, "own", "ip", "link", "show", "lan0")
    assert _inside(command, "own", "cat", "/proc/sys/net/ipv4/conf/lan0/log_martians") == "1\n"
    named = "name=wired,driver-opt=com.docker.network.endpoint.ifname=foo7"
    command(*RUN, "--name", "named", "--network", named, "busybox", "sleep", "1h").check()
    assert "foo7" in _inside(command, "named", "ip", "link")


def test_links_on_the_default_bridge(shared_engine: Engine, command: Cli) -> None:
    """/etc/hosts and the variables, as dockerd's."""
    command(*RUN, "--name", "db", "--expose", "5432", "-e", "MODE=fast", "busybox", "sleep", "1h").check()
    address = _shown(shared_engine, "db")["bridge"]["IPAddress"]
    said = command("run", "--rm", "--link", "db:the-store", "busybox", "sh", "-c", "cat /etc/hosts; env").check().lines
    name = shared_engine.inspect("db")["Config"]["Hostname"]
    assert f"{address}\tthe-store {name} db" in said
    assert f"THE_STORE_PORT_5432_TCP_ADDR={address}" in said
    assert f"THE_STORE_PORT=tcp://{address}:5432" in said
    assert "THE_STORE_ENV_MODE=fast" in said
    assert not [line for line in said if line.startswith("THE_STORE_ENV_PATH")]
    command("create", "--name", "user", "--link", "db", "busybox", "true").check()
    assert shared_engine.inspect("user")["HostConfig"]["Links"] == ["/db:/user/db"]
    command(*RUN, "--name", "holds", "--link", "db:store", "busybox", "sleep", "1h").check()
    command("stop", "-t", "0", "db").check()
    command(*RUN, "--name", "taker", "busybox", "sleep", "1h").check()  # has its address now
    command("start", "db").check()
    moved = _shown(shared_engine, "db")["bridge"]["IPAddress"]
    assert moved != address
    assert f"{moved}\tstore {name} db\n" in _inside(command, "holds", "cat", "/etc/hosts")
    assert f"{address}\tstore" not in _inside(command, "holds", "cat", "/etc/hosts")
    command("stop", "-t", "0", "db").check()
    refused = command("start", "user")
    assert "Cannot link to a non running container: /db AS /user/db" in refused.err
    assert "could not get container for ghost" in command("create", "--link", "ghost", "busybox").err


def test_names_by_links(shared_engine: Engine, command: Cli) -> None:
    command(*RUN, "--name", "store", "busybox", "sleep", "1h").check()
    command("create", "--name", "shop", "--link", "store:wares", "busybox", "true").check()

    def names() -> list[str]:
        rows = shared_engine.api("GET", "/containers/json?all=1").check().json
        return sorted(name for row in rows for name in row["Names"])

    assert {"/shop", "/store", "/shop/wares"} <= set(names())
    refused = shared_engine.api("DELETE", "/containers/shop?link=1")
    assert (refused.status, "default link name" in refused.json["message"]) == (409, True)
    for missing in ("/containers/shop/none?link=1", "/containers/none/wares?link=1", "/containers/shop/none"):
        assert http.request(shared_engine.socket, "DELETE", missing).status == 404
    running = http.request(shared_engine.socket, "DELETE", "/containers/shop/wares")  # the container itself
    assert (running.status, "cannot remove a running container" in running.json["message"]) == (409, True)
    assert http.request(shared_engine.socket, "DELETE", "/containers/shop/wares?link=1").status == 204
    assert "/shop/wares" not in names()
    assert not shared_engine.inspect("shop")["HostConfig"]["Links"]


def test_rules_that_somebody_deletes_come_back(shared_engine: Engine) -> None:
    """While nobody starts anything: a running engine hears of it."""
    cli = shared_engine.cli
    cli(*RUN, "--name", "web", "-p", "18322:80", "busybox", "nc", "-ll", "-p", "80", "-e", "cat").check()
    table = shared_engine.names.table
    _await_listener(18322)
    with _answering(18322) as stream:
        run(["nft", "delete", "table", "ip", table]).check()
        said = "was changed by another program: it is restored"
        wait_until(lambda: said in shared_engine.said(), "the engine's word")
        assert _echo(stream) == b"ping"
        with _answering(18322):
            pass


def test_ports_are_open_without_an_engine(shared_engine: Engine) -> None:
    """Connections go on, and others come, while the engine is dead and with the next one; by IPv6, too, which the
    helper carries."""
    cli = shared_engine.cli
    cli(*RUN, "--name", "web", "-p", "18327:80", "busybox", "nc", "-ll", "-p", "80", "-e", "cat").check()
    for address in ("127.0.0.1", "::1"):
        _await_listener(18327, address)
    with _answering(18327) as stream, _answering(18327, "::1") as carried:
        shared_engine.kill()
        for _ in range(2):
            assert _echo(stream) == _echo(carried) == b"ping"
            with _answering(18327), _answering(18327, "::1"):
                pass
            if not shared_engine.answers():
                shared_engine.start()
    cli("rm", "-f", "web").check()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", 18327), timeout=5)


def test_a_carried_port_is_open_when_its_start_is_answered(shared_engine: Engine) -> None:
    """What comes before the helper has the socket waits in it."""
    engine = shared_engine
    host = {"NetworkMode": "bridge", "PortBindings": {"80/tcp": [{"HostPort": "18328"}]}}
    for _ in range(5):
        body = {"Image": "busybox", "Cmd": ["sleep", "1h"], "HostConfig": host}
        path = f"/containers/{engine.api('POST', '/containers/create', body).check().json['Id']}"
        engine.api("POST", f"{path}/start").check()
        socket.create_connection(("::1", 18328), timeout=5).close()
        engine.api("DELETE", f"{path}?force=1").check()


def test_no_element_is_left_of_many_starts(shared_engine: Engine) -> None:
    engine = shared_engine
    ports = [{f"80/{kind}": [{"HostPort": str(18330 + one)}] for kind in ("tcp", "udp")} for one in range(4)]

    def live(number: int) -> None:
        host = {"NetworkMode": "bridge", "PortBindings": ports[number]}
        for _ in range(8):
            body = {"Image": "busybox", "Cmd": ["true"], "HostConfig": host}
            path = f"/containers/{engine.api('POST', '/containers/create', body).check().json['Id']}"
            engine.api("POST", f"{path}/start").check()
            engine.api("POST", f"{path}/wait").check()
            engine.api("DELETE", path).check()

    with ThreadPoolExecutor(4) as clients:
        list(clients.map(live, range(4)))
    table = run(["nft", "list", "table", "ip", engine.names.table]).check().out
    assert "map by_port" in table
    assert "elements" not in table
    for port in range(18330, 18334):
        socket.create_server(("", port)).close()


def test_an_engine_clears_away_what_dead_containers_left(shared_engine: Engine) -> None:
    """Engine and monitor are killed; cables, elements of the maps and addresses are free with the next engine."""
    cli = shared_engine.cli
    cli("network", "create", "--subnet", "10.86.0.0/24", "left").check()
    for number, name in enumerate(("alive", "dead")):
        cli(*RUN, "--name", name, "--network", "left", "-p", f"1832{number + 3}:80", "busybox", "sleep", "1h").check()
    table = shared_engine.names.table
    listed = run(["nft", "list", "table", "ip", table]).check().out
    assert "10.86.0.2 . 80" in listed
    assert "10.86.0.3 . 80" in listed
    monitor, init = shared_engine.monitor("dead"), shared_engine.init("dead")
    shared_engine.kill()
    for pid in (monitor, init):
        os.kill(pid, signal.SIGKILL)
    shared_engine.start()
    listed = run(["nft", "list", "table", "ip", table]).check().out
    assert "10.86.0.2 . 80" in listed
    assert "10.86.0.3 . 80" not in listed
    (place,) = json.loads(cli("network", "inspect", "left").check().out)[0]["Containers"].values()
    assert place["Name"] == "alive"
    cli(*RUN, "--name", "again", "--network", "left", "-p", "18324:80", "busybox", "sleep", "1h").check()
    assert _shown(shared_engine, "again")["left"]["IPAddress"] == "10.86.0.3"


def test_who_reaches_whom_in_words(shared_engine: Engine) -> None:
    cli = shared_engine.cli
    cli("network", "create", "--subnet", "10.87.0.0/24", "told").check()
    ports = ("-p", "18325:80", "-p", "127.0.0.1:18326:53/udp")
    cli(*RUN, "--name", "web", "--network", "told", *ports, "busybox", "sleep", "1h").check()
    said = cli("network", "explain", "told").check().out
    assert "Containers (10.87.0.0/24) are on the bridge br-" in said
    assert "They leave for other machines with the host's address." in said
    assert [line.split(maxsplit=3) for line in said.splitlines()[-3:]] == [
        ["web", "80/tcp", "0.0.0.0:18325", "whoever reaches an address of the host"],
        ["web", "80/tcp", "[::]:18325", "whoever reaches an address of the host"],
        ["web", "53/udp", "127.0.0.1:18326", "the host itself"],
    ]
    told = json.loads(cli("network", "explain", "--format", "json", "none").check().out)
    assert told["Says"] == ["Containers have a loopback of their own, and nothing else."]
    assert "network nowhere not found" in cli("network", "explain", "nowhere").err


def test_ipv6_by_the_command_lines(shared_engine: Engine, command: Cli) -> None:
    subnets = ("--subnet", "10.88.0.0/24", "--subnet", "fd00:88::/64", "--gateway", "fd00:88::9")
    command("network", "create", "--ipv6", *subnets, "--gateway", "10.88.0.9", "six").check()
    asked = ("--network", "six", "--ip", "10.88.0.77", "--ip6", "fd00:88::77", "-p", "18327:80")
    command(*RUN, "--name", "web", *asked, "busybox", "nc", "-ll", "-p", "80", "-e", "cat").check()
    place = _shown(shared_engine, "web")["six"]
    wanted = {
        "IPAddress": "10.88.0.77", "Gateway": "10.88.0.9", "GlobalIPv6Address": "fd00:88::77",
        "GlobalIPv6PrefixLen": 64, "IPv6Gateway": "fd00:88::9",
    }  # fmt: skip
    assert {name: place[name] for name in wanted} == wanted
    assert command("port", "web").check().lines == ["80/tcp -> 0.0.0.0:18327", "80/tcp -> [::]:18327"]
    network = json.loads(command("network", "inspect", "six").check().out)[0]
    assert network["EnableIPv6"] is True
    assert [one["IPv6Address"] for one in network["Containers"].values()] == ["fd00:88::77/64"]
    with _answering(18327):
        pass


def test_ports_that_are_taken_and_ports_of_the_engines_choice(shared_engine: Engine, command: Cli) -> None:
    with socket.create_server(("127.0.0.1", 18328)):
        refused = command(*RUN, "--name", "web", "-p", "127.0.0.1:18328:80", "busybox", "sleep", "1h")
        assert refused.code == 125
        assert "failed to bind host port 127.0.0.1:18328/tcp: address already in use" in refused.err
        assert f"({os.getpid()}) has it" in refused.err
    command(*RUN, "--name", "all", "-P", "--expose", "80-81", "--expose", "53/udp", "busybox", "sleep", "1h").check()
    published = shared_engine.inspect("all")["NetworkSettings"]["Ports"]
    assert set(published) == {"80/tcp", "81/tcp", "53/udp"}
    assert all(int(one["HostPort"]) > 1024 for bindings in published.values() for one in bindings)
    command(*RUN, "--name", "range", "-p", "18330-18331:80-81", "busybox", "sleep", "1h").check()
    assert command("port", "range", "81").check().lines == ["0.0.0.0:18331", "[::]:18331"]
    refused = command(*RUN, "--name", "odd", "-p", "18332:9/sctp", "busybox", "sleep", "1h")
    assert refused.code == 0 or "this kernel has no SCTP" in refused.err


def test_three_hundred_on_one_bridge(shared_engine: Engine) -> None:
    """Each has an address of its own, and the first reaches the last; none leaves a port of the bridge behind."""
    engine = shared_engine
    before = engine.footprint().links
    body = {"Image": "busybox", "Cmd": ["sleep", "1h"], "HostConfig": {"NetworkMode": "bridge"}}

    def start(_: int) -> str:
        id: str = engine.api("POST", "/containers/create", body).check().json["Id"]
        engine.api("POST", f"/containers/{id}/start").check()
        return id

    with ThreadPoolExecutor(4) as clients:
        ids = list(clients.map(start, range(300)))
        there = engine.api("GET", "/networks/bridge").check().json["Containers"]
        assert there.keys() == set(ids)
        addresses = {id: one["IPv4Address"].partition("/")[0] for id, one in there.items()}
        assert len(set(addresses.values())) == 300
        assert "1 packets received" in _inside(engine.cli, ids[0], "ping", "-c1", "-W5", addresses[ids[-1]])
        gone = [clients.submit(engine.api, "DELETE", f"/containers/{id}?force=1") for id in ids]
        assert {one.result().status for one in gone} == {204}
    wait_until(lambda: engine.footprint().links <= before, "the end of every port of the bridge")
