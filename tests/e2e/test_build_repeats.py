"""A build that is asked for again is solved again where anything that it came from may have changed, and only then."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support import contexts
from tests.support.command import Cli
from tests.support.engine import Engine

pytestmark = [pytest.mark.root, pytest.mark.network]

@pytest.fixture
def where(shared_engine: Engine, tmp_path: Path) -> Path:
    """A context on a base of its own, whose files were changed long enough ago."""
    shared_engine.cli("tag", "busybox", "base").check()
    dockerfile = "FROM base AS only\nRUN cat /proc/sys/kernel/random/uuid > /u\nCOPY f /f\n"
    return contexts.settled(contexts.directory(tmp_path / "c", dockerfile, {"f": "a"}))


class Builder:
    """Builds, and says which files of the context were opened for it."""

    def __init__(self, engine: Engine, where: Path, trace: Path) -> None:
        self._engine, self._where, self._trace = engine, where, trace
        self.said = self.id = ""

    def __call__(self, *options: str) -> set[str]:
        trace = ("strace", "-f", "-qq", "-e", "trace=openat,open", "-o", str(self._trace))
        cli = self._engine.cli
        id = self._trace.with_suffix(".id")
        traced = Cli((*trace, *cli.argv), cli.environment)
        self.said = traced("build", "--iidfile", str(id), *options, str(self._where)).check().err
        self.id = id.read_text()
        lines = self._trace.read_text().splitlines()
        opened = (line.split('"')[1] for line in lines if '"' in line and "= -1" not in line)
        return {os.path.basename(path) for path in opened if os.path.dirname(path) == str(self._where)} - {""}


def test_it_is_solved_again_where_something_changed(shared_engine: Engine, where: Path, tmp_path: Path) -> None:
    build = Builder(shared_engine, where, tmp_path / "trace")
    assert build() == {"Dockerfile", "f"}
    assert build() == {"Dockerfile"}
    first, said = build.id, build.said
    assert said.count("Using cache") == 2
    assert build("-t", "named") == set()
    assert (build.id, build.said) == (first, f"{said}Successfully tagged named:latest\n")
    shared_engine.cli("build", "--check", str(where)).check()
    assert build() == set()
    assert shared_engine.api("GET", "/images/named/json").check().json["Id"] == first

    assert "Dockerfile" in build("--label", "a=b")
    assert build.id != first
    assert "Dockerfile" in build("--no-cache")
    second = build.id
    assert second != first
    assert "Dockerfile" in build()
    assert build() == set()
    assert build.id == second

    shared_engine.cli("rmi", "-f", second).check()
    assert "Dockerfile" in build()
    assert build.id == second

    (where / "f").write_text("b")
    assert {"Dockerfile", "f"} <= build()
    assert build.said.count("Using cache") == 1


def test_the_base_and_the_cache_are_looked_at(shared_engine: Engine, where: Path, tmp_path: Path) -> None:
    build = Builder(shared_engine, where, tmp_path / "trace")
    build()
    build()
    assert build() == set()
    other = contexts.directory(tmp_path / "other", "FROM busybox\nRUN echo > /other\n")
    shared_engine.cli("build", "-t", "base", str(other)).check()
    assert "Dockerfile" in build()
    assert "Using cache" not in build.said
    build()
    assert build() == set()
    shared_engine.cli("builder", "prune", "-f").check()
    assert "Dockerfile" in build()
    assert "Using cache" not in build.said


def test_what_may_differ_is_done_every_time(shared_engine: Engine, where: Path, tmp_path: Path) -> None:
    build = Builder(shared_engine, where, tmp_path / "trace")
    build("--no-cache-filter", "only")
    assert "Dockerfile" in build("--no-cache-filter", "only")
    build()
    build()
    (where / "f").chmod(0o600)  # a moment ago: it may be changed again, and look the same
    build()
    assert "Dockerfile" in build()


def test_what_else_a_build_has_is_as_it_was_or_asked_for(shared_engine: Engine, tmp_path: Path) -> None:
    dockerfile = "FROM busybox as only\nCOPY f /f\nCOPY --from=more g /g\n"
    own, more = contexts.directory(tmp_path / "c", dockerfile, {"f": "a"}), tmp_path / "more"
    contexts.directory(more, "", {"g": "b"})
    build = Builder(shared_engine, contexts.settled(own, more), tmp_path / "trace")
    named = ("--build-context", f"more={more}")
    build(*named)
    build(*named)
    said, first = build.said, build.id
    assert "[Warning] FromAsCasing" in said
    metadata, archive, cache = tmp_path / "metadata", tmp_path / "made.tar", tmp_path / "cache"
    written = ("--metadata-file", str(metadata), "-o", f"type=oci,dest={archive}")
    assert build(*named, *written) == set()
    assert (build.said, build.id) == (said, first)
    assert first in metadata.read_text()
    assert archive.stat().st_size > 0

    assert "Dockerfile" in build(*named, "--cache-to", f"type=local,dest={cache}")
    assert (cache / "index.json").exists()
    assert build(*named) == set()
    assert shared_engine.cli("build", "--build-context", "more=docker-image://busybox", str(own)).code == 1
    shared_engine.cli("builder", "prune", "-f").check()
    for _ in range(3):
        assert "Dockerfile" in build(*named, "--cache-from", f"type=local,src={cache}")
        assert build.said.count("Using cache") == 2

    (more / "g").write_text("c")
    build(*named)
    assert build.said.count("Using cache") == 1
