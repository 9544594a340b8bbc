"""Layers that are files: mounted once for all containers, unseen by the host, and gone with the last who needs them."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import images
from tests.support.disk import ext4, shelved
from tests.support.engine import Engine
from tests.support.process import wait_until

pytestmark = [pytest.mark.root, pytest.mark.network]

@pytest.fixture
def stacked(workspace: Path, tmp_path: Path) -> Path:
    """An archive of an image of four layers, ``stacked``."""
    root = images.busybox_root(tmp_path / "root")
    lowest = images.layer_of(root)
    shutil.rmtree(root)
    above = [
        {"data": None, "data/kept": b"kept\n", "data/gone": b"gone\n", "data/changed": b"below\n"},
        {"data/.wh.gone": b"", "data/changed": b"above\n"},
        {"other": None, "other/file": b"other\n"},
    ]
    return images.docker_archive(tmp_path / "stacked.tar", "stacked", [lowest, *map(images.layer, above)])


@pytest.fixture
def erofs(workspace: Path, stacked: Path) -> Iterator[Engine]:
    """An engine whose layers are files, with the image. When it is gone, nothing of them is mounted anywhere."""
    with ext4(Path(tempfile.mkdtemp(dir=workspace))) as disk:
        made = Engine(disk / "root")
        made.root.mkdir()
        try:
            if made.start().api("GET", "/info").json["Driver"] != "erofs":
                pytest.skip("this kernel or file system has no layers that are files")
            made.load(stacked)
            yield made
        finally:
            made.remove()
    made.keep_contract()


def test_they_are_mounted_once_for_all_containers(erofs: Engine) -> None:
    wait_until(lambda: shelved(erofs) == 4, "the layers to be mounted when they have come")
    for name in ("one", "two", "three"):
        erofs.cli("run", "-d", "--name", name, "stacked", "sleep", "100000").check()
        assert erofs.cli("exec", name, "cat", "/data/changed", "/other/file").check().out == "above\nother\n"
    assert shelved(erofs) == 4
    assert " - erofs " not in Path("/proc/self/mountinfo").read_text()
    erofs.cli("rm", "-f", "one", "two", "three").check()
    erofs.cli("rmi", "stacked").check()
    wait_until(lambda: shelved(erofs) == 0, "the layers to be gone with their image")
    assert list((erofs.root / "layers").iterdir()) == []


def test_whoever_looks_at_a_container_sees_the_same(erofs: Engine, tmp_path: Path) -> None:
    cli = erofs.cli
    cli("create", "--name", "looked-at", "stacked", "sh", "-c", "echo new > /data/new; rm /data/kept").check()
    cli("cp", "looked-at:/data/changed", str(tmp_path / "out")).check()
    assert (tmp_path / "out").read_text() == "above\n"
    cli("start", "-a", "looked-at").check()
    assert set(cli("diff", "looked-at").check().lines) == {"C /data", "A /data/new", "D /data/kept"}
    erofs.docker("commit", "looked-at", "committed").check()
    shown = cli("run", "--rm", "committed", "sh", "-c", "cd data; ls; cat new").check()
    assert shown.lines == ["changed", "new", "new"]
    cli("run", "--rm", "-v", "filled:/data", "stacked", "ls", "/data").check()
    assert cli("run", "--rm", "-v", "filled:/x", "stacked", "ls", "/x").check().lines == ["changed", "kept"]
    mount = "type=image,source=stacked,target=/image"
    assert cli("run", "--rm", "--mount", mount, "stacked", "ls", "/image/data").check().lines == ["changed", "kept"]
    assert " - erofs " not in Path("/proc/self/mountinfo").read_text()


def test_where_they_are_is_told(erofs: Engine) -> None:
    erofs.cli("create", "--name", "told", "stacked").check()
    for driver in (erofs.inspect("told")["GraphDriver"], erofs.api("GET", "/images/stacked/json").json["GraphDriver"]):
        assert driver["Name"] == "erofs"
        assert all(Path(path).is_file() for path in driver["Data"]["LowerDir"].split(":"))
    plan = erofs.api("GET", "/containers/told/json").json
    assert plan["Driver"] == "erofs"


def test_nothing_stays_mounted_when_engine_and_spawner_are_killed(erofs: Engine) -> None:
    cli = erofs.cli
    cli("run", "-d", "--name", "lasting", "stacked", "sleep", "100000").check()
    spawner = erofs.spawner
    os.kill(spawner, signal.SIGKILL)
    erofs.kill()
    erofs.start()
    assert cli("exec", "lasting", "cat", "/data/changed").check().out == "above\n"
    assert cli("run", "--rm", "stacked", "cat", "/data/changed").check().out == "above\n"
    cli("rm", "-f", "lasting").check()
    cli("rmi", "stacked").check()
    wait_until(lambda: shelved(erofs) == 0, "nothing to be left of the layers")


def test_a_spawner_that_died_is_replaced_with_its_shelf(erofs: Engine) -> None:
    erofs.cli("run", "--rm", "stacked", "true").check()
    dead = erofs.spawner
    os.kill(dead, signal.SIGKILL)
    wait_until(lambda: erofs.has_another_spawner(dead), "another spawner")
    assert erofs.cli("run", "--rm", "stacked", "cat", "/data/changed").check().out == "above\n"


def test_layers_of_an_earlier_form_go_on(erofs: Engine, busybox_archive: Path) -> None:
    """A data root may have layers of several forms, and an engine may be told which new ones get."""
    erofs.stop()
    erofs.start("--snapshotter", "overlay")
    assert erofs.api("GET", "/info").json["Driver"] == "overlay2"
    erofs.load(busybox_archive)
    assert erofs.cli("run", "--rm", "busybox", "echo", "directory").check().out == "directory\n"
    assert erofs.cli("run", "--rm", "stacked", "cat", "/data/changed").check().out == "above\n"
    erofs.cli("run", "--name", "mixed", "stacked", "touch", "/added").check()
    erofs.docker("commit", "mixed", "mixed").check()
    assert erofs.cli("run", "--rm", "mixed", "cat", "/added", "/data/changed").check().out == "above\n"
    assert erofs.cli("diff", "mixed").check().lines == ["A /added"]
    erofs.restart()
    assert erofs.cli("run", "--rm", "mixed", "ls", "/added").check().lines == ["/added"]
