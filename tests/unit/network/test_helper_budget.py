"""The network helper is a fork of the spawner that lives long: what it imports beyond that is budgeted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[3] / "src"
BEYOND = {"resource"}
"""Modules that are not Corten's."""


def test_the_helper_has_little_that_the_spawner_has_not() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(SOURCE)!r}); import corten.spawner.main; before = set(sys.modules); "
        "import corten.network.helper.main; print(*(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    more = set(done.stdout.split())
    allowed = ("corten.network.helper", "corten.network.names", "corten.wire.dns")
    assert {name for name in more if not name.startswith(allowed)} <= BEYOND
