"""The API over TCP: client certificates, both halves of a connection, and what is refused without them."""

from __future__ import annotations

import dataclasses
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from tests.support.certificates import Authority, openssl_problem
from tests.support.command import Cli, Result, run
from tests.support.engine import PROJECT, Engine

pytestmark = [pytest.mark.root, pytest.mark.network]

FLAG = "--insecure-tcp-gives-root-to-everyone"
ECHO = ("run", "-i", "--rm", "--network", "none", "busybox", "sh", "-c", "cat; echo end")


@dataclasses.dataclass(frozen=True, slots=True)
class Door:
    """An engine behind TLS, and the certificates of who may come in and who may not."""

    engine: Engine
    port: int
    client: Path
    stranger: Path

    @property
    def host(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def environment(self, certificates: Path | None) -> dict[str, str]:
        plain = {name: text for name, text in self.engine.environment().items() if name != "CORTEN_ROOT"}
        own = {**plain, "CORTEN_HOST": self.host, "DOCKER_HOST": self.host}
        return own if certificates is None else {**own, "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(certificates)}

    def cli(self, program: str, certificates: Path | None) -> Cli:
        argv = ("docker",) if program == "docker" else (sys.executable, str(PROJECT / "scripts/corten"))
        return Cli(argv, self.environment(certificates))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def door(workspace: Path, busybox_archive: Path) -> Iterator[Door]:
    if problem := openssl_problem():
        pytest.skip(problem)
    directory = Path(tempfile.mkdtemp(dir=workspace))
    ours, other = Authority.make(directory / "ours", "ours"), Authority.make(directory / "other", "other")
    own = ours.issue("engine", "serverAuth", names="IP:127.0.0.1,DNS:localhost")
    client, stranger = ours.issue("client", "clientAuth"), other.issue("stranger", "clientAuth")
    shutil.copy(client / "ca.pem", stranger / "ca.pem")
    root = Path(tempfile.mkdtemp(dir=workspace))
    port = free_port()
    engine = Engine(root)
    engine.options = (
        "-H", f"unix://{engine.socket}", "-H", f"tcp://127.0.0.1:{port}", "--tlsverify=true",
        f"--tlscacert={ours.certificate}", "--tlscert", f"{own}/cert.pem", "--tlskey", f"{own}/key.pem",
    )  # fmt: skip
    try:
        engine.start().load(busybox_archive)
        yield Door(engine, port, client, stranger)
    finally:
        engine.remove()


@pytest.fixture(params=["corten", "docker"])
def program(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if name == "docker" and not shutil.which("docker"):
        pytest.skip("the docker command line is not installed")
    return name


def test_a_command_line_with_a_certificate_comes_in(door: Door, program: str) -> None:
    cli = door.cli(program, door.client)
    assert cli("run", "--rm", "--network", "none", "busybox", "echo", "hello").check().out == "hello\n"
    assert cli("version").check().out


def test_options_say_the_same_as_the_environment(door: Door, program: str) -> None:
    own = door.client
    given = ("-H", door.host, "--tlsverify", "--tlscacert", f"{own}/ca.pem", "--tlscert", f"{own}/cert.pem",
             "--tlskey", f"{own}/key.pem")  # fmt: skip
    nothing = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    bare = dataclasses.replace(door.cli(program, None), environment=nothing)
    assert bare(*given, "ps", "-q").check().out == ""


def test_the_end_of_stdin_travels_and_the_output_after_it_comes_back(door: Door, program: str) -> None:
    big = os.urandom(300_000).hex().encode() + b"\n"
    said = door.cli(program, door.client)(*ECHO, stdin=big).check()
    assert said.raw == big + b"end\n"


def test_exec_and_attach_end_their_stdin_too(door: Door, program: str) -> None:
    cli = door.cli(program, door.client)
    sleeper = cli("run", "-d", "--network", "none", "busybox", "sleep", "1000").check().out.strip()
    reader = cli("create", "-i", "--network", "none", "busybox", "sh", "-c", "cat; echo end").check().out.strip()
    try:
        assert cli("exec", "-i", sleeper, "sh", "-c", "cat; echo end", stdin=b"in\n").check().out == "in\nend\n"
        assert cli("start", "-a", "-i", reader, stdin=b"last\n").check().out == "last\nend\n"
    finally:
        cli("rm", "-f", sleeper, reader)


def test_docker_py_comes_in_and_hijacks(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # requests prefers them to what it is told
        monkeypatch.delenv(name, raising=False)
    own = door.client
    tls = docker.tls.TLSConfig(client_cert=(f"{own}/cert.pem", f"{own}/key.pem"), ca_cert=f"{own}/ca.pem", verify=True)
    client = docker.DockerClient(base_url=door.host, tls=tls)
    try:
        container = client.containers.run("busybox", ["sleep", "1000"], detach=True, network_mode="none")
        try:
            assert container.exec_run(["echo", "hi"]).output == b"hi\n"
            hijacked = container.exec_run(["cat"], stdin=True, socket=True).output
            hijacked.sendall(b"there and back\n")
            assert hijacked.recv(8 + 15)[8:] == b"there and back\n"
            hijacked.close()
        finally:
            container.remove(force=True)
    finally:
        client.close()


def test_a_client_that_nobody_vouches_for_stays_outside(door: Door, program: str) -> None:
    refused = door.cli(program, door.stranger)("ps")
    assert refused.code != 0
    assert "certificate" in refused.err or "unknown ca" in refused.err
    nobody = {"HOME": "/nonexistent", "DOCKER_CONFIG": "/nonexistent"}
    without = door.cli(program, None)("--tlsverify", "--tlscacert", f"{door.client}/ca.pem", "ps", env=nobody)
    assert without.code != 0
    assert "certificate" in without.err


def test_an_engine_that_nobody_vouches_for_is_not_spoken_to(door: Door, program: str) -> None:
    other = door.stranger.parent / "ca.pem"
    refused = door.cli(program, door.client)("--tlscacert", str(other), "ps")
    assert refused.code != 0
    assert "certificate" in refused.err


def test_plain_http_at_the_door_is_told_so(door: Door, program: str) -> None:
    refused = door.cli(program, None)("ps", env={"DOCKER_TLS_VERIFY": ""})
    assert refused.code != 0
    assert "Client sent an HTTP request to an HTTPS server." in refused.err


def test_who_says_nothing_keeps_nobody_out(door: Door) -> None:
    silent = [socket.create_connection(("127.0.0.1", door.port)) for _ in range(20)]
    try:
        assert door.cli("corten", door.client)("ps", "-q").check().out == ""
    finally:
        for one in silent:
            one.close()


def _daemon(workspace: Path, *options: str) -> Result:
    """An engine that is expected to leave at once."""
    root = tempfile.mkdtemp(dir=workspace)
    argv = [sys.executable, "-m", "corten.daemon", "--root", root, *options]
    return run(argv, env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"}, timeout=60)


@pytest.mark.parametrize("address", ["0.0.0.0", "[::]", ""])
def test_beyond_loopback_nothing_is_offered_without_certificates(workspace: Path, address: str) -> None:
    if not address:
        address = _own_address()
    refused = _daemon(workspace, "-H", f"tcp://{address}:{free_port()}")
    assert refused.code == 1
    assert "whoever reaches this port is root on this machine" in refused.err
    assert FLAG in refused.err


def test_tls_that_asks_nobody_who_he_is_counts_as_none(door: Door, workspace: Path) -> None:
    own = door.client.parent / "engine"
    refused = _daemon(
        workspace, "-H", f"tcp://0.0.0.0:{free_port()}", "--tls", f"--tlscert={own}/cert.pem", f"--tlskey={own}/key.pem"
    )
    assert refused.code == 1
    assert FLAG in refused.err


def test_files_that_are_not_there_are_named(workspace: Path) -> None:
    refused = _daemon(workspace, "-H", "tcp://127.0.0.1", "--tlsverify", "--tlscert=/no/such/cert.pem")
    assert refused.code == 1
    assert "/no/such/cert.pem" in refused.err
    assert "no such file" in refused.err


def _own_address() -> str:
    """An address of this machine that is not loopback's."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address but loopback's")
        address: str = probe.getsockname()[0]
        return address


@pytest.fixture
def plain(workspace: Path) -> Iterator[tuple[Engine, int]]:
    root, port = Path(tempfile.mkdtemp(dir=workspace)), free_port()
    engine = Engine(root)
    engine.options = ("-H", f"unix://{engine.socket}", "-H", f"tcp://127.0.0.1:{port}")
    try:
        yield engine.start(), port
    finally:
        engine.remove()


def _answer(port: int, *lines: str) -> str:
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall("\r\n".join(["GET /_ping HTTP/1.1", *lines, "Connection: close", "", ""]).encode())
        return client.makefile("rb").read().decode()


def test_plain_tcp_on_loopback_is_warned_of_and_no_web_pages(plain: tuple[Engine, int]) -> None:
    engine, port = plain
    assert "every user of this machine" in engine.said()
    assert _answer(port, f"Host: 127.0.0.1:{port}").startswith("HTTP/1.1 200")
    assert _answer(port, "Host: localhost").startswith("HTTP/1.1 200")
    # A page's script, and one whose name was made to mean 127.0.0.1.
    assert _answer(port, "Host: localhost", "Origin: https://example.org").startswith("HTTP/1.1 403")
    assert _answer(port, f"Host: rebound.example.org:{port}").startswith("HTTP/1.1 403")


def test_the_flag_that_says_what_it_gives_away_gives_it(workspace: Path) -> None:
    root, port = Path(tempfile.mkdtemp(dir=workspace)), free_port()
    engine = Engine(root)
    # In a network namespace of its own: nobody else is to reach it.
    argv = [sys.executable, "-m", "corten.daemon", "--root", str(root), "-H", f"unix://{engine.socket}",
            "-H", f"tcp://0.0.0.0:{port}", FLAG]  # fmt: skip
    try:
        with engine.log.open("ab") as log:
            engine.process = subprocess.Popen(
                ["unshare", "--net", *argv], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=engine.environment(), cwd="/",
            )  # fmt: skip
        from tests.support.process import wait_until

        wait_until(engine.answers, "the engine", pid=engine.process.pid)
        assert "every user of every machine that reaches this port" in engine.said()
    finally:
        engine.remove()
