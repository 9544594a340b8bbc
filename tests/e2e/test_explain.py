"""``--explain``: what is printed is what is executed, and a shell can do the same."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.support.command import Cli
from tests.support.engine import Engine

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
    kinds = ("uts.hostname", "mount.private", "root.overlay", "mount", "device.nodes", "root.pivot")
    lines = [step["shell"] for step in steps if step["kind"] in kinds]
    root = next(step["what"] for step in steps if step["kind"] == "root.overlay")
    clone = next(step["shell"] for step in steps if step["kind"] == "namespace.clone")
    script = ["set -e", f"ROOT={shlex.quote(root)}"]
    for line in lines:
        script += [_with_directories(line), ""]
    script.append("exec /bin/busybox sh -c 'echo $$; hostname; ls /proc | grep -c ^[0-9]; echo ok > /dev/null'")
    path = tmp_path / "replay"
    path.write_text("\n".join(script))
    command = [*shlex.split(clone), "sh", str(path)]
    environment = {"PATH": os.environ["PATH"] + ":/bin"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    pid, name, processes = done.stdout.split()
    assert (pid, name) == ("1", "replayed")
    assert int(processes) < 5


def _with_directories(line: str) -> str:
    """What a shell must do besides: make the place of a mount, where the runtime makes it unasked."""
    if not line.startswith("mount -t") or '"$ROOT' not in line:
        return line
    place = line[line.index('"$ROOT') :].split()[0]
    return f"mkdir -p {place} && {line}"
