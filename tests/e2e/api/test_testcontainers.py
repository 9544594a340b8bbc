"""testcontainers, the library as it comes from PyPI, with a real Redis: what a test suite of a user's does with it.

Its reaper is turned off: that is an image which only a hub has.
"""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.docker_client import DockerClient
from testcontainers.core.wait_strategies import (
    CompositeWaitStrategy,
    ExecWaitStrategy,
    LogMessageWaitStrategy,
    PortWaitStrategy,
)

from tests.support.engine import Engine
from tests.support.redis import redis_archive, redis_problem

pytestmark = [pytest.mark.root, pytest.mark.network]


@pytest.fixture(scope="module")
def _redis(shared_engine: Engine, workspace: Path) -> None:
    if problem := redis_problem():
        pytest.skip(problem)
    shared_engine.load(redis_archive(Path(tempfile.mkdtemp(dir=workspace))))


@pytest.fixture
def _host(shared_engine: Engine, _redis: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{shared_engine.door}")
    monkeypatch.setattr(testcontainers_config, "ryuk_disabled", True)
    yield
    left = shared_engine.api("GET", "/containers/json?all=1").json
    for one in left:
        shared_engine.api("DELETE", f"/containers/{one['Id']}?force=1")
    assert left == []


def _ask(container: DockerContainer, *words: str) -> bytes:
    """One command in Redis's protocol, over the published port."""
    address = container.get_container_host_ip(), int(container.get_exposed_port(6379))
    request = f"*{len(words)}\r\n" + "".join(f"${len(word)}\r\n{word}\r\n" for word in words)
    with socket.create_connection(address, 10) as connection:
        connection.sendall(request.encode())
        return connection.recv(4096)


@pytest.mark.usefixtures("_host")
def test_redis_from_its_ready_line_to_its_end() -> None:
    ready = LogMessageWaitStrategy("Ready to accept connections")
    with DockerContainer("redis:test").with_exposed_ports(6379).with_env("A", "b").waiting_for(ready) as redis:
        assert _ask(redis, "SET", "key", "value") == b"+OK\r\n"
        assert _ask(redis, "GET", "key") == b"$5\r\nvalue\r\n"
        assert redis.exec(["sh", "-c", "echo $A; exit 3"]) == (3, b"b\n")
        assert redis.get_wrapped_container().attrs["Config"]["Labels"]["org.testcontainers"] == "true"
        stdout, _ = redis.get_logs()
        assert b"Ready to accept connections" in stdout


@pytest.mark.usefixtures("_host")
def test_wait_strategies() -> None:
    both = CompositeWaitStrategy(PortWaitStrategy(6379), ExecWaitStrategy(["redis-server", "--version"]))
    with DockerContainer("redis:test").with_exposed_ports(6379).waiting_for(both) as redis:
        assert _ask(redis, "PING") == b"+PONG\r\n"


@pytest.mark.usefixtures("_host")
def test_a_file_in_a_volume_and_two_at_once(tmp_path: Path) -> None:
    (tmp_path / "given").write_text("from the host")
    ready = LogMessageWaitStrategy("Ready to accept connections")
    one = DockerContainer("redis:test").with_exposed_ports(6379).with_volume_mapping(str(tmp_path), "/given", "ro")
    two = DockerContainer("redis:test").with_exposed_ports(6379)
    with one.waiting_for(ready), two.waiting_for(LogMessageWaitStrategy("Ready to accept connections")):
        assert one.exec(["cat", "/given/given"]) == (0, b"from the host")
        assert one.get_exposed_port(6379) != two.get_exposed_port(6379)
        assert (_ask(one, "PING"), _ask(two, "PING")) == (b"+PONG\r\n", b"+PONG\r\n")
        assert len(DockerClient().client.containers.list()) == 2
