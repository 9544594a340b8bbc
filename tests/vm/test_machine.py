"""The limits of cgroup v2, tried on a kernel that has them: see ``test_limits.py``, which runs in there."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.vm import machine


@pytest.mark.timeout(1000)
@pytest.mark.skipif(bool(machine.problem()), reason=machine.problem())
def test_the_limits_hold_in_the_machine() -> None:
    command = [sys.executable, "-m", "tests.vm", "tests/vm/test_limits.py"]
    done = subprocess.run(command, cwd=machine.PROJECT, capture_output=True, text=True)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
    assert " skipped" not in done.stdout
