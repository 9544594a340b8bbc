"""The tests' own tools, tried on real things."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.support import images
from tests.support.command import run
from tests.support.dockerd import Dockerd
from tests.support.process import NotReady, descendants, state, wait_until
from tests.support.registry import Registry
from tests.support.terminal import Terminal


def test_a_result_keeps_bytes_that_are_not_utf8() -> None:
    result = run(["printf", r"\377x"])
    assert result.check().raw == b"\xffx"


def test_waiting_ends_when_the_process_does() -> None:
    child = subprocess.Popen(["true"])
    with pytest.raises(NotReady, match="ended before"):
        wait_until(lambda: False, "never", pid=child.pid)
    child.wait()
    assert state(child.pid) == "X"


def test_descendants_are_found_at_any_depth() -> None:
    with subprocess.Popen(["sh", "-c", "sh -c 'read x; true'; true"], stdin=subprocess.PIPE) as child:
        wait_until(lambda: len(descendants(child.pid)) == 1, "a grandchild")
        assert descendants(child.pid) < descendants(os.getpid())


def test_the_terminal_is_a_controlling_one() -> None:
    program = "import os; os.close(os.open('/dev/tty', os.O_RDWR)); print(*os.get_terminal_size())"
    with Terminal([sys.executable, "-c", program], env=dict(os.environ), rows=33, columns=99) as terminal:
        terminal.expect("99 33")
        assert terminal.wait() == 0
        assert terminal.restored


def test_the_archive_has_the_applets(busybox_archive: Path) -> None:
    with tarfile.open(busybox_archive) as archive:
        [entry] = json.load(archive.extractfile("manifest.json"))  # type: ignore[arg-type]
        assert entry["RepoTags"] == ["busybox:latest"]
        with tarfile.open(fileobj=archive.extractfile(entry["Layers"][0])) as layer:
            assert layer.getmember("bin/sh").linkname == "busybox"


@pytest.mark.registry
def test_an_image_put_by_hand_is_there(registry: Registry) -> None:
    pushed = registry.put_image("support", [images.layer({"hello": b"world"})])
    assert registry.blob_path(pushed["digest"]).exists()


@pytest.mark.dockerd
def test_dockerd_runs_a_container_of_our_archive(dockerd: Dockerd) -> None:
    result = dockerd.docker("run", "--rm", "busybox", "id", "-u", "alice")
    assert (result.code, result.out) == (0, "1000\n")
