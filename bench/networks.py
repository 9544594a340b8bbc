"""What networks cost: a start's place on the bridge, its ports, and the bytes that go through them."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import socket
import statistics
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.measures import Bench, Measure, Row, ask
from bench.sampling import Samples, timed
from tests.support.command import Cli
from tests.support.engine import Engine
from tests.support.http import UnixConnection
from tests.support.process import NotReady, wait_until
from tests.support.spaces import network_of

_ROUNDS = 30
_STREAMS = 24
_MIB = 1 << 20
_BYTES = 256 * _MIB
_PORTS = 10
_STARTS = 100
_PORT = 5201


def attachment(bench: Bench) -> Iterator[Row]:
    """What the bridge adds to a start, and what ten published ports add to that."""
    ports = {f"{7000 + number}/tcp": [{"HostPort": str(_free_port())}] for number in range(_PORTS)}
    hosts: dict[str, dict[str, Any]] = {
        "none": {"NetworkMode": "none"},
        "bridge": {"NetworkMode": "bridge"},
        "ports": {"NetworkMode": "bridge", "PortBindings": ports},
    }
    with contextlib.closing(UnixConnection(bench.engine.socket)) as connection:
        samples = _starts(connection, hosts)
    yield Row("start on no network", str(samples["none"]))
    added = samples["bridge"].median - samples["none"].median
    yield Row("the bridge adds to it", f"{added:.1f}", goal="< 2")
    pairs = zip(samples["ports"].values, samples["bridge"].values, strict=True)
    added = statistics.median(ports - bridge for ports, bridge in pairs)
    yield Row(f"{_PORTS} published ports add to that, each to the start beside it", f"{added:.1f}", goal="< 1")


_ORDER = (
    *(("none", counted) for counted in (False, False, False, False, True)),
    *(("bridge", False),) * 4,
    *(("bridge", True), ("ports", True), ("ports", True), ("bridge", True)),
)
"""Whoever stands by for a start does so for one like the last two, and two stand by already when these are: the fifth
in a row counts. Ports are nothing that he knows of, so that starts with and without them are of one row."""


def _starts(connection: UnixConnection, hosts: Mapping[str, Mapping[str, Any]]) -> dict[str, Samples]:
    """How long the starts alone take."""
    times: dict[str, list[float]] = {name: [] for name in hosts}
    for _ in range(_ROUNDS):
        for name, counted in _ORDER:
            elapsed = _life(connection, hosts[name])
            if counted:
                times[name].append(elapsed)
            time.sleep(0.1)
    return {name: Samples(tuple(values)) for name, values in times.items()}


def _life(connection: UnixConnection, host: Mapping[str, Any]) -> float:
    """The milliseconds of a container's start."""
    body = json.dumps({"Image": "busybox", "Cmd": ["true"], "HostConfig": host}).encode()
    path = f"/containers/{json.loads(ask(connection, 'POST', '/containers/create', body))['Id']}"
    begin = time.perf_counter()
    ask(connection, "POST", f"{path}/start")
    elapsed = (time.perf_counter() - begin) * 1000
    ask(connection, "POST", f"{path}/wait")
    ask(connection, "DELETE", path)
    return elapsed


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("0.0.0.0", 0))
        return int(probe.getsockname()[1])


Send = Callable[[tuple[int, int]], None]
"""Sends once, with the sender on one CPU and the receiver on another."""


def streams(bench: Bench) -> Iterator[Row]:
    """A quarter of a gibibyte by TCP: from one container to another, and from the host to a published port.

    Corten's engine is in a network namespace of its own, as dockerd is. In the host's, where there is br_netfilter, the
    chains of everybody who has some there would be gone through by its packets and not by dockerd's, and its bridge
    would have the MTU of the host's interface.
    """
    with contextlib.ExitStack() as stack:
        engine = stack.enter_context(_apart(bench))
        pairs = {"corten": stack.enter_context(_pair(engine.docker, engine.pid))}
        if "docker" in bench.peers:
            host = bench.peers["docker"].host
            cli = Cli(("docker",), {**bench.engine.environment(), "DOCKER_HOST": host})
            pairs["docker"] = stack.enter_context(_pair(cli, _server(host.removeprefix("unix://"))))
        for what in ("container to container", "host to published port"):
            samples = _alternate({name: pair[what] for name, pair in pairs.items()})
            ours = samples.pop("corten")
            for name, theirs in samples.items():
                ratio = statistics.median(own / other for own, other in zip(ours.values, theirs.values, strict=True))
                yield Row(f"256 MiB, {what}; ratio of neighbours", str(ours), name, str(theirs), f"{ratio:.2f}", "1.1")
            if not samples:
                yield Row(f"256 MiB, {what}", str(ours))


@contextlib.contextmanager
def _apart(bench: Bench) -> Iterator[Engine]:
    """Another engine, in a network namespace that ends with it."""
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        engine = Engine(Path(scratch) / "apart", judged=False)
        engine.root.mkdir()
        engine.within = ("unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")
        try:
            engine.start().load(bench.archive)
            yield engine
        finally:
            engine.remove()


def _alternate(actions: Mapping[str, Send]) -> dict[str, Samples]:
    """Time the actions in turn, each first as often as the others.

    Where the two ends run decides more than anything else here: side by side or one after the other on one CPU, and on
    which of two that are not alike. The kernel chooses that anew each time; so they are put on two, either way round
    equally often, and the same for all.
    """
    cpus = sorted(os.sched_getaffinity(0))
    places = ((cpus[0], cpus[-1]), (cpus[-1], cpus[0]))
    times: dict[str, list[float]] = {name: [] for name in actions}
    for number in range(-2, _STREAMS):
        for name in list(actions)[:: -1 if number & 2 else 1]:
            elapsed = timed(functools.partial(actions[name], places[number & 1]))
            if number >= 0:  # the first two are not counted
                times[name].append(elapsed)
    return {name: Samples(tuple(values)) for name, values in times.items()}


@contextlib.contextmanager
def _pair(docker: Cli, host: int) -> Iterator[dict[str, Send]]:
    """Two containers of an engine, and what is sent to one of them; ``host`` is a process that stands where its ports
    are published."""
    names = ("bench-from", "bench-to")
    port = _free_port()
    try:
        for name in names:
            options = ("-p", f"{port}:{_PORT}") if name == "bench-to" else ()
            docker("run", "-d", "--name", name, *options, "busybox", "sleep", "100000").check()
        here, there = (int(_inspect(docker, name, "{{.State.Pid}}")) for name in names)
        address = _inspect(docker, "bench-to", "{{.NetworkSettings.Networks.bridge.IPAddress}}")
        gateway = _inspect(docker, "bench-to", "{{.NetworkSettings.Networks.bridge.Gateway}}")
        yield {
            "container to container": lambda cpus: _send(here, there, (address, _PORT), cpus),
            "host to published port": lambda cpus: _send(host, there, (gateway, port), cpus),
        }
    finally:
        docker("rm", "-f", *names)


def _server(path: str) -> int:
    """The process that listens at a socket."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid: int = struct.unpack("3i", credentials)[0]
    return pid


def _inspect(docker: Cli, name: str, form: str) -> str:
    return str(docker("inspect", "-f", form, name).check().out.strip())


def _send(sender: int, receiver: int, address: tuple[str, int], cpus: tuple[int, int]) -> None:
    """Send from the network namespace of one process to that of another, through ``address``."""
    with network_of(receiver):
        listener = socket.create_server(("0.0.0.0", _PORT))
    with listener, network_of(sender), _on(cpus[1]):
        child = os.fork()
        if child == 0:
            os.sched_setaffinity(0, {cpus[0]})
            os._exit(_pour(address))
        accepted, _ = listener.accept()
        with accepted:
            buffer, received = bytearray(_MIB), 0
            while count := accepted.recv_into(buffer):
                received += count
        _, status = os.waitpid(child, 0)
    assert (status, received) == (0, _BYTES), f"{received} of {_BYTES} bytes came through to {address}"


@contextlib.contextmanager
def _on(cpu: int) -> Iterator[None]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _pour(address: tuple[str, int]) -> int:
    chunk = bytes(_MIB)
    with socket.create_connection(address) as stream:
        for _ in range(_BYTES // _MIB):
            stream.sendall(chunk)
    return 0


def elements(bench: Bench) -> Iterator[Row]:
    """What containers with ports leave behind, started and stopped."""
    engine = bench.engine
    before = _published(engine)
    with contextlib.closing(UnixConnection(engine.socket)) as connection:
        for _ in range(_STARTS):
            port = str(_free_port())
            _life(connection, {"PortBindings": {"80/tcp": [{"HostPort": port}], "80/udp": [{"HostPort": port}]}})
    with contextlib.suppress(NotReady):
        wait_until(lambda: _published(engine) <= before, "the end of every port")
    left = len(_published(engine) - before)
    yield Row(f"elements left by {_STARTS} starts with ports", str(left), goal="0")


def _published(engine: Engine) -> set[str]:
    """The elements of the engine's firewall maps."""
    listed = subprocess.run(
        ["nft", "-j", "list", "ruleset"], check=True, capture_output=True, text=True
    ).stdout
    maps = [one["map"] for one in json.loads(listed)["nftables"] if "map" in one]
    own = [one for one in maps if one["table"] == engine.names.table]
    return {json.dumps([one["name"], element]) for one in own for element in one.get("elem", ())}


ALL: tuple[Measure, ...] = (attachment, streams, elements)
