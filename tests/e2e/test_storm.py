"""kill -9 of engine, spawner and monitors at random moments of whatever is going on: nothing hangs, nothing is left,
and what is told is true.

The moments are drawn from a seed, yet no two runs meet the same ones: what must hold, must hold at every moment.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.engine import Engine
from tests.support.process import NotReady, descendants, state, wait_until
from tests.support.standby import awaited

pytestmark = [pytest.mark.root, pytest.mark.network]
ROUNDS = 7
LONGEST = 0.15
"""Seconds after which at the latest somebody is killed."""
PATIENCE = 30


class Storm:
    """Commands that run, and somebody who is killed meanwhile."""

    def __init__(self, engine: Engine, seed: int) -> None:
        self.engine = engine
        self.before = engine.footprint()
        self.chance = random.Random(seed)
        self.commands: list[subprocess.Popen[bytes]] = []

    def begin(self) -> None:
        """Start a few commands; those that need a container have one."""
        for number in range(self.chance.randint(1, 4)):
            name = f"c{number}"
            what = self.chance.choice(("run", "detached", "create", "exec", "stop", "restart", "rm"))
            if what in ("exec", "stop", "restart", "rm"):
                self.engine.cli("run", "-d", "--name", name, "-v", "/data", "busybox", "sleep", "1000").check()
            self._start(*self._words(what, name))

    def _words(self, what: str, name: str) -> tuple[str, ...]:
        return {
            "run": ("run", "--rm", "busybox", "sh", "-c", "echo hi; exit 3"),
            "detached": ("run", "-d", "--name", name, "busybox", "sleep", "1000"),
            "create": ("create", "--name", name, "-v", "/data", "busybox", "sleep", "1000"),
            "exec": ("exec", name, "sh", "-c", "sleep 0.05; exit 5"),
            "stop": ("stop", "-t", "0", name),
            "restart": ("restart", "-t", "0", name),
            "rm": ("rm", "-fv", name),
        }[what]  # fmt: skip

    def _start(self, *words: str) -> None:
        self.commands.append(
            subprocess.Popen(
                self.engine.cli.command(*words), env=self.engine.environment(), stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            )
        )  # fmt: skip

    def strike(self) -> None:
        """Kill one or two of them; an engine comes again."""
        time.sleep(self.chance.uniform(0, LONGEST))
        victims = self.chance.sample(("engine", "spawner", "monitor"), self.chance.choice((1, 1, 1, 2)))
        for victim in victims:
            if victim == "engine":
                self.engine.kill()
                continue
            found = self._named(b"corten-spawner" if victim == "spawner" else b"corten-monitor")
            if found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.chance.choice(found), signal.SIGKILL)
        if "engine" in victims:
            self.engine.start()

    def finish(self) -> None:
        """Every command ends, with or without success, and says why in a sentence."""
        for command in self.commands:
            _, said = command.communicate(timeout=PATIENCE)
            assert b"Traceback" not in said
        self.commands.clear()

    def close(self) -> None:
        """Whatever happened, no command is left."""
        for command in self.commands:
            command.kill()
            command.wait()

    # --- what must hold

    def is_true(self) -> bool:
        """Whether what is said to run runs, and of what does not run nothing is there."""
        return all(self._is_true(one["Id"]) for one in self.engine.api("GET", "/containers/json?all=1").check().json)

    def _is_true(self, id: str) -> bool:
        told = self.engine.inspect(id)["State"]
        if told["Running"]:
            return told["Status"] == "running" and state(told["Pid"]) not in "ZX"
        if told["Status"] == "created" and id in awaited(self.engine):
            return True
        groups = Path("/sys/fs/cgroup").glob(f"*/{self.engine.names.cgroup}/{id}/cgroup.procs")
        return not any(procs.read_text().split() for procs in groups)

    def remove_all(self) -> None:
        """Each container that is listed can be removed."""
        for one in self.engine.api("GET", "/containers/json?all=1").check().json:
            answer = self.engine.api("DELETE", f"/containers/{one['Id']}?force=1&v=1", timeout=PATIENCE)
            assert answer.status in (204, 404), answer.body

    def _named(self, name: bytes) -> list[int]:
        """Processes of this engine by their name, also when they are orphans: their working directory is its root."""
        found = []
        for pid in sorted(descendants(os.getpid())):
            with contextlib.suppress(OSError):
                is_ours = os.readlink(f"/proc/{pid}/cwd").startswith(str(self.engine.root))
                if is_ours and Path(f"/proc/{pid}/comm").read_bytes().startswith(name):
                    found.append(pid)
        return found

    def leavings(self) -> list[str]:
        """What is there beside an engine, its spawner, and the image; other servers of the session are no matter."""
        engine = self.engine
        now = engine.footprint()
        own = (f"{engine.pid} ", *(f"{pid} " for pid in self._named(b"corten-spawner")[:1]))
        found = [one for one in now.processes - self.before.processes if not one.startswith(own)]
        found += [str(group) for group in now.cgroups if Path(group).name not in ("engine", "spawner")]
        found += [*now.mounts, *now.links, *(set(os.listdir(engine.root / "containers")) - awaited(engine))]
        return found + [volume["Name"] for volume in engine.api("GET", "/volumes").check().json["Volumes"] or []]


@pytest.fixture
def storm(request: pytest.FixtureRequest, engine: Engine, busybox: str) -> Iterator[Storm]:
    made = Storm(engine, request.param)
    try:
        yield made
    finally:
        made.close()


@pytest.mark.parametrize("storm", [3, 14], indirect=True)
def test_whatever_is_killed_the_next_command_finds_order(storm: Storm) -> None:
    for _ in range(ROUNDS):
        storm.begin()
        storm.strike()
        storm.finish()
        wait_until(storm.is_true, "an engine that tells what is so", seconds=PATIENCE)
        storm.remove_all()
        try:
            wait_until(lambda: not storm.leavings(), "the end of everything", seconds=PATIENCE)
        except NotReady:
            assert storm.leavings() == []
    assert "internal error" not in storm.engine.said()
    assert "a task of the engine failed" not in storm.engine.said()
