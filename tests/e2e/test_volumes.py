"""Volumes of the local driver whose files are elsewhere on the host."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import Cli
from tests.support.engine import Engine

pytestmark = [pytest.mark.root, pytest.mark.network]


@pytest.fixture
def cli(shared_engine: Engine) -> Iterator[Cli]:
    yield shared_engine.cli
    shared_engine.cli("volume", "rm", "-f", "bound")


def create(cli: Cli, **options: str) -> None:
    words = [word for key, value in options.items() for word in ("--opt", f"{key}={value}")]
    cli("volume", "create", *words, "bound").check()


def test_a_directory_of_the_host_is_a_volume(cli: Cli, tmp_path: Path) -> None:
    create(cli, type="none", o="bind", device=str(tmp_path))
    cli("run", "--rm", "-v", "bound:/data", "busybox", "sh", "-c", "echo kept > /data/file").check()
    assert (tmp_path / "file").read_text() == "kept\n"
    told = cli("volume", "inspect", "-f", "{{json .Options}}", "bound").out
    assert str(tmp_path) in told
    cli("volume", "rm", "bound").check()
    assert (tmp_path / "file").exists(), "the directory is the host's"


def test_it_takes_the_images_content_when_it_is_empty(cli: Cli, tmp_path: Path) -> None:
    create(cli, type="none", o="bind", device=str(tmp_path))
    cli("run", "--rm", "-v", "bound:/etc", "busybox", "true").check()
    assert (tmp_path / "passwd").exists()


def test_a_device_that_is_not_there(cli: Cli, tmp_path: Path) -> None:
    create(cli, type="none", o="bind", device=str(tmp_path / "none"))
    result = cli("run", "--rm", "-v", "bound:/data", "busybox", "true")
    assert result.code == 125
    assert "failed to mount local volume" in result.err


@pytest.mark.parametrize(("options", "says"), [
    (("bogus=1",), 'invalid option: "bogus"'), (("o=bind",), 'missing required option: "device"'),
    (("type=tmpfs",), 'missing required option: "device"'), (("size=1g",), "no quota support"),
    (("device=tmpfs",), 'missing required option: "type"'),
])  # fmt: skip
def test_what_the_driver_cannot(cli: Cli, options: tuple[str, ...], says: str) -> None:
    words = [word for option in options for word in ("--opt", option)]
    result = cli("volume", "create", *words, "bound")
    assert result.code == 1
    assert says in result.err
    assert cli("volume", "ls", "-q", "--filter", "name=bound").out == ""


# --- a file system of its own


def test_containers_that_run_together_share_a_file_system_in_memory(cli: Cli, shared_engine: Engine) -> None:
    create(cli, type="tmpfs", device="tmpfs", o="size=1m,uid=1000,mode=0700")
    point = Path(cli("volume", "inspect", "-f", "{{.Mountpoint}}", "bound").check().out.strip())
    mounts = ("-v", "bound:/data")
    first = cli("run", "-d", *mounts, "busybox", "sleep", "1000").check().out.strip()
    second = cli("run", "-d", *mounts, "busybox", "sleep", "1000").check().out.strip()
    try:
        cli("exec", first, "sh", "-c", "echo here > /data/f").check()
        assert cli("exec", second, "cat", "/data/f").check().out == "here\n"
        assert cli("exec", second, "stat", "-c", "%u %a", "/data").check().out == "1000 700\n"
        assert "No space left" in cli("exec", second, "dd", "if=/dev/zero", "of=/data/g", "bs=1M", "count=2").err
        cli("rm", "-f", first).check()
        assert cli("exec", second, "cat", "/data/f").check().out == "here\n"
        assert os.path.ismount(point)
    finally:
        cli("rm", "-f", first, second)
    assert not os.path.ismount(point)
    assert cli("run", "--rm", *mounts, "busybox", "ls", "/data").check().out == ""


def test_the_engine_that_comes_next_takes_it_down(engine: Engine, busybox: str) -> None:
    cli = engine.cli
    create(cli, type="tmpfs", device="tmpfs")
    point = Path(cli("volume", "inspect", "-f", "{{.Mountpoint}}", "bound").check().out.strip())
    script = "echo kept > /data/f; sleep 1000"
    id = cli("run", "-d", "-v", "bound:/data", busybox, "sh", "-c", script).check().out.strip()
    engine.kill()
    engine.start()
    assert os.path.ismount(point)
    assert cli("run", "--rm", "-v", "bound:/data", busybox, "cat", "/data/f").check().out == "kept\n"
    assert os.path.ismount(point)
    cli("rm", "-f", id).check()
    assert not os.path.ismount(point)


def test_what_the_kernel_cannot_mount_fails_the_start_in_dockers_words(cli: Cli) -> None:
    create(cli, type="nofs", device=":/share", o="addr=127.0.0.1,password=secret")
    result = cli("run", "--rm", "-v", "bound:/data", "busybox", "true")
    assert result.code == 125
    assert "failed to mount local volume: mount :/share:" in result.err
    assert "no such device" in result.err
    assert "secret" not in result.err


def test_a_part_of_a_volume(cli: Cli) -> None:
    script = "mkdir -p /d/a/b; echo in > /d/a/b/f; ln -s /a /d/l"
    cli("run", "--rm", "-v", "bound:/d", "busybox", "sh", "-c", script).check()
    part = "type=volume,src=bound,dst=/p,volume-subpath="
    assert cli("run", "--rm", "--mount", f"{part}a/b", "busybox", "cat", "/p/f").check().out == "in\n"
    assert cli("run", "--rm", "--mount", f"{part}a/b/f", "busybox", "cat", "/p").check().out == "in\n"
    assert cli("run", "--rm", "--mount", f"{part}l/b", "busybox", "cat", "/p/f").check().out == "in\n"
    missing = cli("run", "--rm", "--mount", f"{part}none", "busybox", "true")
    assert missing.code != 0
    assert "no such file or directory" in missing.err


def test_a_link_in_a_volume_does_not_lead_out_of_it(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of the host")
    links = f"ln -s {tmp_path} /d/out; ln -s ../../../../../..{tmp_path} /d/up; mkdir /d/etc; ln -s /etc /d/e"
    cli("run", "--rm", "-v", "bound:/d", "busybox", "sh", "-c", links).check()
    part = "type=volume,src=bound,dst=/p,volume-subpath="
    for name in ("out", "up"):
        refused = cli("run", "--rm", "--mount", f"{part}{name}", "busybox", "ls", "/p")
        assert refused.code == 125
        assert "secret" not in refused.out
    assert cli("run", "--rm", "--mount", f"{part}e", "busybox", "ls", "/p").check().out == ""
    # Also one that came to be a link between create and start, and for what copies files.
    id = cli("create", "--mount", f"{part}etc", "busybox", "ls", "/p").check().out.strip()
    try:
        cli("run", "--rm", "-v", "bound:/d", "busybox", "sh", "-c", f"rmdir /d/etc; ln -s {tmp_path} /d/etc").check()
        assert cli("start", "-a", id).code != 0
        assert "of the host" not in cli("cp", f"{id}:/p/secret", "-").out
    finally:
        cli("rm", "-f", id)


def test_nocopy_leaves_a_new_volume_empty(cli: Cli) -> None:
    mount = "type=volume,src=bound,dst=/etc,volume-nocopy"
    own = ["hostname", "hosts", "resolv.conf"]
    assert cli("run", "--rm", "--mount", mount, "busybox", "ls", "/etc").check().lines == own


# --- images


@pytest.fixture
def layered(shared_engine: Engine) -> Iterator[str]:
    """An image of two layers, with a link that leads out of it."""
    docker = shared_engine.docker
    script = "mkdir -p /files/sub; echo told > /files/sub/f; ln -s / /files/root; rm /etc/passwd"
    docker("run", "--name", "made", "busybox", "sh", "-c", script).check()
    docker("commit", "made", "layered").check()
    docker("rm", "made").check()
    yield "layered"
    docker("rmi", "-f", "layered")


def test_an_image_is_mounted_as_it_is(shared_engine: Engine, layered: str) -> None:
    docker = shared_engine.docker
    mount = f"type=image,source={layered},target=/i"
    script = "cat /i/files/sub/f; ls /i/etc/passwd; touch /i/x; ls -d /i/bin"
    said = docker("run", "--rm", "--mount", mount, "busybox", "sh", "-c", script)
    assert said.out == "told\n/i/bin\n"
    assert "Read-only file system" in said.err
    assert "No such file" in said.err
    mount = "type=image,source=busybox,target=/i"
    assert docker("run", "--rm", "--mount", mount, "busybox", "ls", "-d", "/i/bin").check().out == "/i/bin\n"


def test_a_part_of_an_image(shared_engine: Engine, layered: str) -> None:
    docker = shared_engine.docker

    def part(path: str) -> str:
        return f"type=image,source={layered},target=/i,image-subpath={path}"

    assert docker("run", "--rm", "--mount", part("files/sub"), "busybox", "cat", "/i/f").check().out == "told\n"
    # What it takes for the root is the image's, not the host's.
    said = docker("run", "--rm", "--mount", part("files/root/files"), "busybox", "ls", "/i").check()
    assert said.lines == ["root", "sub"]
    refused = docker("run", "--rm", "--mount", part("none"), "busybox", "true")
    assert refused.code != 0
    assert "no such file or directory" in refused.err
    out = docker("run", "--rm", "--mount", part("../x"), "busybox", "true")
    assert "invalid subpath" in out.err or "subpath" in out.err


def test_an_image_that_is_mounted_is_in_use_and_nothing_is_left(shared_engine: Engine, layered: str) -> None:
    docker = shared_engine.docker
    before = shared_engine.footprint()
    mount = f"type=image,source={layered},target=/i"
    id = docker("run", "-d", "--mount", mount, "busybox", "sleep", "1000").check().out.strip()
    try:
        assert not [point for point in shared_engine.footprint().mounts if point not in before.mounts]
        refused = docker("rmi", "-f", layered)
        assert "image is being used by running container" in refused.err
        told = shared_engine.inspect(id)["Mounts"]
        assert [(one["Type"], one["Name"], one["RW"]) for one in told] == [("image", layered, False)]
        docker("restart", "-t", "0", id).check()
        assert docker("exec", id, "cat", "/i/files/sub/f").check().out == "told\n"
    finally:
        docker("rm", "-f", id)
    mounts = [{"Type": "image", "Source": "no/such", "Target": "/i"}]
    unknown = shared_engine.api(
        "POST", "/containers/create", {"Image": "busybox", "HostConfig": {"Mounts": mounts}}
    )  # fmt: skip
    assert unknown.status == 404
    assert unknown.json == {"message": "No such image: no/such:latest"}
