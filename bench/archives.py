"""Images as archives: ``save`` and ``load`` of one with many files, each through a final sync of its file system."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.measures import Bench, Measure, Row
from bench.peers import CommandLine
from bench.sampling import Samples, command, timed
from tests.support import images

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


def archives(bench: Bench) -> Iterator[Row]:
    """``load -i`` of an image that is not there, ``save -o``; peers are those with Docker's command line."""
    everyone = {"corten": bench.corten, **bench.peers}
    lines = {name: peer for name, peer in everyone.items() if isinstance(peer, CommandLine)}
    with tempfile.TemporaryDirectory(prefix="bench-", dir=os.environ.get("CORTEN_TEST_DIR")) as scratch:
        source = archive(Path(scratch))
        times: dict[str, dict[str, list[float]]] = {what: {name: [] for name in lines} for what in ("load", "save")}
        try:
            for number in range(_ROUNDS + 1):
                for name, peer in lines.items():
                    target = Path(scratch) / f"{name}.tar"
                    loaded = timed(_synced(peer, target.parent, "load", "-q", "-i", str(source)))
                    saved = timed(_synced(peer, target.parent, "save", "-o", str(target), _NAME))
                    target.unlink()
                    peer.do("rmi", _NAME)
                    if number:
                        times["load"][name].append(loaded)
                        times["save"][name].append(saved)
        finally:
            for peer in lines.values():
                peer.do("image", "prune", "-f")
    for what, found in times.items():
        yield from _rows(f"{what} of 16,000 files, 110 MB", {name: Samples(tuple(one)) for name, one in found.items()})


def _synced(peer: CommandLine, directory: Path, *arguments: str) -> Callable[[], None]:
    sync = command(["sync", "-f", str(directory)], os.environ)

    def act() -> None:
        peer.do(*arguments)
        sync()

    return act


def _rows(name: str, samples: dict[str, Samples]) -> Iterator[Row]:
    ours = samples.pop("corten")
    for peer, theirs in samples.items():
        yield Row(name, str(ours), peer, str(theirs), f"{ours.median / theirs.median:.2f}", _GOALS.get(peer, ""))
    if not samples:
        yield Row(name, str(ours))


ALL: tuple[Measure, ...] = (archives,)
