"""``python -m tests.fuzz TARGET [libFuzzer's options]``: look for finds, from the corpus on. It needs atheris
(``pip install atheris``), and stops at the first find, whose input it leaves in the working directory."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"


def main(arguments: list[str]) -> int:
    """Fuzz; the exit status."""
    if not arguments or arguments[0] not in TARGETS:
        print(f"usage: python -m tests.fuzz {'|'.join(TARGETS)} [-max_total_time=60 ...]")
        return 2
    try:
        import atheris  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        print("atheris is not installed: pip install atheris")
        return 1
    name, *options = arguments
    atheris.instrument_all()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as found:  # what libFuzzer adds is not for the tree
        atheris.Setup([sys.argv[0], found, str(CORPUS / name), *options], TARGETS[name])
        atheris.Fuzz()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
