"""Builds that come to the same step at the same time: one of them makes it, and the others have it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import contexts
from tests.support.engine import Engine
from tests.support.process import wait_until

pytestmark = [pytest.mark.root, pytest.mark.network]

STEP = "RUN --mount=type=cache,id={0},target=/m echo ran >> /m/ran; echo begun; until [ -e /m/go ]; do sleep 0.05; done"
CLASSIC = {"DOCKER_BUILDKIT": "0"}
KINDS = ("corten", "classic")


def context(where: Path, id: str) -> Path:
    """A long step, that what is told to another step of the same mount ends; one before it, and one after."""
    dockerfile = f"FROM busybox\nENV A={id}\n{STEP.format(id)}; cat /proc/sys/kernel/random/uuid > /u\nRUN cat /u\n"
    return contexts.directory(where, dockerfile)


class Building:
    """A build under way, whose lines are heard one after the other."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def hears(self, text: str) -> None:
        """Wait for a line that begins so."""
        assert self.process.stdout is not None
        assert any(line.startswith(text) for line in self.process.stdout)

    def ended(self) -> str:
        """What it said after all that was heard, once it has ended well."""
        assert self.process.stdout is not None
        said = self.process.stdout.read()
        assert self.process.wait() == 0, said
        return said


@contextmanager
def building(engine: Engine, kind: str, where: Path, *options: str) -> Iterator[Building]:
    client = engine.cli if kind == "corten" else engine.docker
    command = client.command("build", *options, str(where))
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, env={**client.environment, **CLASSIC}, **pipes) as process:  # type: ignore[call-overload]
        try:
            yield Building(process)
        finally:
            process.kill()


def say_go(engine: Engine, where: Path, id: str) -> int:
    """End what waits; how often the step has been run until then."""
    mount = f"RUN --mount=type=cache,id={id},target=/m"
    where = contexts.directory(where, f"FROM busybox\n{mount} echo times $(wc -l < /m/ran); touch /m/go\n")
    said = engine.cli("build", "--no-cache", str(where)).check().err
    return next(int(line.split()[1]) for line in said.splitlines() if line.startswith("times "))


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_is_made_once(shared_engine: Engine, tmp_path: Path, kind: str) -> None:
    where, id = context(tmp_path / "c", f"once-{kind}"), f"once-{kind}"
    with (
        building(shared_engine, kind, where, "-t", "first") as first,
        building(shared_engine, kind, where, "-t", "second") as second,
    ):
        first.hears("Step 3/4")
        second.hears("Step 3/4")
        wait_until(lambda: _ran(shared_engine, id) > 0, "the step to begin")
        assert say_go(shared_engine, tmp_path / "go", id) == 1
        said = first.ended() + second.ended()
    assert said.count("\nbegun\n") <= 1
    assert said.count("Using cache") >= 1
    assert _ran(shared_engine, id) == 1
    ids = {shared_engine.api("GET", f"/images/{name}/json").check().json["Id"] for name in ("first", "second")}
    assert len(ids) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_who_is_gone_is_not_waited_for(shared_engine: Engine, tmp_path: Path, kind: str) -> None:
    where, id = context(tmp_path / "c", f"gone-{kind}"), f"gone-{kind}"
    with building(shared_engine, kind, where) as first:
        first.hears("begun")
        with building(shared_engine, kind, where) as second:
            second.hears("Step 3/4")
            first.process.kill()
            second.hears("begun")
            assert say_go(shared_engine, tmp_path / "go", id) == 2
            second.ended()


def test_what_is_to_be_made_anew_waits_for_nobody(shared_engine: Engine, tmp_path: Path) -> None:
    where = context(tmp_path / "c", "anew")
    with (
        building(shared_engine, "corten", where) as first,
        building(shared_engine, "corten", where, "--no-cache") as second,
    ):
        first.hears("begun")
        second.hears("begun")
        assert say_go(shared_engine, tmp_path / "go", "anew") == 2
        first.ended()
        second.ended()


def _ran(engine: Engine, id: str) -> int:
    """How often the step has been run."""
    import hashlib

    path = engine.root / "build-mounts" / hashlib.sha256(id.encode()).hexdigest()[:32] / "ran"
    return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.mark.parametrize(("kind", "count"), [("corten", 1_000), ("classic", 300)])
def test_a_long_dockerfile_keeps_nobody_waiting(shared_engine: Engine, tmp_path: Path, kind: str, count: int) -> None:
    lines = "".join(f"LABEL l{number}={kind}\n" for number in range(count))
    where = contexts.directory(tmp_path, f"FROM scratch\n{lines}")
    with building(shared_engine, kind, where, "-t", "long") as build:
        build.hears("Step 20/")
        assert shared_engine.api("GET", "/images/long/json").status == 404  # others have their turn in between
        build.ended()
    labels = shared_engine.api("GET", "/images/long/json").check().json["Config"]["Labels"]
    assert labels == {f"l{number}": kind for number in range(count)}
    shared_engine.docker("rmi", "long").check()
