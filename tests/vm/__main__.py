"""``python -m tests.vm``: the tests that want cgroup v2, or kinds of network that few kernels have,
or those named, inside the machine."""

from __future__ import annotations

import sys

from tests.vm import machine

_SECONDS = 900
_NETWORK = "tests/integration/network"
_CHOSEN = (
    "tests/vm/test_no_nf_tables.py",
    "tests/vm/test_limits.py",
    "tests/vm/test_delegated.py",
    "tests/vm/test_apparmor.py",
    "tests/vm/test_networks.py",
    f"{_NETWORK}/test_announcements.py",
    f"{_NETWORK}/test_creation.py::test_drivers_that_this_kernel_may_not_have",
    f"{_NETWORK}/test_traffic.py::test_sctp_to_a_published_port",
)


def main(arguments: list[str]) -> int:
    """Run pytest with these arguments in the machine; its exit status, 0 where no machine can be booted."""
    if problem := machine.problem():
        print(f"skipped: {problem}")
        return 0
    chosen = arguments or _CHOSEN
    return machine.run(
        [sys.executable, "-m", "pytest", "-rs", "-p", "no:cacheprovider", *chosen], seconds=_SECONDS
    )


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
