"""The floors of the house: who may import whom, as pyproject.toml draws it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
_LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"


def test_no_floor_imports_upwards_or_sideways() -> None:
    done = subprocess.run([sys.executable, "-c", _LINT], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
