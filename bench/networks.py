"""What networks cost: a start's place on the bridge, its ports, and the bytes that go through them."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from bench.measures import Bench, Measure, Row, ask
from bench.sampling import Samples, interleave
from tests.support.command import Cli
from tests.support.engine import Engine
from tests.support.http import UnixConnection
from tests.support.process import NotReady, wait_until
from tests.support.spaces import network_of

_ROUNDS = 30
_STREAMS = 7
_MIB = 1 << 20
_BYTES = 1024 * _MIB
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
    added = samples["ports"].median - samples["bridge"].median
    yield Row(f"{_PORTS} published ports add to that", f"{added:.1f}", goal="< 1")


def _starts(connection: UnixConnection, hosts: Mapping[str, Mapping[str, Any]]) -> dict[str, Samples]:
    """How long the starts alone take, each kind five times in a row and the fifth counted: whoever stands by for a
    start does so for one like the last two, and two stand by already when these are."""
    times: dict[str, list[float]] = {name: [] for name in hosts}
    for _ in range(_ROUNDS):
        for name, host in hosts.items():
            for counted in (False, False, False, False, True):
                elapsed = _life(connection, host)
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


def streams(bench: Bench) -> Iterator[Row]:
    """A gibibyte by TCP: from one container to another, and from the host to a published port."""
    with contextlib.ExitStack() as stack:
        pairs = {"corten": stack.enter_context(_pair(bench.engine.docker, os.getpid()))}
        if "docker" in bench.peers:
            host = bench.peers["docker"].host
            cli = Cli(("docker",), {**bench.engine.environment(), "DOCKER_HOST": host})
            pairs["docker"] = stack.enter_context(_pair(cli, _server(host.removeprefix("unix://"))))
        for what in ("container to container", "host to published port"):
            actions = {name: pair[what] for name, pair in pairs.items()}
            samples = interleave(actions, _STREAMS)
            for name, values in samples.items():
                if name != "corten":
                    ratio = f"{samples['corten'].median / values.median:.2f}"
                    yield Row(f"1 GiB, {what}", str(samples["corten"]), name, str(values), ratio, "1.1")
            if len(samples) == 1:
                yield Row(f"1 GiB, {what}", str(samples["corten"]))


@contextlib.contextmanager
def _pair(docker: Cli, host: int) -> Iterator[dict[str, Callable[[], None]]]:
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
            "container to container": lambda: _send(here, there, (address, _PORT)),
            "host to published port": lambda: _send(host, there, (gateway, port)),
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


def _send(sender: int, receiver: int, address: tuple[str, int]) -> None:
    """Send from the network namespace of one process to that of another, through ``address``."""
    with network_of(receiver):
        listener = socket.create_server(("0.0.0.0", _PORT))
    with listener, network_of(sender):
        child = os.fork()
        if child == 0:
            os._exit(_pour(address))
        accepted, _ = listener.accept()
        with accepted:
            buffer, received = bytearray(_MIB), 0
            while count := accepted.recv_into(buffer):
                received += count
        _, status = os.waitpid(child, 0)
    assert (status, received) == (0, _BYTES), f"{received} of {_BYTES} bytes came through to {address}"


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
