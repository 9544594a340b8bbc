"""The classic builder's steps: images that are children of one another, that later builds take, and that go with the
last of them. What is asserted here is what dockerd does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support import contexts
from tests.support.engine import Engine

pytestmark = [pytest.mark.root, pytest.mark.network]
STEPS = "FROM busybox\nENV A=b\nRUN echo $A > /f\nLABEL c=d\n"


def built(engine: Engine, place: Path, dockerfile: str, *options: str, name: str = "made") -> Sequence[str]:
    """The lines of a build."""
    where = contexts.directory(place, dockerfile, {})
    environment = {"DOCKER_BUILDKIT": "0"}
    return engine.docker("build", "-t", name, *options, str(where), env=environment).check().lines


def cached(lines: Sequence[str]) -> int:
    return lines.count(" ---> Using cache")


def shown(engine: Engine, image: str) -> dict[str, Any]:
    found: dict[str, Any] = engine.api("GET", f"/images/{image}/json").check().json
    return found


def all_images(engine: Engine) -> set[str]:
    return {one["Id"] for one in engine.api("GET", "/images/json?all=1").check().json}


def test_every_step_is_an_image(shared_engine: Engine, tmp_path: Path) -> None:
    engine, before = shared_engine, all_images(shared_engine)
    lines = built(engine, tmp_path, STEPS)
    said = [line.removeprefix(" ---> ") for line in lines if line.startswith(" ---> ") and " " not in line[6:]]
    ids = engine.docker("history", "-q", "made").check().lines
    assert [*reversed(ids)][-4:] == said
    assert [shown(engine, id)["Parent"][7:19] for id in said[1:]] == said[:3]
    assert shown(engine, said[2])["Config"]["Env"][-1] == "A=b"
    assert engine.docker("run", "--rm", said[2], "cat", "/f").check().out == "b\n"
    assert len(all_images(engine) - before) == 3
    listed = {one["Id"] for one in engine.api("GET", "/images/json").json} - before
    assert listed == {shown(engine, "made")["Id"]}  # those that others were made from are shown with -a
    gone = [line for line in engine.docker("rmi", "made").check().lines if line.startswith("Deleted: ")]
    assert len(gone) == 4  # three images, and the layer of one
    assert all_images(engine) == before


def test_a_step_is_known_by_the_image_that_it_was_made_of(shared_engine: Engine, tmp_path: Path) -> None:
    engine = shared_engine
    built(engine, tmp_path / "a", STEPS)
    first = shown(engine, "made")["Id"]
    assert cached(built(engine, tmp_path / "b", STEPS)) == 3
    assert shown(engine, "made")["Id"] == first
    other = built(engine, tmp_path / "c", STEPS.replace("ENV A=b", "ENV A=b\nENV C=d"), name="other")
    assert cached(other) == 1
    anew = built(engine, tmp_path / "d", STEPS, "--no-cache")
    assert (cached(anew), shown(engine, "made")["Id"] == first) == (0, False)
    engine.docker("rmi", "made", "other").check()
    engine.docker("image", "prune", "-f").check()
    assert cached(built(engine, tmp_path / "e", STEPS)) == 0
    engine.docker("rmi", "made").check()


def test_stages_share_what_they_make(shared_engine: Engine, tmp_path: Path) -> None:
    engine, before = shared_engine, all_images(shared_engine)
    same = "FROM busybox\nRUN echo 1 > /one\n"
    assert cached(built(engine, tmp_path, f"{same}LABEL of=first\n{same}COPY --from=0 /one /two\n")) == 1
    of_first = engine.docker("images", "-q", "--no-trunc", "-f", "label=of=first").check().lines
    assert len(of_first) == 1
    engine.docker("rmi", "made").check()
    assert set(of_first) <= all_images(engine)
    engine.docker("image", "prune", "-f").check()  # with what it was made from
    assert all_images(engine) == before


def test_the_image_of_each_stage_is_told(shared_engine: Engine, tmp_path: Path) -> None:
    dockerfile = "FROM busybox AS below\nONBUILD ENV A=b\nENV C=d\nFROM below\n"
    told = shared_engine.api("POST", "/build?t=made", contexts.archive({"Dockerfile": dockerfile})).check().body
    ids = [one["aux"]["ID"] for one in map(json.loads, told.splitlines()) if "aux" in one]
    assert len(ids) == 2
    assert (shown(shared_engine, ids[1])["Parent"], shown(shared_engine, "made")["Id"]) == (ids[0], ids[1])
    shared_engine.docker("rmi", "made").check()


def test_the_cache_of_images(shared_engine: Engine, tmp_path: Path) -> None:
    engine = shared_engine
    built(engine, tmp_path / "a", STEPS, name="source")
    first = shown(engine, "source")["Id"]
    lines = built(engine, tmp_path / "b", STEPS, "--cache-from", "source")
    assert (cached(lines), shown(engine, "made")["Id"]) == (3, first)
    lines = built(engine, tmp_path / "c", STEPS, "--cache-from", "nosuch:image")
    assert (cached(lines), shown(engine, "made")["Id"] == first) == (0, False)
    lines = built(engine, tmp_path / "d", STEPS.replace("c=d", "c=e"), "--cache-from", "source")
    assert cached(lines) == 2
    layers = shown(engine, "source")["RootFS"]["Layers"]
    assert shown(engine, "made")["RootFS"]["Layers"] == layers
    engine.docker("rmi", "made", "source").check()
    engine.docker("image", "prune", "-f").check()


def test_the_cache_of_an_image_that_comes_from_elsewhere(shared_engine: Engine, tmp_path: Path) -> None:
    engine, archive = shared_engine, str(tmp_path / "source.tar")
    built(engine, tmp_path / "a", STEPS, name="source")
    first = shown(engine, "source")["Id"]
    engine.docker("save", "-o", archive, "source").check()
    engine.docker("rmi", "source").check()
    engine.docker("load", "-i", archive).check()
    assert shown(engine, "source")["Parent"] == ""
    assert cached(built(engine, tmp_path / "b", STEPS)) == 0  # a stranger's image is no cache until the user says so
    lines = built(engine, tmp_path / "c", STEPS, "--cache-from", "source")
    assert (cached(lines), shown(engine, "made")["Id"]) == (3, first)
    assert len(engine.docker("history", "-q", "made").check().lines) == 4
    assert "<missing>" not in engine.docker("history", "-q", "made").check().lines[:3]
    engine.docker("rmi", "made", "source").check()
    engine.docker("image", "prune", "-f").check()


def test_an_intermediate_image_can_be_saved(shared_engine: Engine, tmp_path: Path) -> None:
    engine = shared_engine
    built(engine, tmp_path, STEPS)
    step = shown(engine, "made")["Parent"]
    archive = str(tmp_path / "step.tar")
    engine.docker("save", "-o", archive, step).check()
    engine.docker("rmi", "made").check()
    assert step not in all_images(engine)
    engine.docker("load", "-i", archive).check()
    assert engine.docker("run", "--rm", step, "cat", "/f").check().out == "b\n"
    engine.docker("rmi", step).check()


def test_a_dockerfile_that_makes_nothing(shared_engine: Engine, tmp_path: Path) -> None:
    where = contexts.directory(tmp_path, "FROM scratch\n", {})
    failed = shared_engine.docker("build", str(where), env={"DOCKER_BUILDKIT": "0"})
    assert failed.code == 1
    assert "No image was generated. Is your Dockerfile empty?" in failed.err


def test_env_wins_over_arg(shared_engine: Engine, tmp_path: Path) -> None:
    dockerfile = "FROM busybox\nENV a=env\nARG a\nRUN echo said $a\nENV b=$a\n"
    lines = built(shared_engine, tmp_path, dockerfile, "--build-arg", "a=given", "--no-cache")
    assert "said env" in lines
    assert shown(shared_engine, "made")["Config"]["Env"][-1] == "b=env"
    shared_engine.docker("rmi", "made").check()
