"""``python -m tests.fuzz [--seconds N] [target ...]``: each target for a minute, or as long as asked, under atheris.

What atheris finds new stays in ``.cache/fuzz``; an input that breaks a target is told with its path. Nothing is added
to the corpus by itself: copy there what is worth keeping, and mend what it breaks.
"""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
from collections.abc import Sequence

from tests.fuzz import HERE, corpus, targets

_CACHE = HERE.parents[1] / ".cache/fuzz"
_LONGEST = 4096  # bytes of an input


def main(arguments: Sequence[str]) -> int:
    """Run the targets one after the other, each in a process of its own: atheris never returns."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="target", help=", ".join(targets()))
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--inside", choices=targets(), help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.inside:
        _fuzz(asked.inside, asked.seconds)
    worst = 0
    for target in asked.targets or targets():
        again = [sys.executable, "-m", "tests.fuzz", "--inside", target, "--seconds", str(asked.seconds)]
        worst = max(worst, abs(subprocess.run(again, check=False).returncode))
    return worst


def _fuzz(target: str, seconds: int) -> None:
    import atheris

    with atheris.instrument_imports(include=["corten"]):
        module = importlib.import_module(f"tests.fuzz.{target}")
    found = _CACHE / target
    found.mkdir(parents=True, exist_ok=True)
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={_LONGEST}",
        f"-artifact_prefix={_CACHE}/{target}-",
        "-timeout=10",
    ]
    atheris.Setup([target, *options, str(found), str(corpus(target))], module.one)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
