"""``python -m tests.vm``: the tests that want cgroup v2, or those named, inside the machine."""

from __future__ import annotations

import sys

from tests.vm import machine

_SECONDS = 900


def main(arguments: list[str]) -> int:
    """Run pytest with these arguments in the machine; its exit status, 0 where no machine can be booted."""
    if problem := machine.problem():
        print(f"skipped: {problem}")
        return 0
    chosen = arguments or ["tests/vm/test_limits.py", "tests/vm/test_delegated.py"]
    return machine.run(
        [sys.executable, "-m", "pytest", "-rs", "-p", "no:cacheprovider", *chosen], seconds=_SECONDS
    )


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
