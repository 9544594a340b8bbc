"""The docker command line's own end-to-end tests, as far as they ask an engine and no registry of their own."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path

from tests.interop import golang
from tests.interop.outcomes import Outcomes, leaves
from tests.interop.suite import Suite, Visit

_MODULE = "github.com/docker/cli@v28.5.2+incompatible"
_PACKAGES = ("e2e/container", "e2e/context", "e2e/global", "e2e/system")
_IMAGES = {"alpine:latest": "registry:5000/alpine:frozen", "busybox:latest": "registry:5000/busybox:frozen"}
"""What their registry would have, by the names that the tests use."""


def fetch(home: Path) -> None:
    """The module, and its tests compiled. Raises Unavailable."""
    source = golang.vendored(_MODULE, home / "source")
    for package in _PACKAGES:
        golang.build(source, package, _binary(home, package))


def run(visit: Visit) -> Outcomes:
    """Every package's tests, with the package before each name."""
    visit.output.unlink(missing_ok=True)
    environment = {**visit.environment, "TEST_DOCKER_HOST": visit.environment["DOCKER_HOST"]}
    for name, other in _IMAGES.items():
        subprocess.run(["docker", "tag", name, other], env=environment, check=True)
    visit = dataclasses.replace(visit, environment=environment)
    outcomes: Outcomes = {}
    for package in _PACKAGES:
        found = golang.run_binary(visit, _binary(visit.home, package), visit.home / "source" / package)
        outcomes.update({f"{package}:{name}": outcome for name, outcome in leaves(found).items()})
    return outcomes


def _binary(home: Path, package: str) -> Path:
    return home / f"{package.replace('/', '-')}.test"


SUITE = Suite("docker-cli", "the docker command line's end-to-end tests", fetch, run)
