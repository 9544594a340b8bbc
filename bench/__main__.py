"""``python -m bench [measure ...]``: measure, and print the table."""

from __future__ import annotations

import dataclasses
import os
import platform
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench import archives, builds, measures, networks, peers
from bench import images as image_measures
from bench.measures import Bench, Row
from tests.support import images


def main(names: Sequence[str]) -> int:
    """Measure all, or those named by their function. The exit status says nothing of the figures."""
    every = (*measures.ALL, *networks.ALL, *image_measures.ALL, *archives.ALL, *builds.ALL)
    chosen = [measure for measure in every if not names or measure.__name__ in names]
    if problem := images.busybox_problem():
        print(problem)
        return 1
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        archive = images.busybox_archive(Path(scratch))
        with (
            peers.peers(archive) as (found, absent),
            peers.corten(archive, Path(scratch)) as (corten, engine),
        ):
            _introduce(found, absent)
            bench = Bench(corten, engine, found, archive)
            rows = [row for measure in chosen for row in _measured(measure, bench)]
    print(table(rows))
    return 0


def _measured(measure: measures.Measure, bench: Bench) -> list[Row]:
    """The rows of a measure; one that fails is a row that says so."""
    print(f"  {measure.__name__} …", file=sys.stderr, flush=True)
    try:
        return list(measure(bench))
    except (AssertionError, OSError, measures.CommandFailed) as error:
        return [Row(measure.__name__, f"failed: {error}")]


def _introduce(found: Iterable[str], absent: dict[str, str]) -> None:
    print(f"Linux {platform.release()}, Python {platform.python_version()}, {os.cpu_count()} CPUs")
    print("milliseconds: median (min-max), interleaved; ratio: Corten's median by the peer's")
    print(f"peers: {', '.join(found) or 'none'}")
    for name, reason in absent.items():
        print(f"  without {name}: {reason}")


def table(rows: Sequence[Row]) -> str:
    """The rows in aligned columns, under a heading."""
    heading = ("", "corten", "peer", "", "ratio", "goal")
    cells = [heading, *(dataclasses.astuple(row) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(heading))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells]
    return "\n".join(line.rstrip() for line in lines)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
