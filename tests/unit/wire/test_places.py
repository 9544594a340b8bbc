"""Where an engine is found, and which directories are not trusted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from corten.errors import AccessDenied
from corten.wire import places


@pytest.fixture
def ordinary(monkeypatch: pytest.MonkeyPatch) -> int:
    """As user 4242, who has no runtime directory."""
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    return 4242


def test_an_ordinary_users_places_are_xdgs(ordinary: int) -> None:
    environment = {"HOME": "/home/u", "XDG_RUNTIME_DIR": "/run/user/1"}
    assert places.standard_root(environment) == "/home/u/.local/share/corten"
    assert places.run_directory("/home/u/.local/share/corten", environment) == "/run/user/1/corten"
    assert places.standard_root({**environment, "XDG_DATA_HOME": "/data"}) == "/data/corten"
    assert places.standard_root({**environment, "XDG_DATA_HOME": "relative"}) == "/home/u/.local/share/corten"


def test_another_root_has_a_run_directory_of_its_own(ordinary: int) -> None:
    environment = {"HOME": "/home/u", "XDG_RUNTIME_DIR": "/run/user/1"}
    found = places.run_directory("/elsewhere", environment)
    assert found == f"/run/user/1/corten-{places.fingerprint('/elsewhere')}"


def test_without_xdg_there_is_a_directory_in_tmp(ordinary: int) -> None:
    assert places.run_directory("/home/u/.local/share/corten", {"HOME": "/home/u"}) == "/tmp/corten-4242/corten"


@pytest.mark.parametrize("kind", ["another's", "a link", "open"])
def test_a_directory_that_may_be_anybodys_is_refused(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run"
    if kind == "a link":
        path.symlink_to(tmp_path)
    else:
        path.mkdir(mode=0o700)
    if kind == "open":
        path.chmod(0o770)
    if kind == "another's":
        monkeypatch.setattr(os, "geteuid", lambda: 4242)
    with pytest.raises(AccessDenied):
        places.make_run_directory(str(path))


def test_a_directory_of_ones_own_is_made_and_taken_again(tmp_path: Path) -> None:
    path = tmp_path / "run"
    places.make_run_directory(str(path))
    places.make_run_directory(str(path))
    assert path.stat().st_mode & 0o777 == 0o700
