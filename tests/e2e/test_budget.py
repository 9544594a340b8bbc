"""What a short command imports is most of what it costs: each module is budgeted, by name.

A module that is missing here is not forbidden for ever: it is to be worth a tenth of a millisecond at every start.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest

from tests.support import contexts
from tests.support.command import Cli, run
from tests.support.engine import Engine

pytestmark = [pytest.mark.root, pytest.mark.network]

EVERY = {
    "__future__", "gc", "corten", "corten.errors",
    "corten.cli", "corten.cli.main", "corten.cli.options",
}  # fmt: skip
CLIENT = {
    "_json", "_socket",
    "corten.cli.context", "corten.client", "corten.client.address", "corten.client.connection",
    "corten.client.core", "corten.client.jsontext", "corten.wire", "corten.wire.http1",
}  # fmt: skip
ATTACHED = {"select", "corten.cli.attachment", "corten.cli.signals", "corten.cli.streams", "corten.wire.frames"}
BUDGETS = {
    "--version": EVERY,
    "version": EVERY | CLIENT | {"corten.cli.version"},
    "ps": EVERY | CLIENT | {"corten.cli.ps", "corten.cli.table", "corten.cli.times"},
    "exec SLEEPER true": EVERY | CLIENT | ATTACHED | {"corten.cli.execute", "corten.cli.notation"},
    "run --rm busybox true": EVERY | CLIENT | ATTACHED | {
        "corten.cli.run", "corten.cli.notation", "corten.cli.container_config", "corten.cli.container_options",
    },
}  # fmt: skip
PLACES = {"corten.wire.places", "_sha256", "_sha2"}
"""Where the engine is, when only its data root is known."""


@pytest.fixture(scope="module")
def cli(shared_engine: Engine) -> Cli:
    """A command line that reports what it imports, with a container ``SLEEPER``."""
    shared_engine.cli("run", "-d", "--name", "SLEEPER", "busybox", "sleep", "100000").check()
    python, script = shared_engine.cli.argv
    return dataclasses.replace(shared_engine.cli, argv=(python, "-X", "importtime", script))


def imported(report: str) -> set[str]:
    """The modules that Python's ``-X importtime`` reported."""
    lines = (line for line in report.splitlines() if line.startswith("import time:"))
    return {line.rpartition("|")[2].strip() for line in lines}


def bare(cli: Cli) -> set[str]:
    """What the interpreter imports by itself."""
    return imported(run([sys.executable, "-X", "importtime", "-c", "pass"], env=cli.environment).check().err)


@pytest.mark.parametrize("command", BUDGETS)
def test_a_command_imports_what_it_needs_and_no_more(cli: Cli, command: str) -> None:
    found = imported(cli(*command.split()).check().err)
    assert "corten.cli.main" in found
    assert found - bare(cli) - BUDGETS[command] == set()


def test_an_engine_that_is_known_by_its_root_costs_no_openssl(cli: Cli, shared_engine: Engine) -> None:
    environment = {name: text for name, text in cli.environment.items() if name not in ("CORTEN_HOST", "DOCKER_HOST")}
    environment["CORTEN_ROOT"] = str(shared_engine.root)
    found = imported(run(cli.command("ps"), env=environment).check().err)
    assert found & PLACES
    assert found - bare(cli) - BUDGETS["ps"] - PLACES == set()


def test_a_build_imports_what_it_needs_and_no_more(cli: Cli, tmp_path: Path) -> None:
    where = contexts.directory(tmp_path, "FROM busybox\nLABEL a=b\n")
    own = {"corten.wire.building", *(f"corten.cli.{name}" for name in ("build", "build_context", "build_progress"))}
    found = imported(cli("build", "-q", str(where)).check().err)
    assert own <= found
    assert found - bare(cli) - EVERY - CLIENT - own == set()
