"""Where no overlay is to be had, a container has a copy of its image's files, and is a container like any other."""

from __future__ import annotations

import signal
import socket
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import images
from tests.support.command import Result, run
from tests.support.engine import Engine
from tests.support.process import wait_until
from tests.support.user import User

pytestmark = [pytest.mark.root, pytest.mark.network]


@pytest.fixture
def copying(workspace: Path, tmp_path: Path) -> Iterator[Engine]:
    """An engine that mounts no overlay, with an image of three layers, ``stacked``."""
    made = Engine(Path(tempfile.mkdtemp(dir=workspace)), "--snapshotter", "copy")
    above = [
        {"data": None, "data/kept": b"kept\n", "data/gone": b"gone\n", "data/full": None, "data/full/below": b"x"},
        {"data/.wh.gone": b"", "data/full/.wh..wh..opq": b"", "data/full/above": b"y"},
    ]
    try:
        made.start()
        layers = [images.busybox_layer(tmp_path), *map(images.layer, above)]
        made.load(images.docker_archive(tmp_path / "stacked.tar", "stacked", layers))
        yield made
    finally:
        made.remove()
    made.keep_contract()


def test_a_container_of_a_copy_is_one_like_any_other(copying: Engine, tmp_path: Path) -> None:
    cli = copying.cli
    script = "cd /data; ls . full; echo new > new; rm kept; echo more >> /etc/passwd; mv full moved; touch /bin/cat"
    cli("create", "--name", "one", "stacked", "sh", "-c", script).check()
    cli("cp", "one:/data/kept", str(tmp_path / "kept")).check()
    assert (tmp_path / "kept").read_text() == "kept\n"
    assert cli("diff", "one").check().lines == []
    assert cli("start", "-a", "one").check().lines == [".:", "full", "kept", "", "full:", "above"]
    assert set(cli("diff", "one").check().lines) == {
        "C /bin", "C /bin/busybox", "C /data", "A /data/new", "D /data/kept", "D /data/full", "A /data/moved",
        "A /data/moved/above", "C /etc", "C /etc/passwd",
    }  # fmt: skip
    (tmp_path / "put").write_text("put\n")
    cli("cp", str(tmp_path / "put"), "one:/data/put").check()
    cli("export", "-o", str(tmp_path / "out.tar"), "one").check()
    with tarfile.open(tmp_path / "out.tar") as archive:
        names = {name for name in archive.getnames() if name.startswith("data")}
    assert names == {"data", "data/new", "data/put", "data/moved", "data/moved/above"}
    copying.docker("commit", "one", "committed").check()
    assert cli("run", "--rm", "committed", "sh", "-c", "cd /data; ls; cat put").check().lines == [
        "moved", "new", "put", "put",
    ]  # fmt: skip
    assert cli("run", "--rm", "-v", "filled:/data", "stacked", "ls", "/data").check().lines == ["full", "kept"]
    assert cli("run", "--rm", "-v", "filled:/x", "stacked", "ls", "/x").check().lines == ["full", "kept"]
    mount = "type=image,source=stacked,target=/image"
    shown = cli("run", "--rm", "--mount", mount, "stacked", "sh", "-c", "ls /image/data; touch /image/x 2>&1")
    assert shown.lines == ["full", "kept", "touch: /image/x: Read-only file system"]


def test_directories_that_changed_places_are_seen(copying: Engine, tmp_path: Path) -> None:
    """Their files are of the same size and time, as in every image that is made to be the same again."""
    deep = ("", "/deep", "/deep/er")
    files = {f"{name}{below}/f": name.encode() for name in ("a", "b", "kept") for below in deep}
    parents = {name.rpartition("/")[0]: None for name in files}
    layer = images.layer({**dict(sorted(parents.items())), **files})
    copying.load(images.docker_archive(tmp_path / "even.tar", "even", [images.busybox_layer(tmp_path / "base"), layer]))
    script = "mv /a /x; mv /b /a; mv /x /b; mv /b/deep /x; mv /a/deep /b/deep; mv /x /a/deep; mv /kept /x; mv /x /kept"
    copying.cli("run", "--name", "swapped", "even", "sh", "-c", script).check()
    changed = {"C /kept"} | {f"C /{name}{below}" for name in "ab" for below in ("", "/f", "/deep")}
    # The deep ones went away and came back with what was below them.
    assert set(copying.cli("diff", "swapped").check().lines) == changed
    copying.docker("commit", "swapped", "swapped").check()
    shown = copying.cli("run", "--rm", "swapped", "cat", "/a/f", "/a/deep/f", "/a/deep/er/f", "/b/f", "/b/deep/er/f")
    assert shown.check().out == "baaab"
    copying.cli("run", "--name", "further", "even", "sh", "-c", "mv /a /x; mv /b /a; mv /x /b").check()
    assert set(copying.cli("diff", "further").check().lines) == changed - {"C /kept"} | {
        f"C /{name}/deep{below}" for name in "ab" for below in ("/f", "/er", "/er/f")
    }  # fmt: skip


def test_what_is_chosen_and_what_it_takes_are_told(copying: Engine) -> None:
    cli = copying.cli
    assert [line.strip() for line in cli("info").check().lines if "overlay" in line or "Storage Driver" in line] == [
        "Storage Driver: vfs", "overlay: not asked for",
    ]  # fmt: skip
    cli("run", "--name", "large", "stacked", "sh", "-c", "head -c 3000000 /dev/urandom > /large").check()
    sizes = copying.api("GET", "/containers/json?all=1&size=1").json[0]
    assert 3_000_000 <= sizes["SizeRw"] < 3_100_000
    used = copying.api("GET", "/system/df").json
    assert used["LayersSize"] == sizes["SizeRootFs"] - sizes["SizeRw"]
    assert copying.inspect("large")["GraphDriver"] == {"Name": "vfs", "Data": None}
    explained = cli("run", "--explain", "stacked", "true").check().out
    assert "a copy of its image's files" in " ".join(explained.split())
    reclaimed = copying.api("POST", "/containers/prune").check().json["SpaceReclaimed"]
    assert 3_000_000 <= reclaimed < 3_100_000


def test_a_copy_that_was_not_finished_is_made_anew(copying: Engine) -> None:
    cli = copying.cli
    cli("create", "--name", "half", "stacked", "ls", "/data").check()
    home = copying.root / "containers" / copying.inspect("half")["Id"]
    (home / "root/data").mkdir(parents=True)
    (home / "root/data/half").touch()
    assert cli("start", "-a", "half").check().lines == ["full", "kept"]
    copying.restart()
    assert cli("start", "-a", "half").check().lines == ["full", "kept"]


def test_what_overlay_made_goes_on_below_a_copy(copying: Engine) -> None:
    """And the other way round: an engine may be told which form new layers get."""
    cli = copying.cli
    cli("run", "--name", "copied", "stacked", "touch", "/data/mine").check()
    copying.stop()
    copying.start("--snapshotter", "overlay")
    assert cli("diff", "copied").check().lines == ["C /data", "A /data/mine"]
    copying.docker("commit", "copied", "mixed").check()
    assert cli("run", "--rm", "mixed", "ls", "/data").check().lines == ["full", "kept", "mine"]
    assert cli("run", "--name", "again", "mixed", "rm", "-r", "/data/full").check().lines == []
    assert cli("diff", "again").check().lines == ["C /data", "D /data/full"]


def test_a_build_stands_on_copies(copying: Engine, tmp_path: Path) -> None:
    (tmp_path / "context").mkdir()
    (tmp_path / "context/put").write_text("put\n")
    (tmp_path / "context/Dockerfile").write_text(
        "FROM stacked AS first\nRUN rm /data/kept && echo ran > /data/ran\nCOPY put /data/put\n"
        "FROM stacked\nCOPY --from=first /data /taken\nRUN --network=none rm -r /data\n"
    )
    copying.cli("build", "-t", "built", str(tmp_path / "context"), timeout=120).check()
    shown = copying.cli("run", "--rm", "built", "sh", "-c", "cat /taken/*; ls /taken; ls -d /data 2>&1").lines
    assert shown == ["put", "ran", "full", "put", "ran", "ls: /data: No such file or directory"]


def test_where_nothing_else_works_it_is_chosen_and_said(workspace: Path, busybox_archive: Path) -> None:
    """A file system without attributes: there is room for no mark of overlay's."""
    place = Path(tempfile.mkdtemp(dir=workspace))
    run(["mount", "-t", "ramfs", "ramfs", str(place)]).check()
    engine = Engine(place / "root")
    engine.root.mkdir()
    try:
        engine.start().load(busybox_archive)
        told = [line.strip() for line in engine.cli("info").check().lines]
        assert {"Storage Driver: vfs", "overlay: mount an overlay: operation not supported"} <= set(told)
        assert any(line.startswith("EROFS: ") for line in told)
        assert engine.cli("run", "--name", "one", "busybox", "sh", "-c", "rm /bin/ls; echo $?").check().out == "0\n"
        assert engine.cli("diff", "one").check().lines == ["C /bin", "D /bin/ls"]
    finally:
        engine.remove()
        run(["umount", str(place)]).check()


def _listens(place: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(place)) == 0


def test_an_ordinary_user_needs_no_overlay(ordinary_user: User, busybox_archive: Path) -> None:
    place = ordinary_user.home / "copies.sock"
    daemon = ("--root", str(ordinary_user.home / "copies"), "daemon", "--snapshotter", "copy")
    command = ordinary_user.cli.command("-H", f"unix://{place}", *daemon)
    engine = subprocess.Popen(command, env=ordinary_user.environment())
    try:
        wait_until(lambda: _listens(place), "its socket", pid=engine.pid)

        def cli(*words: str, stdin: bytes | None = None) -> Result:
            return ordinary_user.cli("-H", f"unix://{place}", *words, stdin=stdin).check()

        cli("load", stdin=busybox_archive.read_bytes())
        script = "chown 1000:1000 /bin/busybox; mkdir /new; stat -c %u:%g /bin/busybox"
        assert cli("run", "--name", "mine", "--network", "none", "busybox", "sh", "-c", script).out == "1000:1000\n"
        assert set(cli("diff", "mine").lines) == {"C /bin", "C /bin/busybox", "A /new"}
        cli("commit", "mine", "changed")
        shown = cli("run", "--rm", "--network", "none", "changed", "stat", "-c", "%u:%g", "/bin/busybox", "/new")
        assert shown.lines == ["1000:1000", "0:0"]
        cli("rm", "mine")
        cli("rmi", "changed", "busybox")
        wait_until(lambda: not any((ordinary_user.home / "copies/containers").iterdir()), "no container to be left")
    finally:
        engine.send_signal(signal.SIGINT)
        assert engine.wait(20) == 0
