"""``python -m tests.vm``: the tests that want cgroup v2, or kinds of network that few kernels have,
or those named, inside the machine; with ``--aarch64`` in one of that architecture, emulated."""

from __future__ import annotations

import sys

from tests.vm import machine

_SECONDS = 900
_AARCH64 = "--aarch64"
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
    aarch64 = _AARCH64 in arguments
    if problem := machine.problem(aarch64=aarch64):
        print(f"skipped: {problem}")
        return 0
    chosen = [one for one in arguments if one != _AARCH64] or _CHOSEN
    pytest = ["-m", "pytest", "-rs", "-p", "no:cacheprovider", *chosen]
    return machine.run(pytest, seconds=_SECONDS * (4 if aarch64 else 1), aarch64=aarch64)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
