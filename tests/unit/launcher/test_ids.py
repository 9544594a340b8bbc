"""Which ids a user may map: from files that anybody may have edited badly."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from corten.launcher.ids import Ids, of_user

OWN = os.geteuid()
NAME = pwd.getpwuid(OWN).pw_name


def ids(tmp_path: Path, subuid: str, subgid: str, *, helpers: tuple[str, ...] = ("newuidmap", "newgidmap")) -> Ids:
    (tmp_path / "subuid").write_text(subuid)
    (tmp_path / "subgid").write_text(subgid)
    for name in helpers:
        (tmp_path / name).touch(mode=0o755)
    return of_user(str(tmp_path / "subuid"), str(tmp_path / "subgid"), [str(tmp_path)])


def test_granted_ranges_follow_the_user_itself(tmp_path: Path) -> None:
    found = ids(tmp_path, f"other:1:5\n{NAME}:100000:65536\n{OWN}:300000:10\n", f"{NAME}:200000:1000\n")
    assert found.uids == ((0, OWN, 1), (1, 100000, 65536), (65537, 300000, 10))
    assert found.gids == ((0, os.getegid(), 1), (1, 200000, 1000))
    assert found.helpers is not None
    assert found.helpers.uids == str(tmp_path / "newuidmap")


def test_without_helpers_there_is_one_id(tmp_path: Path) -> None:
    found = ids(tmp_path, f"{NAME}:100000:65536\n", f"{NAME}:100000:65536\n", helpers=("newuidmap",))
    assert (found.uids, found.gids, found.helpers) == (((0, OWN, 1),), ((0, os.getegid(), 1),), None)
    assert "newgidmap" in found.why


def test_both_files_must_grant(tmp_path: Path) -> None:
    found = ids(tmp_path, f"{NAME}:100000:65536\n", "other:100000:65536\n")
    assert found.helpers is None
    assert "subgid" in found.why
    assert "subuid" not in found.why.split(";")[0]


def test_lines_that_are_none_are_passed_over(tmp_path: Path) -> None:
    rubbish = f"{NAME}:-5:3\n{NAME}:1:0\n{NAME}:4294967295:9\n{NAME}:x:y\n{NAME}:٣:3\n\n{NAME}\n"
    assert ids(tmp_path, rubbish, f"{NAME}:1:1\n").helpers is None


def test_no_map_has_more_ranges_than_the_kernel_takes(tmp_path: Path) -> None:
    many = "".join(f"{NAME}:{100000 + 10 * number}:5\n" for number in range(1000))
    assert len(ids(tmp_path, many, many).uids) <= 340
