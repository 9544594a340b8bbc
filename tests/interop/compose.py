"""``python -m tests.interop.compose``: today's ``docker compose``, built from its Go module, and an application of two
services that it runs on dockerd and on Corten.

It needs root, Go, and the module proxy the first time; the plugin is kept in ``.cache/interop``. The story is the one
that Debian's docker-compose tells in ``make test``: see :mod:`tests.support.compose`.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support import http, images
from tests.support.command import Cli
from tests.support.compose import Application
from tests.support.dockerd import Dockerd, dockerd_problem
from tests.support.engine import Engine

MODULE, VERSION = "github.com/docker/compose/v2", "v2.39.4"
_CACHE = Path(__file__).resolve().parents[2] / ".cache/interop/compose"


def plugin() -> Path:
    """The program, built where it is not there yet. Raises CalledProcessError, FileNotFoundError without Go."""
    binary = _CACHE / VERSION / "docker-compose"
    if binary.exists():
        return binary
    binary.parent.mkdir(parents=True, exist_ok=True)
    told = subprocess.run(
        ["go", "mod", "download", "-json", f"{MODULE}@{VERSION}"], check=True, capture_output=True, text=True
    ).stdout
    flags = f"-s -w -X {MODULE}/internal.Version={VERSION}"
    subprocess.run(
        ["go", "build", "-trimpath", "-ldflags", flags, "-o", str(binary), "./cmd"], check=True,
        cwd=json.loads(told)["Dir"], env={**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly"},
    )  # fmt: skip
    return binary


def installed(cli: Cli, binary: Path) -> Cli:
    """A docker command line that finds the plugin."""
    plugins = Path(cli.environment["DOCKER_CONFIG"]) / "cli-plugins"
    plugins.mkdir(parents=True, exist_ok=True)
    shutil.copy(binary, plugins / "docker-compose")
    return dataclasses.replace(cli, argv=("docker", "compose"))


@contextmanager
def _dockerd(directory: Path, archive: Path) -> Iterator[tuple[Cli, Path]]:
    daemon = Dockerd(directory / "dockerd")
    try:
        daemon.start().docker("load", "-i", str(archive)).check()
        yield daemon.docker, daemon.socket
    finally:
        daemon.remove()


@contextmanager
def _corten(directory: Path, archive: Path) -> Iterator[tuple[Cli, Path]]:
    engine = Engine(directory / "corten", judged=False)
    engine.root.mkdir()
    try:
        engine.start().load(archive)
        yield engine.docker, engine.socket
    finally:
        engine.remove()


def tell(side: Callable[[Path, Path], Any], binary: Path) -> str:
    """The story on one side: '' when it came out, else where it ended."""
    with tempfile.TemporaryDirectory(prefix="compose-") as scratch:
        directory = Path(scratch)
        with side(directory, images.busybox_archive(directory)) as (cli, socket):

            def ask(target: str) -> Any:
                return http.request(socket, "GET", target.replace('"', "%22").replace(" ", "")).json

            try:
                Application(directory / "app", installed(cli, binary), ask).run()
            except AssertionError as error:
                return str(error)
    return ""


def main() -> int:
    """Tell it on both sides; the exit status is Corten's."""
    if os.geteuid() != 0:
        print("docker compose beside dockerd needs root")
        return 1
    try:
        binary = plugin()
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"without docker compose {VERSION}: {error}")
        return 1
    if problem := dockerd_problem():
        print(f"without dockerd: {problem}")
    else:
        print(f"docker compose {VERSION} on dockerd: {tell(_dockerd, binary) or 'the whole story'}")
    failure = tell(_corten, binary)
    print(f"docker compose {VERSION} on Corten: {failure or 'the whole story'}")
    return 1 if failure else 0


if __name__ == "__main__":
    sys.exit(main())
