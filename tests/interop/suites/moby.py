"""moby's own integration tests: those of the API's packages, and those that drive the docker command line."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

from tests.interop import golang
from tests.interop.outcomes import Outcomes, leaves
from tests.interop.suite import Suite, Visit

# The last version whose client still speaks the API of Debian's dockerd.
_MODULE = "github.com/docker/docker@v28.5.2+incompatible"
_VERSION = "1.41"
"""Debian's dockerd's, which the tests' client does not find out by itself."""
# Not the tests that start a dockerd of their own, and not swarm's: neither asks the engine under test.
_API = ("integration/container", "integration/image", "integration/volume", "integration/network",
        "integration/networking", "integration/system", "integration/capabilities", "integration/session",
        "integration/plugin/logging", "integration/plugin/common")  # fmt: skip
_CLI = ("integration-cli",)
_LEFT_OUT = ("^TestDockerBenchmarkSuite$", "^TestDockerCLIPluginLogDriverSuite$",
             "^TestDockerCLIPluginsSuite$", "^TestDockerDaemonSuite$", "^TestDockerExternalVolumeSuite$",
             "^TestDockerSwarmSuite$", "^TestDockerCLIServiceSuite$", "^TestDockerNetworkSuite$",
             "^TestDockerPluginSuite$", "^TestDockerHubPullSuite$", "^TestDockerDigestSuite$")  # fmt: skip
_OF_ONE_RUN = re.compile(r"0x[0-9a-f]+|(?<=/tmp/test-mounts-api-)\d+")
_FUNCTION = re.compile(r"^func (Test\w+)\(t \*testing\.T\) \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)


@dataclasses.dataclass(frozen=True, slots=True)
class _Packages:
    names: Sequence[str]

    def fetch(self, home: Path) -> None:
        """Copy the module where it may be written, make it a module, and compile its tests. Raises Unavailable."""
        source = _source(home)
        for package in self.names:
            golang.build(source, package, _binary(home, package))

    def run(self, visit: Visit) -> Outcomes:
        """Every package's tests, with the package before each name."""
        visit.output.unlink(missing_ok=True)
        visit = dataclasses.replace(visit, environment={**visit.environment, "DOCKER_API_VERSION": _VERSION})
        outcomes: Outcomes = {}
        for package in self.names:
            directory = _source(visit.home) / package
            left_out = (*_LEFT_OUT, *_with_own_daemon(directory))
            found = golang.run_binary(visit, _binary(visit.home, package), directory, left_out)
            outcomes.update({_name(package, name): outcome for name, outcome in leaves(found).items()})
        return outcomes


def _name(package: str, test: str) -> str:
    """The same in every run: some tests have addresses and directories in their names."""
    return f"{package}:{_OF_ONE_RUN.sub('…', test)}"


def _with_own_daemon(directory: Path) -> list[str]:
    """The tests of a package that start a dockerd of their own, and so do not ask the engine under test."""
    return [
        f"^{name}$"
        for path in directory.glob("*_test.go")
        for name, body in _FUNCTION.findall(path.read_text())
        if "daemon.New(" in body or "startDaemon" in body
    ]


def _source(home: Path) -> Path:
    return golang.vendored(_MODULE, home.parent / "moby-source")


def _binary(home: Path, package: str) -> Path:
    return home / f"{package.replace('/', '-')}.test"


_API_TESTS, _CLI_TESTS = _Packages(_API), _Packages(_CLI)
SUITES = (
    Suite("moby-api", "moby's integration tests", _API_TESTS.fetch, _API_TESTS.run),
    Suite("moby-cli", "moby's tests by the docker command line", _CLI_TESTS.fetch, _CLI_TESTS.run),
)
