"""docker-py, the library as it comes from PyPI: what a program of a user's does with it."""

from __future__ import annotations

import io
import tarfile
import threading
from collections.abc import Iterator

import docker
import pytest
from docker.errors import APIError, ContainerError, ImageNotFound, NotFound
from docker.models.containers import Container
from docker.types import Healthcheck, LogConfig, Mount, Ulimit

from tests.support.engine import Engine
from tests.support.registry import Registry

pytestmark = [pytest.mark.root, pytest.mark.network]


@pytest.fixture
def client(shared_engine: Engine) -> Iterator[docker.DockerClient]:
    found = docker.DockerClient(base_url=f"unix://{shared_engine.door}")
    try:
        yield found
    finally:
        for container in found.containers.list(all=True):
            container.remove(force=True, v=True)
        for volume in found.volumes.list():
            volume.remove(force=True)
        found.close()


def test_it_speaks_the_newest_version_that_both_know(client: docker.DockerClient) -> None:
    version = client.version()
    assert client.ping()
    assert version["MinAPIVersion"] == "1.24"
    assert client.api._version in (version["ApiVersion"], docker.constants.DEFAULT_DOCKER_API_VERSION)
    assert client.info()["ServerVersion"] == version["Version"]


def test_run_gives_output_and_raises_for_a_failure(client: docker.DockerClient) -> None:
    assert client.containers.run("busybox", ["echo", "hello"], remove=True) == b"hello\n"
    with pytest.raises(ContainerError) as failed:
        client.containers.run("busybox", ["sh", "-c", "echo why >&2; exit 3"], remove=True)
    assert (failed.value.exit_status, failed.value.stderr) == (3, b"why\n")
    with pytest.raises(ImageNotFound):
        client.api.create_container("no/such:image")


def test_options_arrive(client: docker.DockerClient) -> None:
    container = client.containers.run(
        "busybox", ["sh", "-c", "id -u; hostname; echo $A; ulimit -n; pwd; ls -d /data; cat /etc/hosts"], detach=True,
        user=1000, hostname="inside", environment={"A": "b"}, ulimits=[Ulimit(name="nofile", soft=77, hard=77)],
        working_dir="/tmp", volumes={"kept": {"bind": "/data", "mode": "rw"}}, extra_hosts={"far": "10.1.2.3"},
        labels=["one"], mem_limit="64m", nano_cpus=500_000_000, cap_drop=["ALL"], read_only=True, tmpfs={"/run": ""},
        log_config=LogConfig(type=LogConfig.types.JSON, config={"max-size": "1m"}), init=True, shm_size="1m",
    )  # fmt: skip
    assert container.wait()["StatusCode"] == 0
    lines = container.logs().decode().split("\n")
    assert lines[:6] == ["1000", "inside", "b", "77", "/tmp", "/data"]
    assert "10.1.2.3\tfar" in lines
    host = container.attrs["HostConfig"]
    assert (host["Memory"], host["NanoCpus"], host["ReadonlyRootfs"], host["Init"]) == (64 << 20, 5 * 10**8, True, True)
    assert client.containers.list(all=True, filters={"label": "one"}) == [container]


def test_a_life(client: docker.DockerClient) -> None:
    container = client.containers.create("busybox", ["sleep", "600"], name="alive", stop_signal="SIGKILL")
    assert container.status == "created"
    for change, status in (
        (container.start, "running"), (container.pause, "paused"), (container.unpause, "running"),
        (container.restart, "running"), (container.stop, "exited"),
    ):  # fmt: skip
        change()
        container.reload()
        assert container.status == status
    container.start()
    container.kill()  # is over when the container is
    assert _reloaded(container).status == "exited"
    container.rename("other")
    assert client.containers.get("other").id == container.id
    container.remove()
    with pytest.raises(NotFound):
        client.containers.get("other")


def test_exec_and_files(client: docker.DockerClient) -> None:
    container = client.containers.run("busybox", ["sleep", "600"], detach=True)
    code, (out, err) = container.exec_run(["sh", "-c", "echo o; echo e >&2; exit 5"], demux=True)
    assert (code, out, err) == (5, b"o\n", b"e\n")
    assert container.exec_run("id -un", user="alice").output == b"alice\n"
    assert container.exec_run("pwd", workdir="/tmp", environment={"A": "b"}).output == b"/tmp\n"
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        member = tarfile.TarInfo("note")
        member.size = 2
        archive.addfile(member, io.BytesIO(b"hi"))
    assert container.put_archive("/tmp", packed.getvalue())
    chunks, stat = container.get_archive("/tmp/note")
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
        assert archive.extractfile("note").read() == b"hi"  # type: ignore[union-attr]
    assert stat["name"] == "note"
    assert {"Path": "/tmp/note", "Kind": 1} in container.diff()
    assert "sleep 600" in container.top()["Processes"][0][-1]
    assert container.stats(stream=False)["memory_stats"]["usage"] > 0


def test_streams(client: docker.DockerClient) -> None:
    container = client.containers.create("busybox", ["sh", "-c", "read a; echo got $a; read b; echo $b"],
                                         stdin_open=True)  # fmt: skip
    attached = container.attach_socket(params={"stdin": 1, "stream": 1})
    output = container.attach(stream=True, stdout=True, logs=True)
    container.start()
    attached._sock.sendall(b"one\n")
    attached._sock.sendall(b"two\n")
    assert b"".join(output) == b"got one\ntwo\n"
    assert container.wait()["StatusCode"] == 0
    assert list(container.logs(stream=True, follow=True)) == [b"got one\n", b"two\n"]
    attached._sock.close()


def test_events_while_something_happens(client: docker.DockerClient) -> None:
    events = client.events(decode=True, filters={"type": "container", "image": "busybox"})
    found: list[str] = []

    def listen() -> None:
        for event in events:
            found.append(event["Action"])
            if event["Action"] == "destroy":
                return

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    client.containers.run("busybox", ["true"], remove=True)
    listener.join(20)
    assert [one for one in found if one != "attach"] == ["create", "start", "die", "destroy"]


def test_images(client: docker.DockerClient, registry: Registry) -> None:
    image = client.images.get("busybox")
    assert image.tag(f"{registry.host}/py", "v2")
    lines = list(client.images.push(f"{registry.host}/py", tag="v2", stream=True, decode=True))
    assert lines[-1]["aux"]["Tag"] == "v2"
    assert client.images.get_registry_data(registry.reference("py", "v2")).id == lines[-1]["aux"]["Digest"]
    client.images.remove(registry.reference("py", "v2"))
    assert client.images.pull(f"{registry.host}/py", tag="v2").id == image.id
    client.images.remove(registry.reference("py", "v2"))
    saved = b"".join(image.save(named=True))
    (loaded,) = client.images.load(saved)
    assert loaded.id == image.id
    assert image.history()[0]["Id"] == image.id
    container = client.containers.run("busybox", ["touch", "/new"], detach=True)
    container.wait()
    made = container.commit("made", tag="one", message="m", changes=["ENV A=b"])
    assert "A=b" in made.attrs["Config"]["Env"]
    client.images.remove("made:one")


def test_networks_and_volumes(client: docker.DockerClient) -> None:
    network = client.networks.create("own", labels={"a": "b"})
    volume = client.volumes.create("data", labels={"a": "b"})
    mount = Mount("/v", "data", type="volume")
    first = client.containers.run("busybox", ["sh", "-c", "echo x >/v/x; sleep 600"], detach=True, network="own",
                                  mounts=[mount], ports={"80/tcp": ("127.0.0.1", None)})  # fmt: skip
    first.reload()
    place = first.attrs["NetworkSettings"]["Networks"]["own"]
    assert place["NetworkID"] == network.id
    assert first.ports["80/tcp"][0]["HostIp"] == "127.0.0.1"
    network.reload()
    assert network.containers == [first]
    with pytest.raises(APIError, match="in use"):
        volume.remove()
    assert client.networks.list(filters={"label": "a"}) == [network]
    first.remove(force=True)
    network.remove()
    assert [one.name for one in client.volumes.list(filters={"dangling": True})] == ["data"]
    used = client.df()
    assert (used["Volumes"][0]["Name"], used["Images"][0]["Containers"]) == ("data", 0)


def test_health_is_waited_for(client: docker.DockerClient) -> None:
    check = Healthcheck(test=["CMD", "true"], interval=20_000_000, retries=2)
    container = client.containers.run("busybox", ["sleep", "600"], detach=True, healthcheck=check)
    assert _reloaded(container).health in ("starting", "healthy")
    for event in client.events(decode=True, since=1, filters={"container": container.id}):
        if event["Action"] == "health_status: healthy":
            break
    assert _reloaded(container).health == "healthy"


def _reloaded(container: Container) -> Container:
    container.reload()
    return container


def test_pruning_tells_what_came_free(client: docker.DockerClient) -> None:
    client.containers.run("busybox", ["dd", "if=/dev/zero", "of=/zeros", "bs=1M", "count=2"], detach=True).wait()
    pruned = client.containers.prune()
    assert (len(pruned["ContainersDeleted"]), pruned["SpaceReclaimed"] >= 2 << 20) == (1, True)
    assert client.networks.prune()["NetworksDeleted"] in (None, [])
