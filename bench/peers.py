"""Corten and its peers, each on private directories, each able to run, exec and list the same busybox."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

from bench.sampling import command
from tests.support import images
from tests.support.dockerd import Dockerd, dockerd_problem
from tests.support.engine import Engine

SLEEPER = "bench-sleeper"

# Podman raises limits beyond our own, which fails where CAP_SYS_RESOURCE is missing.
_PODMAN_OPTIONS = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024")


class Peer(Protocol):
    """One engine under measurement. ``run``, ``exec`` and ``list`` give actions to be timed."""

    def run(self) -> Callable[[], None]:
        """``busybox true`` from nothing to removed, on the engine's bridge where it has one."""

    def exec(self) -> Callable[[], None]:
        """``true`` inside a container that runs already."""

    def list(self) -> Callable[[], None]:
        """The containers, listed."""

    @property
    def host(self) -> str:
        """Where its API is; '' where it has none."""


class CommandLine:
    """A peer with Docker's command line."""

    def __init__(
        self, argv: Sequence[str], environment: Mapping[str, str], *options: str, sleeper: bool = True
    ) -> None:
        """With ``sleeper`` the container that :meth:`exec` needs is started; else it is there already."""
        self._argv = list(argv)
        self._environment = environment
        self._options = options
        if sleeper:
            self.do("run", "-d", *options, "--name", SLEEPER, "busybox", "sleep", "100000")

    @property
    def host(self) -> str:
        """See Peer."""
        return self._environment.get("DOCKER_HOST", "")

    def do(self, *arguments: str) -> None:
        """Run a command now."""
        self._action(*arguments)()

    def _action(self, *arguments: str) -> Callable[[], None]:
        return command([*self._argv, *arguments], self._environment)

    def run(self) -> Callable[[], None]:
        """See Peer."""
        return self._action("run", "--rm", *self._options, "busybox", "true")

    def exec(self) -> Callable[[], None]:
        """See Peer."""
        return self._action("exec", SLEEPER, "true")

    def list(self) -> Callable[[], None]:
        """See Peer."""
        return self._action("ps")


class Runc:
    """A runtime alone: a bundle made by hand, no image, no bridge, no log, no engine."""

    def __init__(self, directory: Path) -> None:
        self._state = ["runc", "--root", str(directory / "state")]
        self._once = self._bundle(directory / "once", ["true"])
        self._sleeper = self._bundle(directory / "sleeper", ["sleep", "100000"])
        self._do("run", "--detach", "--bundle", str(self._sleeper), SLEEPER)

    @staticmethod
    def _bundle(directory: Path, arguments: list[str]) -> Path:
        images.busybox_root(directory / "rootfs")
        subprocess.run(["runc", "spec", "--bundle", directory], check=True)
        config: dict[str, Any] = json.loads((directory / "config.json").read_text())
        config["process"].update(args=arguments, terminal=False)
        (directory / "config.json").write_text(json.dumps(config))
        return directory

    def _do(self, *arguments: str) -> None:
        # Its output is not read: the sleeper would hold the pipe open.
        subprocess.run(
            [*self._state, *arguments], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )

    def run(self) -> Callable[[], None]:
        """See Peer."""
        argv = [*self._state, "run", "--bundle", str(self._once), f"bench-{os.getpid()}"]
        return command(argv, os.environ)

    def exec(self) -> Callable[[], None]:
        """See Peer."""
        return command([*self._state, "exec", SLEEPER, "true"], os.environ)

    def list(self) -> Callable[[], None]:
        """See Peer."""
        return command([*self._state, "list"], os.environ)

    @property
    def host(self) -> str:
        """See Peer."""
        return ""

    def remove(self) -> None:
        """End the sleeper."""
        self._do("delete", "--force", SLEEPER)


def corten_command() -> list[str]:
    """The command as a user has it: the script that pip installed beside this interpreter."""
    installed = Path(sys.executable).with_name("corten")
    return [str(installed)] if installed.exists() else [sys.executable, "scripts/corten"]


@contextmanager
def corten(archive: Path, directory: Path) -> Iterator[tuple[CommandLine, Engine]]:
    """Corten's engine on a data root of its own, warm."""
    engine = Engine(directory / "corten", judged=False)
    engine.root.mkdir()
    try:
        engine.start().load(archive)
        yield CommandLine(corten_command(), engine.environment()), engine
    finally:
        engine.remove()


@contextmanager
def _docker(archive: Path, directory: Path) -> Iterator[Peer]:
    daemon = Dockerd(directory / "dockerd")
    try:
        daemon.start().docker("load", "-i", str(archive)).check()
        yield CommandLine(["docker"], {**daemon.environment(), "DOCKER_BUILDKIT": "0"})
    finally:
        daemon.remove()


@contextmanager
def _podman(archive: Path, directory: Path) -> Iterator[Peer]:
    """Podman has no daemon: a network namespace of its own is held open by a sleeping process."""
    own = [
        *_runtime(), "--cgroup-manager", "cgroupfs", "--root", f"{directory}/storage",
        "--runroot", f"{directory}/run", "--tmpdir", f"{directory}/tmp",
        "--network-config-dir", f"{directory}/net",
    ]  # fmt: skip
    with subprocess.Popen(["unshare", "--net", "sleep", "infinity"]) as holder:
        try:
            inside = ["nsenter", f"--net=/proc/{holder.pid}/ns/net", "podman", *own]
            subprocess.run([*inside, "load", "-q", "-i", archive], check=True, stdout=subprocess.DEVNULL)
            yield CommandLine(inside, os.environ, *_PODMAN_OPTIONS)
        finally:
            subprocess.run([*inside, "rm", "--all", "--force", "--time", "0"], stdout=subprocess.DEVNULL)
            subprocess.run([*inside, "rmi", "--all", "--force"], stdout=subprocess.DEVNULL)
            holder.kill()


def _runtime() -> list[str]:
    """Debian's crun, which podman prefers, refuses hybrid cgroups: runc takes all."""
    return ["--runtime", "runc"] if shutil.which("runc") else []


@contextmanager
def _runc(archive: Path, directory: Path) -> Iterator[Peer]:
    peer = Runc(directory)
    try:
        yield peer
    finally:
        peer.remove()


_PEERS = {"docker": (_docker, dockerd_problem), "podman": (_podman, lambda: _missing("podman")),
          "runc": (_runc, lambda: _missing("runc"))}  # fmt: skip


def _missing(tool: str) -> str:
    return "" if shutil.which(tool) else f"{tool} is not installed"


@contextmanager
def peers(archive: Path) -> Iterator[tuple[dict[str, Peer], dict[str, str]]]:
    """The peers that work here, and why the others do not."""
    found: dict[str, Peer] = {}
    absent: dict[str, str] = {}
    with ExitStack() as stack:
        for name, (make, problem) in _PEERS.items():
            if reason := problem():
                absent[name] = reason
                continue
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"bench-{name}-")))
            try:
                found[name] = stack.enter_context(make(archive, directory))
            except AssertionError as error:
                absent[name] = f"does not work here: {error}"
            except subprocess.CalledProcessError as error:
                said = (error.stderr or b"").decode(errors="replace").strip()
                absent[name] = f"does not work here: {said or error}"
        yield found, absent
