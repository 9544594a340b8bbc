"""Images between engines: what Corten pushes and saves, docker, podman, skopeo and umoci take, and the other way."""

from __future__ import annotations

import functools
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

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


def test_podman_loads_what_was_saved_and_saves_what_is_loaded(made: Engine, podman: Cli, tmp_path: Path) -> None:
    archive, back = tmp_path / "saved.tar", tmp_path / "back.tar"
    made.cli("save", "-o", str(archive), "made:here").check()
    podman("load", "-i", str(archive)).check()
    assert podman("run", *_BOUNDED, "docker.io/library/made:here").check().out == "new\n"
    for form in ("docker-archive", "oci-archive"):
        back.unlink(missing_ok=True)
        podman("save", "--format", form, "-o", str(back), "docker.io/library/made:here").check()
        loaded = made.cli("load", "-i", str(back)).check().out
        # Podman may write its configuration anew: then it is another image that has the name, which is said first.
        assert loaded.splitlines()[-1] == "Loaded image: made:here"
        assert made.cli("run", "--rm", "made:here").check().out == "new\n"


@pytest.mark.dockerd
def test_docker_loads_what_was_saved_and_saves_what_is_loaded(made: Engine, dockerd: Dockerd, tmp_path: Path) -> None:
    archive, back = tmp_path / "saved.tar", tmp_path / "back.tar"
    made.cli("save", "-o", str(archive), "made:here", "busybox").check()
    told = dockerd.docker("load", "-i", str(archive)).check().out
    assert told == "Loaded image: made:here\nLoaded image: busybox:latest\n"
    assert dockerd.docker("run", "--rm", "--network", "none", "made:here").check().out == "new\n"
    dockerd.docker("save", "-o", str(back), "made:here").check()
    assert made.cli("load", "-i", str(back)).check().out == "Loaded image: made:here\n"
    id = made.cli("image", "inspect", "--format", "{{.Id}}", "made:here").check().out
    assert dockerd.docker("image", "inspect", "--format", "{{.Id}}", "made:here").check().out == id
    dockerd.docker("rmi", "made:here").check()


def test_a_part_is_saved_for_those_who_have_the_base(made: Engine, engine: Engine, tmp_path: Path) -> None:
    part, base = tmp_path / "part.tar", tmp_path / "base.tar"
    made.cli("save", "--since", "busybox", "-o", str(part), "made:here").check()
    made.cli("save", "-o", str(base), "busybox").check()
    assert part.stat().st_size < base.stat().st_size / 20
    refused = engine.cli("load", "-i", str(part))
    assert refused.code == 1
    assert "that of its base busybox:latest" in refused.err
    assert "load the base first" in refused.err
    assert engine.cli("images", "-q").check().out == ""
    engine.cli("load", "-q", "-i", str(base)).check()
    assert engine.cli("load", "-i", str(part)).check().out == "Loaded image: made:here\n"
    assert engine.cli("run", "--rm", "made:here").check().out == "new\n"
    missing = made.cli("save", "--since", "no-such", "made:here")
    assert (missing.code, missing.err) == (1, "Error response from daemon: No such image: no-such:latest\n")


def test_platforms_are_those_that_are_here(made: Engine, tmp_path: Path) -> None:
    refused = made.cli("save", "--platform", "linux/riscv64", "made:here", "-o", str(tmp_path / "x.tar"))
    assert "made:here was found but does not provide the specified platform (linux/riscv64)" in refused.err
    made.cli("save", "--platform", "linux", "made:here", "-o", str(tmp_path / "x.tar")).check()
    refused = made.cli("load", "--platform", "linux/riscv64", "-i", str(tmp_path / "x.tar"))
    assert (refused.code, "nothing in the archive is for linux/riscv64" in refused.err) == (1, True)


def test_an_exported_file_system_is_imported_by_name_and_by_url(made: Engine, tmp_path: Path) -> None:
    archive = tmp_path / "root.tar"
    made.cli("create", "--name", "out", "made:here").check()
    made.cli("export", "-o", str(archive), "out").check()
    made.cli("rm", "out").check()
    made.cli("import", "-c", "CMD cat /new", "-m", "by hand", str(archive), "imported:file").check()
    assert made.cli("run", "--rm", "imported:file").check().out == "new\n"
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}"
            told = made.cli("import", "-c", "CMD cat /new", f"{url}/root.tar", "imported:url").check().lines
            refused = made.cli("import", f"{url}/nothing.tar")
        finally:
            server.shutdown()
            thread.join()
    assert told[0] == f"Downloading from {url}/root.tar"
    assert told[1].startswith("sha256:")
    assert made.cli("run", "--rm", "imported:url").check().out == "new\n"
    assert (refused.code, "the server answers 404" in refused.err) == (1, True)
    made.cli("rmi", "imported:url", "imported:file").check()


def test_what_is_not_kept_compressed_serves_all_the_same(
    made: Engine, registry: Registry, workspace: Path, tmp_path: Path
) -> None:
    base, other = registry.reference("spared"), registry.reference("spared-again")
    made.cli("tag", "made:here", base).check()
    made.cli("push", "-q", base).check()
    engine = Engine(Path(tempfile.mkdtemp(dir=workspace)), "--no-keep-blobs")
    try:
        if engine.start().api("GET", "/info").json["Driver"] != "erofs":
            pytest.skip("the archive of a layer is kept by layers that are files only")
        engine.cli("pull", "-q", base).check()
        (tmp_path / "Dockerfile").write_text(f"FROM {base}\nRUN cp /new /newer\nCMD cat /newer\n")
        engine.cli("build", "-q", "-t", "above", str(tmp_path)).check()
        engine.cli("tag", base, other).check()
        assert "Compressed anew" in engine.cli("push", other).check().out
        engine.cli("save", "-o", str(tmp_path / "above.tar"), "above").check()
    finally:
        engine.remove()
    engine.keep_contract()
    assert made.cli("load", "-i", str(tmp_path / "above.tar")).check().out == "Loaded image: above:latest\n"
    assert made.cli("run", "--rm", "above").check().out == "new\n"
    assert made.cli("run", "--rm", other).check().out == "new\n"
