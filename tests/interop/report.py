"""The table: what each side passes of a suite, and the tests by name that dockerd passes alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tests.interop.outcomes import FAILED, PASSED, SKIPPED, Outcomes, count


def table(results: Mapping[str, Mapping[str, Outcomes]]) -> str:
    """Of ``{suite: {side: outcomes}}``, a line a suite, and below it what differs."""
    heading = ("suite", "dockerd passes", "Corten passes of those", "Corten alone", "neither", "skipped")
    rows = [heading, *(_row(name, sides["dockerd"], sides["corten"]) for name, sides in results.items())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(heading))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, *_differences(results)])


def alone(theirs: Outcomes, ours: Outcomes) -> Sequence[str]:
    """What dockerd passes, and Corten does not."""
    return [name for name in sorted(theirs) if theirs[name] == PASSED and ours.get(name) != PASSED]


def _row(name: str, theirs: Outcomes, ours: Outcomes) -> tuple[str, ...]:
    passed = count(theirs, PASSED)
    both = passed - len(alone(theirs, ours))
    share = f" ({both / passed:.1%})" if passed else ""
    neither = sum(theirs.get(name) == FAILED and ours.get(name) == FAILED for name in theirs)
    skipped = count(theirs, SKIPPED)
    return (name, str(passed), f"{both}{share}", str(len(alone(ours, theirs))), str(neither), str(skipped))


def _differences(results: Mapping[str, Mapping[str, Outcomes]]) -> Iterator[str]:
    for suite, sides in results.items():
        if names := alone(sides["dockerd"], sides["corten"]):
            yield f"\n{suite}: passed by dockerd alone"
            yield from (f"  {sides['corten'].get(name, 'not run'):8} {name}" for name in names)
