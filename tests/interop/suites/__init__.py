"""The suites, a module each."""

from __future__ import annotations

from collections.abc import Sequence

from tests.interop.suite import Suite
from tests.interop.suites import aiodocker, docker_cli, docker_py, moby, testcontainers

SUITES: Sequence[Suite] = (docker_py.SUITE, aiodocker.SUITE, testcontainers.SUITE, docker_cli.SUITE, *moby.SUITES)
