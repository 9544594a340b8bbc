"""What a suite is to the driver: something to fetch once, and to run against a side."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.interop.outcomes import Outcomes


class Unavailable(Exception):
    """A suite cannot be had or built here; the message says why."""


@dataclasses.dataclass(frozen=True, slots=True)
class Visit:
    """A run of a suite: who is asked, where the fetched suite is, and where output goes."""

    environment: Mapping[str, str]
    home: Path
    output: Path
    only: str = ""  # the suite's own notation for some of its tests; '' for all


@dataclasses.dataclass(frozen=True, slots=True)
class Suite:
    """One project's tests. ``fetch`` fills a directory, and may be called again on one that is full."""

    name: str
    what: str
    fetch: Callable[[Path], None]
    run: Callable[[Visit], Outcomes]
    needs_debian: bool = False
    """Whether it wants the images that are made of Debian's packages."""


def call(argv: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """Run a program of the preparation to its end; what it printed. Raises Unavailable."""
    try:
        done = subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise Unavailable(f"{argv[0]} is not installed") from None
    if done.returncode:
        raise Unavailable(f"{' '.join(argv)}: {(done.stderr or done.stdout).strip()[-400:]}")
    return done.stdout


def make_venv(target: Path, *packages: str) -> Path:
    """A virtual environment with packages from PyPI; its Python. Raises Unavailable."""
    python = target / "bin/python"
    if not python.exists():
        call([sys.executable, "-m", "venv", str(target)])
    call([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages])
    return python


def fetch_sdist(target: Path, requirement: str) -> Path:
    """The unpacked source distribution of ``name==version`` from PyPI. Raises Unavailable."""
    name, _, version = requirement.partition("==")
    place = target / f"{name}-{version}"
    if not place.exists():
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", name]
        call([*pip, "--dest", str(target), requirement])
        call(["tar", "-xzf", str(target / f"{place.name}.tar.gz"), "-C", str(target)])
    return place
