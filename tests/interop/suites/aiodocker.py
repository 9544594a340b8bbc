"""aiodocker's own tests, from its source distribution."""

from __future__ import annotations

from pathlib import Path

from tests.interop.outcomes import Outcomes
from tests.interop.python import run_pytest
from tests.interop.suite import Suite, Visit, fetch_sdist, make_venv

_SDIST = "aiodocker==0.27.0"
_NEEDS = ("pytest==8.4.2", "pytest-asyncio==1.2.0", "pytest-timeout==2.4.0", "testcontainers==4.14.2",
          "packaging==24.2",
          "setuptools-scm==8.1.0", "pytest-cov==6.2.1",
          "async-timeout==5.0.1")  # fmt: skip


def fetch(home: Path) -> None:
    """Its source distribution and what it needs. Raises Unavailable."""
    source = fetch_sdist(home, _SDIST)
    make_venv(home / "venv", *_NEEDS, str(source))


def run(visit: Visit) -> Outcomes:
    """All but swarm's, which start a docker in docker, and SSH's."""
    source = visit.home / _SDIST.replace("==", "-")
    left_out = ("swarm", "services", "nodes", "configs", "secrets", "ssh")
    ignored = [f"--ignore=tests/test_{name}.py" for name in left_out]
    own = {"TESTCONTAINERS_RYUK_DISABLED": "true"}
    return run_pytest(visit, visit.home / "venv/bin/python", source, ["tests", *ignored], own)


SUITE = Suite("aiodocker", "aiodocker's tests", fetch, run, needs_debian=True)
