"""The core tests of testcontainers for Python. Its reaper's image comes from a hub alone, so it is turned off here."""

from __future__ import annotations

from pathlib import Path

from tests.interop.outcomes import Outcomes
from tests.interop.python import run_pytest
from tests.interop.suite import Suite, Visit, fetch_sdist, make_venv

_SDIST = "testcontainers==4.14.2"
_NEEDS = ("pytest==8.4.2", "pytest-timeout==2.4.0", "pytest-mock==3.14.0", "requests==2.32.5", "anyio==4.9.0",
          "httpx==0.28.1", "psycopg2-binary==2.9.10", "sqlalchemy==2.0.41", "pymysql==1.1.1",
          "hvac==2.3.0", "bcrypt==4.3.0", "tomli==2.2.1")  # fmt: skip


def fetch(home: Path) -> None:
    """Its source distribution and what it needs. Raises Unavailable."""
    source = fetch_sdist(home, _SDIST)
    make_venv(home / "venv", *_NEEDS, str(source))


def run(visit: Visit) -> Outcomes:
    """The core's tests."""
    source = visit.home / _SDIST.replace("==", "-")
    own = {"TESTCONTAINERS_RYUK_DISABLED": "true"}
    return run_pytest(visit, visit.home / "venv/bin/python", source, ["core/tests"], own)


SUITE = Suite("testcontainers", "testcontainers' core tests (Python)", fetch, run, needs_debian=True)
