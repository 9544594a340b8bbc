"""``python -m tests.interop [--only SIDE] [--tests PATTERN] [suite ...]``: run suites, and print the table."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.interop import report
from tests.interop.images import Images
from tests.interop.outcomes import Outcomes
from tests.interop.sides import SIDES
from tests.interop.suite import Suite, Unavailable, Visit
from tests.interop.suites import SUITES

_CACHE = Path(__file__).resolve().parents[2] / ".cache/interop"
_APART = ["unshare", "--net", "--mount", "--propagation", "private", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]


def main(arguments: Sequence[str]) -> int:
    """Run what is asked for. The exit status says nothing of the outcomes: the table does."""
    asked = _parser().parse_args(arguments)
    if os.geteuid() != 0:
        print("make interop needs root: dockerd does, and so do the namespaces")
        return 1
    chosen = [suite for suite in SUITES if not asked.suites or suite.name in asked.suites]
    if asked.inside:
        _inside(asked.inside, chosen, asked.tests)
        return 0
    Images(_CACHE / "images").make()
    ready = [suite for suite in chosen if _fetched(suite)]
    for side in SIDES:
        if asked.only in ("", side):
            again = [sys.executable, "-m", "tests.interop", "--inside", side, "--tests", asked.tests]
            subprocess.run([*_APART, *again, *(suite.name for suite in ready)], check=True)
    print(report.table({suite.name: _results(suite.name) for suite in ready}))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.interop", description=__doc__)
    parser.add_argument("suites", nargs="*", metavar="suite", help=", ".join(suite.name for suite in SUITES))
    parser.add_argument("--only", default="", choices=("", *SIDES), help="run this side, and compare with the last run")
    parser.add_argument("--tests", default="", help="some tests, in the suite's own notation")
    parser.add_argument("--inside", default="", choices=("", *SIDES), help=argparse.SUPPRESS)
    return parser


def _fetched(suite: Suite) -> bool:
    place = _CACHE / suite.name
    place.mkdir(parents=True, exist_ok=True)
    try:
        suite.fetch(place)
    except Unavailable as error:
        print(f"without {suite.name}: {error}")
        return False
    return True


def _inside(side: str, chosen: Sequence[Suite], tests: str) -> None:
    """In the side's namespaces: start its engine anew for each suite, and keep the outcomes."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that all is taken down
    for suite in chosen:
        print(f"  {suite.name} against {side} …", file=sys.stderr, flush=True)
        place = _CACHE / "results" / side
        place.mkdir(parents=True, exist_ok=True)
        with SIDES[side](Images(_CACHE / "images"), suite.needs_debian) as environment:
            visit = Visit(environment, _CACHE / suite.name, place / f"{suite.name}.log", tests)
            outcomes = suite.run(visit)
            if tests:
                outcomes = {**_result(side, suite.name), **outcomes}
            (place / f"{suite.name}.json").write_text(json.dumps(outcomes, indent=1, sort_keys=True))


def _results(name: str) -> dict[str, Outcomes]:
    return {side: _result(side, name) for side in SIDES}


def _result(side: str, name: str) -> Outcomes:
    path = _CACHE / "results" / side / f"{name}.json"
    if not path.exists():
        return {}
    outcomes: Outcomes = json.loads(path.read_text())
    return outcomes


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
