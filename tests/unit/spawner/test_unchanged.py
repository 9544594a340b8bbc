"""What overlay has copied up, and no command has changed, is told from what one has."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from corten.spawner import trees

TIME = 1_600_000_000 * 10**9


@pytest.fixture
def overlay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An upper directory with a copy of ``d/f``, which the lower one of two layers has."""
    monkeypatch.chdir(tmp_path)
    for top in ("upper", "high", "low"):
        (tmp_path / top).mkdir()
    for top in ("low", "upper"):
        write(tmp_path / top / "d/f", "content")
    return tmp_path


def write(path: Path, content: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    for one in (path, path.parent):
        os.utime(one, ns=(TIME, TIME))


def unchanged(path: str = "/d/f") -> bool:
    return trees.is_unchanged("upper", ["high", "low"], path)


def hide(path: Path) -> None:
    os.mknod(path, stat.S_IFCHR, 0)


def test_a_copy_is_unchanged(overlay: Path) -> None:
    assert unchanged()
    assert unchanged("/d")


@pytest.mark.parametrize("change", [
    lambda file: file.write_text("another"),
    lambda file: (file.write_text("Content"), os.utime(file, ns=(TIME, TIME))),
    lambda file: os.utime(file, ns=(TIME, TIME + 1)),
    lambda file: file.chmod(0o600),
    lambda file: os.link(file, file.with_name("g")),
    lambda file: (file.unlink(), file.symlink_to("x")),
])  # fmt: skip
def test_what_a_command_did_is_a_change(overlay: Path, change: Callable[[Path], object]) -> None:
    change(overlay / "upper/d/f")
    assert not unchanged()


def test_what_is_hidden_below_is_no_reason_to_leave_it_out(overlay: Path) -> None:
    (overlay / "high/d").mkdir()
    assert unchanged()
    os.setxattr(overlay / "high/d", "user.overlay.opaque", b"y")
    assert not unchanged()
    (overlay / "high/d").rmdir()
    hide(overlay / "high/d")
    assert not unchanged()
    (overlay / "high/d").unlink()
    (overlay / "high/d").mkdir()
    hide(overlay / "high/d/f")
    assert not unchanged()


def test_the_highest_layer_is_compared_with(overlay: Path) -> None:
    write(overlay / "high/d/f", "Content")
    assert not unchanged()
    write(overlay / "upper/d/f", "Content")
    assert unchanged()


def test_a_directory_of_another_time_or_that_hides_what_was_there(overlay: Path) -> None:
    os.setxattr(overlay / "upper/d", "user.overlay.opaque", b"y")
    assert not unchanged("/d")
    os.removexattr(overlay / "upper/d", "user.overlay.opaque")
    os.utime(overlay / "upper/d", ns=(TIME, TIME + 1))
    assert not unchanged("/d")
