"""Images as archives: ``save`` and ``load`` of one with many files; every engine, and the archives, on an ext4 of its
own, each timed through a final sync of both."""

from __future__ import annotations

import contextlib
import os
import random
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.images import corten_engine, docker_engine, own_disk, podman_on, sync
from bench.measures import Bench, Measure, Row
from bench.peers import corten_command
from bench.sampling import Samples
from tests.support import images
from tests.support.command import run
from tests.support.dockerd import dockerd_problem

_ROUNDS = 5
_LAYERS, _FILES, _BYTES = 4, 4000, 6000
_NAME = "bench/archive:v1"
_GOALS = {"docker": "0.50"}


def archive(directory: Path) -> Path:
    """A docker archive of 16,000 files in four layers, about 110 MB, half of which compresses."""
    source = random.Random(1)
    layers = []
    for layer in range(_LAYERS):
        half = _BYTES // 2
        files: dict[str, bytes | str | None] = {
            f"d{layer}/{number % 100}/f{number}": source.randbytes(half) + bytes(half) for number in range(_FILES)
        }
        directories = [f"d{layer}", *(f"d{layer}/{number}" for number in range(100))]
        layers.append(images.layer({**dict.fromkeys(directories), **files}))
    return images.docker_archive(directory / "archive.tar", _NAME, layers)


class _Side(NamedTuple):
    """A command line, and the file system that its engine writes to."""

    command: Sequence[str]
    environment: Mapping[str, str]
    disk: Path


@contextlib.contextmanager
def _sides(scratch: Path) -> Iterator[dict[str, _Side]]:
    with contextlib.ExitStack() as stack:
        engine = stack.enter_context(corten_engine(scratch))
        sides = {"corten": _Side(corten_command(), engine.environment(), engine.root)}
        if not dockerd_problem():
            daemon, disk = stack.enter_context(docker_engine(scratch))
            sides["docker"] = _Side(("docker",), daemon.environment(), disk)
        if run(["which", "podman"]).code == 0:
            disk = stack.enter_context(own_disk(scratch / "podman"))
            sides["podman"] = _Side(podman_on(disk), os.environ, disk)
        yield sides


def archives(bench: Bench) -> Iterator[Row]:
    """``load -i`` of an image that is not there, ``save -o``; peers are those with Docker's command line."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir=os.environ.get("CORTEN_TEST_DIR")) as name:
        scratch = Path(name)
        with own_disk(scratch / "archives") as own, _sides(scratch) as sides:
            source = archive(own)
            times: dict[str, dict[str, list[float]]] = {what: {one: [] for one in sides} for what in ("load", "save")}
            for number in range(_ROUNDS + 1):
                for one, side in sides.items():
                    target = own / f"{one}.tar"
                    loaded = _timed(side, own, "load", "-q", "-i", str(source))
                    saved = _timed(side, own, "save", "-o", str(target), _NAME)
                    target.unlink()
                    run([*side.command, "rmi", _NAME], env=side.environment, timeout=300).check()
                    if number:
                        times["load"][one].append(loaded)
                        times["save"][one].append(saved)
    for what, found in times.items():
        yield from _rows(f"{what} of 16,000 files, 110 MB", {side: Samples(tuple(one)) for side, one in found.items()})


def _timed(side: _Side, archives: Path, *arguments: str) -> float:
    """Milliseconds until all is on disk."""
    os.sync()  # what the one before has left to be written would be paid for by this one
    start = time.perf_counter()
    run([*side.command, *arguments], env=side.environment, timeout=300).check()
    sync(side.disk)
    sync(archives)
    return (time.perf_counter() - start) * 1000


def _rows(name: str, samples: dict[str, Samples]) -> Iterator[Row]:
    ours = samples.pop("corten")
    for peer, theirs in samples.items():
        yield Row(name, str(ours), peer, str(theirs), f"{ours.median / theirs.median:.2f}", _GOALS.get(peer, ""))
    if not samples:
        yield Row(name, str(ours))


ALL: tuple[Measure, ...] = (archives,)
