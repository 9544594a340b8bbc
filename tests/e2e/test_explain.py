"""``--explain``: what is printed is what is executed, and a shell can do the same."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.support.command import Cli
from tests.support.engine import Engine
from tests.support.replay import replay

pytestmark = [pytest.mark.root, pytest.mark.network]


def test_it_prints_each_step_and_then_runs(cli: Cli, busybox: str) -> None:
    result = cli("run", "--rm", "--explain", "-m", "64m", busybox, "echo", "executed").check()
    text = result.out + result.err
    for word in ("# Namespaces", "unshare --mount", "memory", "# Network", "ip link add", "pivot_root", "# Privileges"):
        assert word in text
    assert text.index("pivot_root") < text.index("executed\n")


def test_the_list_for_programs_is_the_list_that_is_executed(engine: Engine, cli: Cli, busybox: str) -> None:
    created = cli("create", "--name", "shown", busybox, "true").check().out.strip()
    shown = engine.api("GET", f"/corten/containers/{created}/plan").check().json
    assert all(step["what"] and step["why"] and step["shell"] for step in shown["steps"])
    other = engine.api("POST", f"/containers/{created}/start?plan=sha256:{'0' * 64}")
    assert other.status == 409
    # The refused start gave its address back: the next plan may have another.
    shown = engine.api("GET", f"/corten/containers/{created}/plan").check().json
    engine.api("POST", f"/containers/{created}/start?plan={shown['digest']}").check()
    assert cli("wait", "shown").out.strip() == "0"


def test_json_is_one_document(cli: Cli, busybox: str) -> None:
    result = cli("run", "--rm", "--explain=json", "--network", "none", busybox, "true").check()
    document = json.loads(result.out or result.err)
    assert document["steps"][-1]["kind"] == "process.execute"


def test_a_shell_can_replay_the_file_system(engine: Engine, cli: Cli, busybox: str, tmp_path: Path) -> None:
    """With plain unshare and mount, as far as a working container: its own pids, its own root, its own name."""
    created = cli("create", "--network", "none", "--hostname", "replayed", busybox, "true").check().out.strip()
    steps = engine.api("GET", f"/corten/containers/{created}/plan").check().json["steps"]
    environment = {"PATH": os.environ["PATH"] + ":/bin"}
    pid, name, processes = replay(steps, tmp_path / "replay", environment)
    assert (pid, name) == ("1", "replayed")
    assert processes < 5
