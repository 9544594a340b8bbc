"""``kill -9`` of the engine at moments of builds that a seed chooses, by either protocol: no half image, nothing left,
and the next build goes on from the cache. ``CORTEN_BUILD_KILLS`` is the number of kills."""

from __future__ import annotations

import os
import random
import select
import subprocess
from pathlib import Path

import pytest

from tests.support import contexts
from tests.support.engine import Engine
from tests.support.process import wait_until

pytestmark = [pytest.mark.root, pytest.mark.network]

KILLS = int(os.environ.get("CORTEN_BUILD_KILLS", "6"))
SEED = int(os.environ.get("CORTEN_TEST_SEED", "6"))
LINES, PAUSE = 22, 0.05
SECRET = "hunter2-of-the-killed"
DOCKERFILE = """\
FROM busybox AS one
RUN echo 1 > /one
RUN echo 2 > /two
FROM busybox
WORKDIR /w
COPY . /c
RUN --mount=type=cache,target=/cache --mount=type=secret,id=s echo x > /cache/f; cat /c/f > /f
COPY --from=one /one /two /from/
RUN echo last > /last
"""
KINDS = ("corten", "classic")


def _traces(engine: Engine) -> list[str]:
    """What a build leaves while it runs: files in staging, mounts, containers that no record knows."""
    staging = [str(path) for path in (engine.root / "staging").iterdir()]
    return [*staging, *engine.footprint().mounts]


def _command(engine: Engine, kind: str, where: Path, secret: Path) -> list[str]:
    if kind == "classic":
        return engine.docker.command("build", "-t", "made", str(where))
    return engine.cli.command("build", "-t", "made", "--secret", f"id=s,src={secret}", str(where))


def _killed(engine: Engine, command: list[str], chance: random.Random) -> None:
    """Begin a build, and kill the engine a moment after so many of its lines, or at its end."""
    environment = {**engine.cli.environment, **engine.docker.environment, "DOCKER_BUILDKIT": "0"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as client:
        assert client.stdout is not None
        for _ in range(chance.randint(0, LINES)):
            client.stdout.readline()
        select.select([], [], [], chance.uniform(0, PAUSE))  # the moment itself is what is chosen
        engine.kill()
        client.kill()


def _whole(engine: Engine) -> None:
    """What the engine knows is all there; nothing else is left of the build."""
    wait_until(lambda: not _traces(engine), "the end of what the build had made")
    for image in engine.api("GET", "/images/json?all=1").check().json:
        told = engine.api("GET", f"/images/{image['Id']}/json").check().json
        assert not told["Parent"] or engine.api("GET", f"/images/{told['Parent']}/json").status == 200
    for image in engine.api("GET", "/images/json").check().json:
        engine.cli("run", "--rm", "--network", "none", image["Id"], "true").check()
    assert engine.api("GET", "/containers/json?all=1").json == []
    found = subprocess.run(["grep", "-rl", SECRET, str(engine.root), str(engine.names.run)], capture_output=True)
    assert found.stdout == b""


@pytest.mark.timeout(60 + 10 * KILLS)
def test_a_build_of_an_engine_that_is_killed(engine: Engine, busybox: str, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    where, secret = contexts.directory(tmp_path / "c", DOCKERFILE, {"f": "content"}), tmp_path / "secret"
    secret.write_text(SECRET)
    for number in range(KILLS):
        (where / "f").write_text(f"content {number}")
        _killed(engine, _command(engine, KINDS[number % 2], where, secret), chance)
        engine.start()
        _whole(engine)
    for kind in KINDS:
        command = _command(engine, kind, where, secret)
        done = subprocess.run(
            command, env={**engine.cli.environment, **engine.docker.environment, "DOCKER_BUILDKIT": "0"},
            capture_output=True, text=True, timeout=110,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert " ---> Using cache" in done.stdout + done.stderr
        look = "cat /f /from/one /from/two /last"
        told = engine.docker("run", "--rm", "made", "sh", "-c", look).check().out
        assert told == f"content {KILLS - 1}1\n2\nlast\n"
    _whole(engine)
    assert "Traceback" not in engine.said()
