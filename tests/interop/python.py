"""Suites that pytest runs."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.interop import outcomes
from tests.interop.outcomes import Outcomes
from tests.interop.suite import Visit

_ONE = 90  # seconds for a test: those that need longer wait for something that does not come


def run_pytest(
    visit: Visit, python: Path, directory: Path, arguments: Sequence[str], own: Mapping[str, str] | None = None
) -> Outcomes:
    """Run pytest in a copy of ``directory``, where tests may leave files; the outcomes of its report, none where it
    wrote none."""
    junit = visit.output.with_suffix(".xml")
    junit.unlink(missing_ok=True)
    argv = [str(python), "-m", "pytest", "-p", "no:cacheprovider", f"--timeout={_ONE}", f"--junitxml={junit}", "-rfE"]
    chosen = ["-k", visit.only] if visit.only else []
    with visit.output.open("wb") as output, tempfile.TemporaryDirectory(prefix="io-") as scratch:
        copy = shutil.copytree(directory, Path(scratch) / "suite")
        subprocess.run(
            [*argv, *arguments, *chosen],
            cwd=copy,
            env={**visit.environment, **(own or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            check=False,
        )
    return outcomes.of_junit(junit) if junit.exists() else {}
