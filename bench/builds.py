"""What builds cost, beside dockerd's classic builder: nothing new, everything new, a large context, stages that do not
need each other."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.measures import Bench, Measure, Row
from bench.peers import CommandLine
from bench.sampling import Samples, interleave, timed

_ROUNDS, _CACHED_ROUNDS, _LARGE_ROUNDS = 5, 50, 3
_FILES, _BYTES = 20_000, 15_000
_SECONDS = 10
_STEPS = [
    "FROM busybox",
    *(
        step
        for number in range(4)
        for step in (
            f"ENV A{number}={number}", f"RUN echo {number} > /f{number}", f"COPY a.txt /c{number}",
            f"RUN cat /c{number} > /g{number}",
        )
    ),
    "LABEL a=b",
    "WORKDIR /w",
    'CMD ["sh"]',
]  # fmt: skip
_STAGES = (
    f"FROM busybox AS a\nRUN sleep {_SECONDS} && echo a > /a\nFROM busybox AS b\nRUN sleep {_SECONDS} && echo b > /b\n"
    "FROM busybox\nCOPY --from=a /a /a\nCOPY --from=b /b /b\n"
)


def steps(bench: Bench) -> Iterator[Row]:
    """A Dockerfile of twenty steps, of which half make a layer."""
    with tempfile.TemporaryDirectory(prefix="bench-build-") as scratch:
        where = _context(Path(scratch), "\n".join(_STEPS) + "\n")
        name = f"build, {len(_STEPS)} steps"
        yield from _rows(f"{name}, uncached", _measured(bench, _ROUNDS, where, "--no-cache"), "0.33")
        yield from _rows(f"{name}, cached", _measured(bench, _CACHED_ROUNDS, where), "0.20")


def context(bench: Bench) -> Iterator[Row]:
    """A context of 300 MB in 20,000 files, none of which has changed."""
    with tempfile.TemporaryDirectory(prefix="bench-build-") as scratch:
        where = _context(Path(scratch), "FROM busybox\nCOPY . /c\n")
        _fill(where)
        yield from _rows("build, 20,000 files unchanged", _measured(bench, _LARGE_ROUNDS, where), "0.33")


def stages(bench: Bench) -> Iterator[Row]:
    """Two stages of ten seconds each that do not need each other."""
    with tempfile.TemporaryDirectory(prefix="bench-build-") as scratch:
        where = _context(Path(scratch), _STAGES)
        took = Samples((timed(_build(bench.corten, where, "--no-cache")),))
        yield Row(f"build, two stages of {_SECONDS} s each", str(took), goal=f"about {_SECONDS * 1000}")


def _context(where: Path, dockerfile: str) -> Path:
    (where / "Dockerfile").write_text(dockerfile)
    (where / "a.txt").write_text("hello\n")
    return where


def _fill(where: Path) -> None:
    for number in range(_FILES):
        path = where / f"d{number // 100}" / f"f{number}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(os.urandom(_BYTES))
        os.utime(path, (1_700_000_000, 1_700_000_000))


def _measured(bench: Bench, rounds: int, where: Path, *options: str) -> dict[str, Samples]:
    everyone = {"corten": bench.corten}
    if isinstance(docker := bench.peers.get("docker"), CommandLine):
        everyone["docker"] = docker
    actions = {name: _build(peer, where, *options) for name, peer in everyone.items()}
    for action in actions.values():
        action()
    return interleave(actions, rounds)


def _build(peer: CommandLine, where: Path, *options: str) -> Callable[[], None]:
    return lambda: peer.do("build", "-q", *options, str(where))


def _rows(name: str, samples: dict[str, Samples], goal: str) -> Iterator[Row]:
    ours, theirs = samples["corten"], samples.get("docker")
    if theirs is None:
        yield Row(name, str(ours))
        return
    yield Row(name, str(ours), "docker", str(theirs), f"{ours.median / theirs.median:.2f}", goal)


ALL: tuple[Measure, ...] = (steps, context, stages)
