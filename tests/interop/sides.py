"""The two engines that suites are run against. Each is started inside the namespaces of the side that asks."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from tests.interop.images import Images
from tests.support.command import Cli
from tests.support.dockerd import Dockerd, dockerd_problem
from tests.support.engine import Engine

Environment = Mapping[str, str]


def _scratch() -> tempfile.TemporaryDirectory[str]:
    """A mount that a suite left in it goes with the side's mount namespace, a little later than the directory."""
    return tempfile.TemporaryDirectory(prefix="io-", ignore_cleanup_errors=True)


@contextlib.contextmanager
def corten(images: Images, debian: bool) -> Iterator[Environment]:
    """An engine of this project's, with the images; the environment of its clients."""
    with _scratch() as scratch:
        engine = Engine(Path(scratch) / "root", judged=False)
        try:
            _load(images, engine.start().docker, debian)
            yield _with_programs(engine.environment(), Path(scratch))
        finally:
            engine.remove()


@contextlib.contextmanager
def dockerd(images: Images, debian: bool) -> Iterator[Environment]:
    """Debian's dockerd, with the images; the environment of its clients."""
    if problem := dockerd_problem():
        raise SystemExit(problem)
    with _scratch() as scratch:
        engine = Dockerd(Path(scratch), apart=False)
        try:
            _load(images, engine.start().docker, debian)
            yield _with_programs(engine.environment(), Path(scratch))
        finally:
            engine.remove()


def _load(images: Images, docker: Cli, debian: bool) -> None:
    images.load_into(docker)
    if debian:
        images.load_debian_into(docker)


def _with_programs(environment: Environment, directory: Path) -> Environment:
    """What moby's tests start: ``registry``, which Debian has under another name, and no dockerd of their own, which
    would be asked in the place of the engine under test."""
    programs = directory / "programs"
    programs.mkdir()
    registry = shutil.which("docker-registry")
    if registry is not None:
        (programs / "registry").symlink_to(registry)
    (programs / "dockerd").symlink_to("/bin/false")
    return {**environment, "PATH": f"{programs}:{environment['PATH']}"}


SIDES: Mapping[str, Callable[[Images, bool], contextlib.AbstractContextManager[Environment]]] = {
    "dockerd": dockerd,
    "corten": corten,
}
