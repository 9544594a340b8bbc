"""Groups go with those below them; shown on plain directories, which a file keeps as a process keeps a group."""

from __future__ import annotations

import os
from pathlib import Path

from corten.runtime.operations.cgroups import remove_groups

_DEEP = 1500
"""Levels: more than Python calls itself."""


def test_a_group_goes_however_deep_those_below_it_are(tmp_path: Path) -> None:
    top = f"{tmp_path}/g"
    for depth in range(_DEEP):
        os.mkdir(top + "/d" * depth)
    assert remove_groups(top)
    assert not os.path.exists(top)
    assert remove_groups(top)  # there is none


def test_one_with_a_process_stays_and_those_beside_it_go(tmp_path: Path) -> None:
    for name in ("free/below", "busy/below", "other"):
        (tmp_path / "g" / name).mkdir(parents=True)
    (tmp_path / "g/busy/process").touch()
    assert not remove_groups(str(tmp_path / "g"))
    assert os.listdir(tmp_path / "g") == ["busy"]
    assert os.listdir(tmp_path / "g/busy") == ["process"]
