"""The linters are tests: ruff over everything, mypy --strict over what pyproject.toml names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    "tool",
    [
        ("ruff", "check", "src", "tests", "bench", "scripts"),
        ("mypy",),
    ],
    ids=lambda tool: str(tool[0]),
)
def test_it_finds_nothing(tool: tuple[str, ...]) -> None:
    done = subprocess.run([sys.executable, "-m", *tool], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
