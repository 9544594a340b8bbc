"""``corten-runtime`` with a root of its own, and a bundle of the machine's busybox."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.bundles import Runtime, argv, configure, group_of
from tests.support.command import Result
from tests.support.images import busybox_problem, busybox_root


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle of the machine's busybox."""
    if problem := busybox_problem():
        pytest.skip(problem)
    busybox_root(tmp_path / "rootfs")
    configure(tmp_path, ["sh", "-c", "echo from the bundle; exit 5"])
    return tmp_path


@pytest.fixture
def runtime(bundle: Path) -> Iterator[Runtime]:
    """corten-runtime with a root of its own; what a test leaves is removed."""

    def call(*arguments: str) -> Result:
        """Into files: a created container keeps the streams open, and the end of a pipe would not come."""
        out, err = bundle / "out", bundle / "err"
        with out.open("wb") as stdout, err.open("wb") as stderr:
            done = subprocess.run([*argv(bundle), *arguments], cwd=bundle, stdout=stdout, stderr=stderr, timeout=60)
        return Result(tuple(arguments), done.returncode, out.read_text(), err.read_text())

    yield call
    for one in json.loads(call("list", "-f", "json").out):
        call("delete", "-f", one["id"])
    for controller in Path("/sys/fs/cgroup").iterdir():
        if (group := controller / group_of(bundle)).is_dir():
            group.rmdir()
