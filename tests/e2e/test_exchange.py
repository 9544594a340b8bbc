"""Images between engines: what Corten pushes and saves, docker, podman, skopeo and umoci take, and the other way."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import Cli, run
from tests.support.dockerd import Dockerd
from tests.support.engine import Engine
from tests.support.registry import Registry

pytestmark = [pytest.mark.root, pytest.mark.network]
# podman raises both limits by itself, which takes CAP_SYS_RESOURCE.
_BOUNDED = ("--rm", "--network", "none", "--ulimit", "nofile=512:512", "--ulimit", "nproc=512:512",
            "--log-driver", "k8s-file")  # fmt: skip


@pytest.fixture(scope="module")
def made(shared_engine: Engine) -> Engine:
    """An engine with ``made:here``: an image of two layers, the second of a commit."""
    script = "echo new >/new; rm /etc/group; ln /new /linked"
    shared_engine.cli("run", "--name", "work", "busybox", "sh", "-c", script).check()
    shared_engine.cli("commit", "-c", 'CMD ["cat", "/linked"]', "work", "made:here").check()
    shared_engine.cli("rm", "work").check()
    return shared_engine


@pytest.fixture(scope="module")
def podman(workspace: Path) -> Iterator[Cli]:
    """podman on a storage of its own."""
    if not shutil.which("podman"):
        pytest.skip("podman is not installed")
    directory = workspace / "podman"
    options = {"root": directory / "root", "runroot": directory / "run", "storage-driver": "vfs",
               "cgroup-manager": "cgroupfs", "events-backend": "file", "runtime": "runc"}  # fmt: skip
    words = [f"--{name}={value}" for name, value in options.items()]
    cli = Cli(("podman", *words), {"PATH": os.environ["PATH"], "HOME": str(directory)})
    yield cli
    cli("rmi", "--all", "--force")
    shutil.rmtree(directory, ignore_errors=True)


def _digest(name: str) -> str:
    looked = run(["skopeo", "inspect", "--tls-verify=false", "--format", "{{.Digest}}", f"docker://{name}"])
    return looked.check().out.strip()


@pytest.mark.registry
def test_podman_takes_what_was_pushed_and_gives_it_back(made: Engine, podman: Cli, registry: Registry) -> None:
    name, back = registry.reference("exchange/podman"), registry.reference("exchange/back")
    made.cli("tag", "made:here", name).check()
    made.cli("push", name).check()
    podman("pull", "--tls-verify=false", name, timeout=120).check()
    assert podman("run", *_BOUNDED, name).check().out == "new\n"
    podman("push", "--tls-verify=false", name, back, timeout=120).check()
    made.cli("pull", back).check()
    assert made.cli("run", "--rm", back).check().out == "new\n"
    made.cli("rmi", name, back).check()


@pytest.mark.registry
@pytest.mark.dockerd
def test_docker_takes_what_was_pushed_and_gives_it_back(
    made: Engine, dockerd: Dockerd, registry: Registry, workspace: Path
) -> None:
    name, back = registry.reference("exchange/docker"), registry.reference("exchange/dockers")
    made.cli("tag", "made:here", name).check()
    made.cli("push", name).check()
    # dockerd's loopback is another: a second registry on the same files stands there, under the same address.
    within = ("nsenter", f"--net=/proc/{dockerd.pid}/ns/net", "--")
    beside = Registry(registry.directory, within=within)
    beside.port, beside.host = registry.port, registry.host
    beside.start()
    try:
        dockerd.docker("pull", name).check()
        assert dockerd.docker("run", "--rm", "--network", "none", name).check().out == "new\n"
        digests = json.loads(dockerd.docker("image", "inspect", "--format", "{{json .RepoDigests}}", name).check().out)
        assert digests == [name.rpartition(":")[0] + "@" + _digest(name)]
        dockerd.docker("tag", name, back).check()
        dockerd.docker("push", back).check()
        dockerd.docker("rmi", name, back).check()
    finally:
        beside.stop()
    pulled = made.cli("pull", back).check().out
    assert f"Digest: {_digest(back)}" in pulled
    assert made.cli("run", "--rm", back).check().out == "new\n"
    made.cli("rmi", name, back).check()
