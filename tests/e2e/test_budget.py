"""What a short command imports is most of what it costs: each module is budgeted, by name.

A module that is missing here is not forbidden for ever: it is to be worth a tenth of a millisecond at every start.
"""

from __future__ import annotations

import compileall
import dataclasses
from pathlib import Path

import pytest

from tests.support import contexts
from tests.support.command import Cli, run
from tests.support.engine import PROJECT, Engine

pytestmark = [pytest.mark.root, pytest.mark.network]

EVERY = {
    "__future__", "gc", "corten", "corten.errors",
    "corten.cli", "corten.cli.main", "corten.cli.options",
}  # fmt: skip
REPORT, SLOW = "modules of this command:", "of which were imported:"
TELL = f"""
import os, sys
before, leave = set(sys.modules), os._exit
def told(code):
    names = set(sys.modules) - before
    slow = [name for name in names if name.startswith("corten") and sys.modules[name].__spec__.loader is not None]
    os.write(2, " ".join(["{REPORT}", *names, "{SLOW}", *slow]).encode())
    leave(code)
os._exit = told
sys.argv = sys.argv[1:]
with open(sys.argv[0]) as script:
    exec(compile(script.read(), sys.argv[0], "exec"))
"""
"""Runs the command's script, and tells what it has loaded that the interpreter had not."""
CLIENT = {
    "_json", "_socket",
    "corten.cli.context", "corten.client", "corten.client.address", "corten.client.connection",
    "corten.client.core", "corten.client.jsontext", "corten.client.response", "corten.wire", "corten.wire.http1",
    "corten.wire.responses",
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
    compileall.compile_dir(PROJECT / "src" / "corten", quiet=2)
    return dataclasses.replace(shared_engine.cli, argv=(python, "-c", TELL, script))


def imported(report: str) -> set[str]:
    """The modules that such a command reported."""
    _, told, names = report.rpartition(REPORT)
    assert told, report
    return set(names.partition(SLOW)[0].split())


def slowly(report: str) -> set[str]:
    """Those of the command's own that were not loaded ahead (:func:`corten.cli.preload`)."""
    return set(report.rpartition(SLOW)[2].split())


@pytest.mark.parametrize("command", BUDGETS)
def test_a_command_imports_what_it_needs_and_no_more(cli: Cli, command: str) -> None:
    said = cli(*command.split()).check().err
    assert "corten.cli.main" in imported(said)
    assert imported(said) - BUDGETS[command] == set()


@pytest.mark.parametrize("command", [command for command in BUDGETS if "version" not in command])
def test_what_starts_often_is_loaded_ahead(cli: Cli, command: str) -> None:
    assert slowly(cli(*command.split()).check().err) == {"corten", "corten.cli"}


def test_an_engine_that_is_known_by_its_root_costs_no_openssl(cli: Cli, shared_engine: Engine) -> None:
    environment = {name: text for name, text in cli.environment.items() if name not in ("CORTEN_HOST", "DOCKER_HOST")}
    environment["CORTEN_ROOT"] = str(shared_engine.root)
    found = imported(run(cli.command("ps"), env=environment).check().err)
    assert found & PLACES
    assert found - BUDGETS["ps"] - PLACES == set()


def test_a_build_imports_what_it_needs_and_no_more(cli: Cli, tmp_path: Path) -> None:
    where = contexts.directory(tmp_path, "FROM busybox\nLABEL a=b\n")
    own = {"corten.wire.building", *(f"corten.cli.{name}" for name in ("build", "build_context", "build_progress"))}
    found = imported(cli("build", "-q", str(where)).check().err)
    assert own <= found
    assert found - EVERY - CLIENT - own == set()

    contexts.settled(where)
    cli("build", "-q", str(where)).check()
    again = cli("build", "-q", str(where)).check().err
    assert found - imported(again) == {"_json", "corten.client.jsontext"}  # the answer is text
    assert slowly(again) == {"corten", "corten.cli"}
