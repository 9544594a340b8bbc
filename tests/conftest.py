"""Fixtures of every floor. A fixture imports its heavy parts itself, so that unit tests stay light.

========================  ===========================================================================
``engine``                a private engine, one a test, removed whatever happens
``shared_engine``         the same, one a module, with ``busybox`` loaded: for tests that leave it alive
``cli``, ``docker_cli``   Corten's and Docker's command line, bound to ``engine``
``busybox_archive``       a docker archive of the machine's static busybox
``busybox``               its reference, loaded into ``engine``
``registry``              Debian's docker-registry on loopback, one a session
``ordinary_user``         a user with subordinate ids and ``busybox`` loaded, one a module; its engine starts by itself
``sleeper``               a container that runs, of ``ordinary_user``
``lone_user``             the same without subordinate ids
``dockerd``               Debian's dockerd in a network namespace, one a session, with ``busybox`` loaded
``no_leaks``              fails the test when its engine has more on the machine after than before
========================  ===========================================================================
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from tests.support.command import Cli
    from tests.support.dockerd import Dockerd
    from tests.support.engine import Engine
    from tests.support.registry import Registry
    from tests.support.user import Installation, User


# The same examples at every run, and none that fails because the machine is busy.
hypothesis.settings.register_profile(
    "steady", deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("steady")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, openly, what this machine cannot run."""
    for item in items:
        for marker, problem in _MARKERS.items():
            if item.get_closest_marker(marker) and (reason := problem()):
                item.add_marker(pytest.mark.skip(reason=reason))


def _root_problem() -> str:
    return "" if os.geteuid() == 0 else "needs root"


def _network_problem() -> str:
    missing = [tool for tool in ("ip", "nft") if not shutil.which(tool)]
    return _root_problem() or (f"not installed: {' '.join(missing)}" if missing else "")


def _cgroup2_problem() -> str:
    try:
        controllers = Path("/sys/fs/cgroup/cgroup.controllers").read_text().split()
    except FileNotFoundError:
        controllers = []
    missing = {"cpu", "cpuset", "memory", "pids"}.difference(controllers)
    return "needs cgroup v2 with controllers: make test-vm has them" if missing else ""


def _dockerd_problem() -> str:
    from tests.support.dockerd import dockerd_problem

    return dockerd_problem()


def _registry_problem() -> str:
    from tests.support.registry import registry_problem

    return registry_problem()


_MARKERS = {
    "root": _root_problem,
    "network": _network_problem,
    "cgroup2": _cgroup2_problem,
    "dockerd": _dockerd_problem,
    "registry": _registry_problem,
}


def _skip_if(problem: str) -> None:
    if problem:
        pytest.skip(problem)


@pytest.fixture(scope="session")
def workspace() -> Iterator[Path]:
    """A directory with a short path, for sockets' sake (108 bytes), on a real file system."""
    with tempfile.TemporaryDirectory(prefix="ct-", dir=os.environ.get("CORTEN_TEST_DIR")) as path:
        yield Path(path)


def _engine(workspace: Path) -> Engine:
    from tests.support.engine import Engine

    return Engine(Path(tempfile.mkdtemp(dir=workspace)))


@pytest.fixture
def engine(workspace: Path) -> Iterator[Engine]:
    """A private engine, answering; removed with all it made, also after a failure."""
    made = _engine(workspace)
    try:
        yield made.start()
    finally:
        made.remove()
    made.keep_contract()


@pytest.fixture(scope="module")
def shared_engine(workspace: Path, busybox_archive: Path) -> Iterator[Engine]:
    """One engine for a module of tests, with ``busybox`` loaded."""
    made = _engine(workspace)
    try:
        made.start().load(busybox_archive)
        yield made
    finally:
        made.remove()
    made.keep_contract()


@pytest.fixture(scope="session")
def installation() -> Iterator[Installation]:
    """Corten where an ordinary user may read it."""
    from tests.support.user import Installation, user_problem

    _skip_if(user_problem())
    made = Installation()
    try:
        yield made
    finally:
        made.remove()


@contextlib.contextmanager
def _user(installation: Installation, busybox_archive: Path, *, granted: bool) -> Iterator[User]:
    from tests.support.user import User

    made = User(installation, granted=granted)
    try:
        made.cli("load", stdin=busybox_archive.read_bytes()).check()
        yield made
    finally:
        made.remove()


@pytest.fixture(scope="module")
def ordinary_user(installation: Installation, busybox_archive: Path) -> Iterator[User]:
    """A user with subordinate ids, whose engine has ``busybox``."""
    with _user(installation, busybox_archive, granted=True) as user:
        yield user


@pytest.fixture(scope="module")
def lone_user(installation: Installation, busybox_archive: Path) -> Iterator[User]:
    """A user without subordinate ids, whose engine has ``busybox``."""
    with _user(installation, busybox_archive, granted=False) as user:
        yield user


@pytest.fixture
def sleeper(ordinary_user: User) -> Iterator[str]:
    """A container of the ordinary user's that runs, without a network; removed whatever happens."""
    ordinary_user.cli("run", "-d", "--name", "sleeper", "--network", "none", "busybox", "sleep", "1000").check()
    yield "sleeper"
    ordinary_user.cli("rm", "-f", "sleeper")


@pytest.fixture
def cli(engine: Engine) -> Cli:
    """Corten's command line, bound to ``engine``."""
    return engine.cli


@pytest.fixture
def docker_cli(engine: Engine) -> Cli:
    """The real docker command line, bound to ``engine``."""
    _skip_if("" if shutil.which("docker") else "the docker command line is not installed")
    return engine.docker


@pytest.fixture(scope="session")
def busybox_archive(workspace: Path) -> Path:
    """A docker archive of ``busybox:latest``, made from the machine's static busybox."""
    from tests.support import images

    _skip_if(images.busybox_problem())
    return images.busybox_archive(workspace)


@pytest.fixture
def busybox(engine: Engine, busybox_archive: Path) -> str:
    """The reference of a busybox image, loaded into ``engine``."""
    engine.load(busybox_archive)
    return "busybox:latest"


@pytest.fixture(scope="session")
def registry(workspace: Path) -> Iterator[Registry]:
    """Debian's docker-registry on a loopback port."""
    from tests.support.registry import Registry, registry_problem

    _skip_if(registry_problem())
    made = Registry(workspace / "registry")
    try:
        yield made.start()
    finally:
        made.remove()


@pytest.fixture(scope="session")
def dockerd(workspace: Path, busybox_archive: Path) -> Iterator[Dockerd]:
    """Debian's dockerd, private, with ``busybox:latest`` loaded."""
    from tests.support.dockerd import Dockerd, dockerd_problem

    _skip_if(dockerd_problem())
    made = Dockerd(workspace / "dockerd")
    try:
        made.start().docker("load", "-i", str(busybox_archive)).check()
        yield made
    finally:
        made.remove()


@pytest.fixture
def no_leaks(engine: Engine) -> Iterator[None]:
    """Fail when the engine has more on the machine after the test than before.

    The kernel takes a dead network namespace apart in its own time: what is left must go, not be gone at once.
    """
    from tests.support.process import NotReady, wait_until

    before = engine.footprint()
    yield
    try:
        wait_until(lambda: not engine.footprint().beyond(before), "the end of everything")
    except NotReady:
        assert engine.footprint().beyond(before) == []
