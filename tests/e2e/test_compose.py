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


def test_an_application_of_two_services(engine: Engine, busybox: str, tmp_path: Path) -> None:
    if not shutil.which("docker-compose"):
        pytest.skip("not installed: docker-compose")
    if engine.api("POST", "/networks/bridge/connect", {"Container": "none"}).status == 501:
        pytest.skip("a container has one network here: Compose connects it to its own")

    def ask(target: str) -> Any:
        return engine.api("GET", target.replace('"', "%22").replace(" ", "")).check().json

    cli = dataclasses.replace(engine.docker, argv=("docker-compose",))
    Application(tmp_path / "app", cli, ask).run()
