"""What is measured. Each measure gives one row, or a few, of the table."""

from __future__ import annotations

import dataclasses
import functools
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import docker

from bench import names
from bench.load import load as put_load
from bench.peers import SLEEPER, CommandLine, Peer, corten_command
from bench.sampling import Samples, command, faults, interleave, timed
from corten.client import Client
from tests.support.engine import Engine
from tests.support.http import UnixConnection
from tests.support.leaks import STANDBY, name_of
from tests.support.process import NotReady, descendants, wait_until
from tests.support.standby import await_standby

CommandFailed = subprocess.SubprocessError
"""Also one that did not end in its time."""

_ROUNDS = 20
_CONTAINERS = 200
_STARTS = 100
_LISTED = 500
_CLIENTS, _LOAD_SECONDS = 200, 60
_MIB = 1 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; ``goal`` is what to reach, in the same words as ``ratio`` or ``value``."""

    name: str
    value: str
    peer: str = ""
    peer_value: str = ""
    ratio: str = ""
    goal: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Bench:
    """What the measures need: Corten twice (its command line, its engine), the peers, an image."""

    corten: CommandLine
    engine: Engine
    peers: Mapping[str, Peer]
    archive: Path


Measure = Callable[[Bench], Iterator[Row]]


def _rows(name: str, samples: Mapping[str, Samples], goals: Mapping[str, str]) -> Iterator[Row]:
    ours = samples["corten"]
    for peer, theirs in samples.items():
        if peer != "corten":
            ratio = f"{ours.median / theirs.median:.2f}"
            yield Row(name, str(ours), peer, str(theirs), ratio, goals.get(peer, ""))
    if len(samples) == 1:
        yield Row(name, str(ours))


def _against(bench: Bench, action: Callable[[Peer], Callable[[], None]]) -> dict[str, Samples]:
    everyone: dict[str, Peer] = {"corten": bench.corten, **bench.peers}
    return interleave({name: action(peer) for name, peer in everyone.items()}, _ROUNDS)


def run(bench: Bench) -> Iterator[Row]:
    """``run --rm busybox true``: on the bridge, except for runc, which has none."""
    samples = _against(bench, lambda peer: peer.run())
    yield from _rows("run --rm busybox true", samples, {"docker": "0.10", "runc": "1.2, then 0.9"})


def execute(bench: Bench) -> Iterator[Row]:
    """``exec C true``."""
    yield from _rows("exec C true", _against(bench, lambda peer: peer.exec()), {"docker": "0.33"})


def list_containers(bench: Bench) -> Iterator[Row]:
    """``ps``, with one container."""
    yield from _rows("ps", _against(bench, lambda peer: peer.list()), {"docker": "1.0"})


def api(bench: Bench) -> Iterator[Row]:
    """Create, start, wait and remove, by the library, from one connection that is open already."""
    with Client(f"unix://{bench.engine.socket}") as client:
        actions: dict[str, Callable[[], None]] = {"corten": lambda: _life(client)}
        if "runc" in bench.peers:
            actions["runc"] = bench.peers["runc"].run()
        yield from _rows("API: create, start, wait, remove", interleave(actions, _ROUNDS), {"runc": "0.33"})


def _life(client: Client, network: str = "bridge") -> None:
    asked = {"Image": "busybox", "Cmd": ["true"], "HostConfig": {"NetworkMode": network}}
    path = f"/containers/{client.post('/containers/create', value=asked)['Id']}"
    client.post(f"{path}/start")
    assert client.post(f"{path}/wait")["StatusCode"] == 0
    client.delete(path)


def _created(connection: UnixConnection, body: bytes) -> str:
    created = ask(connection, "POST", "/containers/create", body)
    found = re.search(rb'"Id": ?"([0-9a-f]{64})"', created)
    assert found is not None, created
    return found[1].decode()


def ask(connection: UnixConnection, method: str, target: str, body: bytes | None = None) -> bytes:
    """The answer to a request. Raises AssertionError when that is an error."""
    connection.request(method, target, body, {"Content-Type": "application/json"} if body else {})
    with connection.getresponse() as answer:
        content = answer.read()
    assert answer.status < 400, f"{method} {target}: {answer.status} {content!r}"
    return content


def version(bench: Bench) -> Iterator[Row]:
    """The command's own start: no trip to the engine."""
    environment = bench.engine.environment()
    actions = {
        "corten": command([*corten_command(), "--version"], environment),
        "python": command([sys.executable, "-c", "pass"], environment),
    }
    yield from _rows("--version / bare interpreter", interleave(actions, _ROUNDS), {"python": "1.5"})


def client(bench: Bench) -> Iterator[Row]:
    """What the command line adds to the bare interpreter, in a measure that no neighbour of the machine disturbs."""
    environment = bench.engine.environment()
    bare = faults([sys.executable, "-c", "pass"], environment)
    for words in ("--version", "ps", f"exec {SLEEPER} true", "run --rm busybox true"):
        argv = [*corten_command(), *words.split()]
        faults(argv, environment)  # not counted: it may be the first of all, and compile
        ours = faults(argv, environment)
        yield Row(f"{words}, page faults", str(ours), "python", str(bare), f"{ours / bare:.2f}")


def first_command(bench: Bench) -> Iterator[Row]:
    """A command that finds no engine, and starts one."""
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        engine = Engine(Path(directory) / "root", judged=False)
        environment = {**engine.environment(), "CORTEN_ROOT": str(engine.root)}
        del environment["CORTEN_HOST"], environment["DOCKER_HOST"]
        start = command([*corten_command(), "ps"], environment)
        stop = command([*corten_command(), "system", "stop"], environment)
        times: list[float] = []
        try:
            for _ in range(5):
                times.append(timed(start))
                stop()
        finally:
            engine.remove()
    yield from _rows("first command, starts the engine", {"corten": Samples(tuple(times))}, {})


def memory(bench: Bench) -> Iterator[Row]:
    """What the engine and its spawner hold, and who stands by for the next starts."""
    processes = [bench.engine.pid, bench.engine.spawner]
    await_standby(bench.engine)
    standing = [pid for pid in descendants(bench.engine.spawner) if name_of(pid) == STANDBY]
    yield Row("engine + spawner, idle", f"{sum(map(_pss_kb, processes)) / 1024:.1f} MB PSS", goal="< 60 MB")
    yield Row(f"{len(standing)} processes that stand by", f"{sum(map(_pss_kb, standing)) / 1024:.1f} MB PSS")


def many(bench: Bench) -> Iterator[Row]:
    """Containers that run at the same time."""
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        engine = Engine(Path(directory) / "root", judged=False)
        try:
            engine.start().load(bench.archive)
            samples, pids = _start_many(engine)
            monitors = [_pss_kb(pid) for pid in pids]
        finally:
            engine.remove()
    yield Row(f"{_CONTAINERS} running, each start", str(samples))
    yield Row("a monitor, among them", f"{sum(monitors) / len(monitors) / 1024:.2f} MB PSS", goal="< 1.5 MB")


def _start_many(engine: Engine) -> tuple[Samples, list[int]]:
    body = {"Image": "busybox", "Cmd": ["sleep", "100000"]}

    def start() -> None:
        container = engine.api("POST", "/containers/create", body).check().json["Id"]
        engine.api("POST", f"/containers/{container}/start").check()

    samples = interleave({"corten": start}, _CONTAINERS - 1)["corten"]
    running = engine.api("GET", "/containers/json").check().json
    assert len(running) == _CONTAINERS, f"{len(running)} of {_CONTAINERS} run"
    return samples, [engine.monitor(container["Id"]) for container in running]


def resolution(bench: Bench) -> Iterator[Row]:
    """Names of a user's network, asked for inside, and what such a network adds to a start."""
    engine = bench.engine
    engine.cli("network", "create", "bench").check()
    try:
        engine.cli("run", "-d", "--name", "web", "--network", "bench", "busybox", "sleep", "100000").check()
        yield Row(f"{names.RATE} names a second", str(names.ask_steadily(engine.init("web"))), goal="p99 < 5 ms")
        networks = {"corten": "bench", "its default network": "bridge"}
        with Client(f"unix://{engine.socket}") as client:
            actions = {name: functools.partial(_life, client, network) for name, network in networks.items()}
            yield from _rows("API: a user's network", interleave(actions, _ROUNDS), {})
    finally:
        engine.cli("rm", "-f", "web")
        engine.cli("network", "rm", "bench")


def leftovers(bench: Bench) -> Iterator[Row]:
    """What sequential starts leave on the machine."""
    act = bench.corten.run()
    act()
    before = bench.engine.footprint()
    for _ in range(_STARTS):
        act()
    beyond = list[str]()
    try:  # the kernel takes dead network namespaces apart in its own time
        wait_until(lambda: not bench.engine.footprint().beyond(before), "the end of everything")
    except NotReady:  # one look alone could see somebody who is about to stand by
        beyond = bench.engine.footprint().beyond(before)
    yield Row(f"left by {_STARTS} starts", ", ".join(beyond) or "nothing", goal="nothing")


def load(bench: Bench) -> Iterator[Row]:
    """Two hundred clients, half of them streaming, for a minute."""
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        engine = Engine(Path(directory) / "root", judged=False)
        try:
            engine.start().load(bench.archive)
            report = put_load(engine, _CLIENTS, _LOAD_SECONDS)
        finally:
            engine.remove()
    name = f"{_CLIENTS} clients for {_LOAD_SECONDS} s"
    yield Row(f"{name}: failed", f"{len(report.errors)} {' '.join(report.errors[:1])}".strip(), goal="0")
    yield Row(f"{name}: 99 of 100 pings", f"{report.ping(0.99):.1f}", goal="< 50")
    grown = (report.memory_most - report.memory_before) / _MIB
    yield Row(f"{name}: the engine's memory grows by", f"{grown:.1f} MB at most")
    yield Row(f"{name}: answers; containers' lives", f"{report.answers}; {report.lives}")


def client_docker(bench: Bench) -> Iterator[Row]:
    """The docker command line, of Corten's engine and of dockerd."""
    if "docker" not in bench.peers:
        return
    ours = CommandLine(["docker"], bench.engine.environment(), sleeper=False)
    theirs = bench.peers["docker"]
    runs = interleave({"corten": ours.run(), "docker": theirs.run()}, _ROUNDS)
    yield from _rows("docker run --rm busybox true", runs, {"docker": "0.25"})
    execs = interleave({"corten": ours.exec(), "docker": theirs.exec()}, _ROUNDS)
    yield from _rows("docker exec C true", execs, {"docker": "0.50"})


def docker_py(bench: Bench) -> Iterator[Row]:
    """docker-py's create, start, wait and remove, in one process whose connection is open already."""
    if "docker" not in bench.peers:
        return
    clients: dict[str, Any] = {"corten": docker.DockerClient(bench.engine.environment()["DOCKER_HOST"]),
                               "docker": docker.DockerClient(bench.peers["docker"].host)}  # fmt: skip
    try:
        samples = interleave({name: _life_of(client) for name, client in clients.items()}, _ROUNDS)
        yield from _rows("docker-py: create, start, wait, remove", samples, {"docker": "0.20"})
    finally:
        for client in clients.values():
            client.close()


def _life_of(client: docker.DockerClient) -> Callable[[], None]:
    def life() -> None:
        container = client.containers.create("busybox", ["true"])
        container.start()
        container.wait()
        container.remove()

    return life


def list_many(bench: Bench) -> Iterator[Row]:
    """``GET /containers/json?all=1`` of five hundred containers that were created."""
    sockets = {"corten": bench.engine.socket}
    if "docker" in bench.peers:
        sockets["docker"] = Path(bench.peers["docker"].host.removeprefix("unix://"))
    connections = {name: UnixConnection(path) for name, path in sockets.items()}
    body = b'{"Image": "busybox", "Cmd": ["true"]}'
    made: dict[str, list[str]] = {}
    try:
        for name, connection in connections.items():
            made[name] = [_created(connection, body) for _ in range(_LISTED)]
        samples = interleave({name: _listing(connection) for name, connection in connections.items()}, _ROUNDS)
        yield from _rows(f"API: list {_LISTED} containers", samples, {"docker": "2.0"})
    finally:
        for name, connection in connections.items():
            for id in made.get(name, ()):
                ask(connection, "DELETE", f"/containers/{id}")
            connection.close()


def _listing(connection: UnixConnection) -> Callable[[], None]:
    def act() -> None:
        ask(connection, "GET", "/containers/json?all=1")

    return act


def _pss_kb(pid: int) -> int:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    assert found is not None, text
    return int(found[1])


ALL: tuple[Measure, ...] = (
    run,
    api,
    execute,
    list_containers,
    client_docker,
    docker_py,
    list_many,
    version,
    client,
    first_command,
    memory,
    many,
    load,
    resolution,
    leftovers,
)
