"""Trees that a stranger made go, whatever is in them, and nothing else does."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest

from corten.daemon import prepare
from corten.engine.paths import Paths
from corten.sys.removal import remove_tree

_DEEP = 3000
"""Levels: more than Python calls itself, than a process may open, and than a path can name."""


def _deep(top: Path) -> Path:
    top.mkdir(parents=True)
    here = os.open(top, os.O_DIRECTORY)
    for _ in range(_DEEP):
        os.mkdir("d", dir_fd=here)
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here))
        below = os.open("d", os.O_DIRECTORY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    return top


def test_a_tree_is_removed_however_deep_it_is(tmp_path: Path) -> None:
    top, held = _deep(tmp_path / "top"), os.listdir("/proc/self/fd")
    remove_tree(top)
    assert not top.exists()
    assert os.listdir("/proc/self/fd") == held


def test_an_engine_starts_over_what_a_deep_container_left(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="ct-", dir="/tmp") as run:  # sockets' paths are short
        paths = Paths(tmp_path, Path(run))
        _deep(paths.staging / "removed-1")
        prepare(paths)
        assert os.listdir(paths.staging) == []


def test_what_links_show_stays(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("mine")
    top = tmp_path / "top"
    (top / "below").mkdir(parents=True)
    for place in (top, top / "below"):
        (place / "link").symlink_to(kept)
        (place / "dangling").symlink_to("nowhere")
        os.link(kept / "file", place / "hard")
    remove_tree(top)
    assert not top.exists()
    assert (kept / "file").read_text() == "mine"


def test_every_kind_of_file_goes(tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "a/b").mkdir(parents=True)
    os.mkfifo(top / "a/fifo")
    os.mknod(top / "a/socket", stat.S_IFSOCK | 0o600)
    (top / os.fsdecode(b"\xff\xfe")).write_text("no UTF-8")
    (top / "a/b/sealed").mkdir(mode=0o555)
    remove_tree(top)
    assert not top.exists()


def test_a_name_is_taken_from_the_directory_that_is_given(tmp_path: Path) -> None:
    (tmp_path / "top/a").mkdir(parents=True)
    parent = os.open(tmp_path, os.O_DIRECTORY)
    try:
        remove_tree("top", dir_fd=parent)
    finally:
        os.close(parent)
    assert os.listdir(tmp_path) == []


def test_what_is_no_directory_is_left(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to("target")
    (tmp_path / "file").write_text("")
    for name in ("link", "file"):
        with pytest.raises(NotADirectoryError):
            remove_tree(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        remove_tree(tmp_path / "nothing")
    assert sorted(os.listdir(tmp_path)) == ["file", "link", "target"]
