"""Debian's docker-compose, as it is: an application of two services with a health check, a network and a volume."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.compose import Application
from tests.support.engine import Engine

pytestmark = [pytest.mark.root, pytest.mark.network]


def _names_problem(engine: Engine) -> str:
    """Why the services cannot find each other by name; '' when they can: a resolver answers in a user's network."""
    if engine.api("POST", "/networks/bridge/connect", {"Container": "none"}).status == 501:
        return "a container has one network here: Compose connects it to its own"
    engine.docker("network", "create", "named").check()
    try:
        shown = engine.docker("run", "--rm", "--network", "named", "busybox", "cat", "/etc/resolv.conf").check().out
    finally:
        engine.docker("network", "rm", "named")
    return "" if "127.0.0.11" in shown else "no resolver answers in a user's network here"


def test_an_application_of_two_services(engine: Engine, busybox: str, tmp_path: Path) -> None:
    if not shutil.which("docker-compose"):
        pytest.skip("not installed: docker-compose")
    if problem := _names_problem(engine):
        pytest.skip(problem)

    def ask(target: str) -> Any:
        return engine.api("GET", target.replace('"', "%22").replace(" ", "")).check().json

    cli = dataclasses.replace(engine.docker, argv=("docker-compose",))
    Application(tmp_path / "app", cli, ask).run()
