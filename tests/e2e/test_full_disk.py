"""A data root on a full disk: what cannot be done says so and leaves nothing; what ends and goes can still do so."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import images
from tests.support.command import run
from tests.support.engine import Engine
from tests.support.process import wait_until
from tests.support.standby import awaited

pytestmark = [pytest.mark.root, pytest.mark.network]
SIZE = 16
"""MB of the disk: an image of busybox, and some room."""


@pytest.fixture
def small(workspace: Path, busybox_archive: Path) -> Iterator[Engine]:
    """An engine on a small file system of its own, with a container that runs."""
    disk = workspace / "small"
    disk.mkdir()
    run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}m", "tmpfs", str(disk)]).check()
    engine = Engine(disk / "e")
    engine.home, engine.log = workspace / "small-home", workspace / "small.log"
    engine.root.mkdir()
    try:
        engine.start().load(busybox_archive)
        engine.cli("run", "-d", "--name", "runs", "busybox", "sleep", "1000").check()
        yield engine
    finally:
        engine.remove()
        run(["umount", "-l", str(disk)])
        disk.rmdir()


def fill(engine: Engine) -> Path:
    """Take all that is free, to the last block."""
    path = engine.root.parent / "filling"
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    return path


def kept(engine: Engine) -> list[list[str]]:
    """What there is of images and containers, but for those that are to be."""
    places = ("blobs/sha256", "layers", "containers", "volumes")
    there = [set(os.listdir(engine.root / place)) for place in places if (engine.root / place).exists()]
    return [sorted(names - awaited(engine)) for names in there]


def test_what_needs_room_says_so_and_leaves_nothing(small: Engine, tmp_path: Path) -> None:
    archive = images.docker_archive(tmp_path / "big.tar", "big:v1", [images.layer({"f": os.urandom(2 << 20)})])
    before = kept(small)
    filling = fill(small)
    for words in (("load", "-i", str(archive)), ("run", "--rm", "busybox", "true"), ("create", "busybox", "true"),
                  ("import", str(archive), "big:v2"), ("volume", "create", "data"),
                  ("run", "-d", "--name", "more", "-v", "data:/data", "busybox", "true")):  # fmt: skip
        result = small.cli(*words)
        assert result.code != 0, words
        assert "no space left" in result.err or "disk is full" in result.err, result
    wait_until(lambda: kept(small) == before, "as little as before")  # who stood by may be leaving
    assert os.listdir(small.root / "staging") == []
    assert small.cli("exec", "runs", "echo", "inside").out == "inside\n"
    filling.unlink()
    assert small.cli("load", "-i", str(archive)).check().out == "Loaded image: big:v1\n"
    small.cli("run", "--rm", "-v", "data:/data", "busybox", "true").check()


def test_what_ends_and_goes_needs_none(small: Engine) -> None:
    filling = fill(small)
    assert small.cli("kill", "runs").code == 0
    assert small.cli("wait", "runs").out == "137\n"
    assert small.cli("inspect", "-f", "{{.State.Status}}", "runs").out == "exited\n"
    small.cli("rm", "runs").check()
    assert small.cli("ps", "-aq").out == ""
    filling.unlink()
    small.cli("create", "--name", "next", "busybox", "true").check()
    small.restart()
    assert small.cli("ps", "-a", "--format", "{{.Names}}").out == "next\n"
