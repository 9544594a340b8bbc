"""``kill -9`` of the engine when a build has said so many lines as a seed chooses: no half image, nothing left, and the
next build goes on from the cache."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from tests.support import contexts
from tests.support.engine import Engine
from tests.support.process import wait_until

pytestmark = [pytest.mark.root, pytest.mark.network]

ROUNDS, LINES = 6, 22
DOCKERFILE = """\
FROM busybox AS one
RUN echo 1 > /one
RUN echo 2 > /two
FROM busybox
WORKDIR /w
COPY . /c
RUN --mount=type=cache,target=/cache echo x > /cache/f; cat /c/f > /f
COPY --from=one /one /two /from/
RUN echo last > /last
"""


def _traces(engine: Engine) -> list[str]:
    """What a build leaves while it runs: files in staging, mounts, containers that no record knows."""
    staging = [str(path) for path in (engine.root / "staging").iterdir()]
    return [*staging, *engine.footprint().mounts]


def test_a_build_of_an_engine_that_is_killed(engine: Engine, busybox: str, tmp_path: Path) -> None:
    chance = random.Random(6)
    where = contexts.directory(tmp_path, DOCKERFILE, {"f": "content"})
    command = engine.cli.command("build", "-t", "made", str(where))
    for number in range(ROUNDS):
        (where / "f").write_text(f"content {number}")
        unbuffered = {**engine.cli.environment, "PYTHONUNBUFFERED": "1"}
        with subprocess.Popen(command, env=unbuffered, stderr=subprocess.PIPE) as client:
            assert client.stderr is not None
            for _ in range(chance.randint(0, LINES)):
                client.stderr.readline()
            engine.kill()
            client.kill()
        engine.start()
        wait_until(lambda: not _traces(engine), "the end of what the build had made")
        for image in engine.api("GET", "/images/json").check().json:
            engine.docker("run", "--rm", image["Id"], "true").check()
        assert engine.api("GET", "/containers/json?all=1").json == []
    said = engine.cli("build", "-t", "made", str(where), timeout=110).check()
    assert " ---> Using cache" in said.err
    look = "cat /f /from/one /from/two /last"
    told = engine.docker("run", "--rm", "made", "sh", "-c", look).check().out
    assert told == f"content {ROUNDS - 1}1\n2\nlast\n"
    assert "Traceback" not in engine.said()
