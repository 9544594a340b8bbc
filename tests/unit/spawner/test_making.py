"""A layer of a build: its archive and its form, from the same bytes."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corten.spawner.making import WORKS
from corten.store.unpack import Request

ROW = ["file", 0o640, 0, 0, 1_600_000_000 * 10**9, 3, 0, "", "", 0, 0, [], 0]
LINK = ["symlink", 0o644, 0, 0, 0, 0, 0, "", "d/f", 0, 0, [], 0]


def compose(tmp_path: Path, form: str, rows: list[Any], *, waits: bool = True) -> tuple[int, dict[str, Any], Path]:
    """The exit status of the work, its answer, and the archive. ``waits``: somebody reads the answer."""
    target = tmp_path / "target"
    if form == "erofs":
        target.touch()
    else:
        target.mkdir()
    request = Request("", str(target), 0, form=form, user_xattrs=True, keep_owners=os.geteuid() == 0)
    reader, writer = os.pipe()
    with contextlib.ExitStack() as opened:
        if waits:
            opened.callback(os.close, reader)
        else:
            os.close(reader)
        files = {name: opened.enter_context((tmp_path / name).open("w+b")) for name in ("archive", "rows", "spool")}
        files["rows"].write(json.dumps(rows).encode())
        files["spool"].write(b"abc")
        for file in files.values():
            file.seek(0)
        arguments = {"layer": dataclasses.asdict(request)}
        status = _forked(lambda: WORKS["compose"](arguments, [writer, *(file.fileno() for file in files.values())]))
        os.close(writer)
        answer = json.loads(os.read(reader, 65536)) if waits else {}
    return status, answer, tmp_path / "archive"


def _forked(work: Callable[[], int]) -> int:
    """A work is a process's whole life: it takes a limit on its memory, and keeps it."""
    if (pid := os.fork()) == 0:
        status = 99
        try:
            status = work()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("form", ["overlay", "erofs"])
def test_archive_and_form_come_of_the_same_rows(tmp_path: Path, form: str) -> None:
    directory = ["directory", 0o755, *ROW[2:5], 0, *ROW[6:]]
    status, answer, archive = compose(tmp_path, form, [["d", directory], ["d/f", ROW], ["l", LINK]])
    assert status == 0
    assert (answer["files"], answer["size"]) == (3, archive.stat().st_size)
    with tarfile.open(archive) as tar:
        assert [(one.name, one.mode) for one in tar] == [("d", 0o755), ("d/f", 0o640), ("l", 0o777)]
    if form == "overlay":
        assert (tmp_path / "target/l").read_bytes() == b"abc"
    else:
        assert archive.read_bytes() in (tmp_path / "target").read_bytes()


def test_what_nobody_waits_for_is_not_gone_on_with(tmp_path: Path) -> None:
    status, _, archive = compose(tmp_path, "overlay", [["f", ROW]], waits=False)
    assert status == 1
    assert archive.stat().st_size == 0
