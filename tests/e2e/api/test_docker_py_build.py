"""docker-py builds: from a directory, from a file object, and what it makes of a failure."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from docker.errors import APIError, BuildError

from tests.support import contexts
from tests.support.engine import Engine

pytestmark = [pytest.mark.root, pytest.mark.network]


@pytest.fixture
def client(shared_engine: Engine) -> Iterator[docker.DockerClient]:
    found = docker.DockerClient(base_url=f"unix://{shared_engine.door}")
    yield found
    found.close()


def test_a_directory_becomes_an_image(client: docker.DockerClient, tmp_path: Path) -> None:
    where = contexts.directory(
        tmp_path, "FROM busybox\nARG A\nCOPY . /c\nRUN echo $A > /a\n", {"f": "x", "g": "y", ".dockerignore": "g\n"}
    )
    image, said = client.images.build(
        path=str(where), tag="by:docker-py", buildargs={"A": "b"}, labels={"l": "m"}, rm=True, shmsize=1 << 20,
        container_limits={"memory": 64 << 20}, extra_hosts={"far": "10.1.2.3"}, network_mode="none",
    )  # fmt: skip
    assert image.tags == ["by:docker-py"]
    assert image.labels == {"l": "m"}
    assert any("Step 4/5" in line.get("stream", "") for line in said)
    assert client.containers.run(image, ["sh", "-c", "cat /a; ls /c"], remove=True) == b"b\nDockerfile\nf\n"


def test_a_file_object_and_a_gzipped_context(client: docker.DockerClient) -> None:
    image, _ = client.images.build(fileobj=io.BytesIO(b"FROM busybox\nLABEL a=b\n"))
    assert image.labels == {"a": "b"}
    packed = contexts.archive({"Other": "FROM busybox\nLABEL c=d\n"}, mode="w:gz")
    image, _ = client.images.build(fileobj=io.BytesIO(packed), custom_context=True, encoding="gzip", dockerfile="Other")
    assert image.labels == {"c": "d"}


def test_failures(client: docker.DockerClient) -> None:
    with pytest.raises(BuildError, match="returned a non-zero code: 3") as failed:
        client.images.build(fileobj=io.BytesIO(b"FROM busybox\nRUN exit 3\n"))
    assert "Step 2/2 : RUN exit 3\n" in [line.get("stream") for line in failed.value.build_log]
    with pytest.raises(APIError, match="unknown instruction: NOSUCH") as refused:
        client.images.build(fileobj=io.BytesIO(b"FROM busybox\nNOSUCH\n"))
    assert refused.value.status_code == 400
