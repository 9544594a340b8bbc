"""The limits of cgroup v2 on a kernel that has them: ``test_limits.py`` and ``test_delegated.py`` run in there."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.vm import machine


@pytest.mark.timeout(1000)
@pytest.mark.skipif(bool(machine.problem()), reason=machine.problem())
def test_the_limits_hold_in_the_machine() -> None:
    command = [sys.executable, "-m", "tests.vm"]
    done = subprocess.run(command, cwd=machine.PROJECT, capture_output=True, text=True)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
    assert " skipped" not in done.stdout
