"""dockerode, the library as it comes from npm: attach, exec, logs and events as streams."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.engine import Engine

pytestmark = [pytest.mark.root, pytest.mark.network]

_PROGRAM = Path(__file__).with_name("dockerode.js")
_PACKAGE = "dockerode@4.0.9"


@pytest.fixture(scope="module")
def library(workspace: Path) -> Path:
    """The directory of installed packages. Skips where node is not, or npm's registry does not answer."""
    if missing := [tool for tool in ("node", "npm") if not shutil.which(tool)]:
        pytest.skip(f"not installed: {' '.join(missing)}")
    place = workspace / "dockerode"
    place.mkdir()
    argv = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(place), _PACKAGE]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=110)
    if done.returncode:
        pytest.skip(f"npm does not bring {_PACKAGE}: {done.stderr.strip()[-200:]}")
    return place / "node_modules"


@pytest.fixture(scope="module")
def told(shared_engine: Engine, library: Path) -> dict[str, Any]:
    """What the program saw."""
    env = {**shared_engine.environment(), "NODE_PATH": str(library)}
    argv = ["node", str(_PROGRAM), str(shared_engine.door)]
    done = subprocess.run(argv, capture_output=True, text=True, env=env, timeout=60)
    assert done.returncode == 0, done.stderr
    value: dict[str, Any] = json.loads(done.stdout)
    return value


def test_attach(told: dict[str, Any]) -> None:
    assert told["attach"] == {"out": "into it\n", "err": "err\n", "code": 0}


def test_exec(told: dict[str, Any]) -> None:
    assert told["exec"] == {"out": "line of alice\n", "err": "err\n", "code": 7, "running": False}


def test_logs(told: dict[str, Any]) -> None:
    assert told["logs"] == {"followed": ["one\nthree\n", "two\n"], "last": "three\n"}


def test_events(told: dict[str, Any]) -> None:
    wanted = ["create", "start", "die", "destroy"]
    assert [one for one in told["events"] if one in wanted] == wanted
    assert told["left"] == 0
