"""Debian's dockerd, started by hand in a network and mount namespace of its own, on private directories."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
from pathlib import Path

from tests.support import http
from tests.support.bundles import executable
from tests.support.command import Cli
from tests.support.leaks import cgroups, removed
from tests.support.process import NotReady, descendants, end, kill_all, wait_until

_COUNT = itertools.count()
"""One process may have several: each with control groups of its own, or removing one would wait for the other's."""
_INSIDE = 'ip link set lo up && exec "$@"'


def dockerd_problem() -> str:
    """Why dockerd cannot be started here; '' when it can."""
    if os.geteuid() != 0:
        return "dockerd needs root"
    needed = ("dockerd", "containerd", "docker", "ip", "unshare")
    missing = [tool for tool in needed if not shutil.which(tool)]
    return f"not installed: {' '.join(missing)} (Debian: docker.io)" if missing else ""


class Dockerd:
    """One dockerd with its own containerd; its bridge lives in a network namespace that ends with it."""

    def __init__(self, directory: Path, *, apart: bool = True) -> None:
        """``apart``: in namespaces of its own; else in those of the caller, who has made some."""
        self.directory = directory
        self._apart = apart
        self.socket = directory / "docker.sock"
        self.cgroup = f"dockerd-{os.getpid()}-{next(_COUNT)}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Dockerd:
        """Start it and wait until it answers. Raises NotReady with the end of its log."""
        self.directory.mkdir(parents=True, exist_ok=True)
        runtime = executable(self.directory / "corten-runtime")
        (self.directory / "daemon.json").write_text(json.dumps({"runtimes": {"corten": {"path": str(runtime)}}}))
        own_namespaces = ["unshare", "--net", "--mount", "--propagation", "private", "sh", "-c", _INSIDE, "sh"]
        apart = own_namespaces if self._apart else []
        own = {**os.environ, "HOME": str(self.directory)}
        log = self.directory / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [*apart, *self._argv()], stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=own
            )
        try:
            wait_until(self._answers, "dockerd", seconds=60, pid=self._process.pid)
        except NotReady as error:
            raise NotReady(f"{error}\n{log.read_text(errors='replace')[-2000:]}") from None
        return self

    def _argv(self) -> list[str]:
        own = self.directory
        return [
            "dockerd",
            "--config-file",
            f"{own}/daemon.json",
            "--host",
            f"unix://{self.socket}",
            "--data-root",
            f"{own}/data",
            "--exec-root",
            f"{own}/exec",
            "--pidfile",
            f"{own}/pid",
            "--bip",
            "172.29.0.1/16",
            "--cgroup-parent",
            f"/{self.cgroup}",
            "--log-level",
            "warn",
            "--exec-opt",
            "native.cgroupdriver=cgroupfs",
        ]

    def _answers(self) -> bool:
        try:
            return http.request(self.socket, "GET", "/_ping", timeout=5).status == 200
        except OSError:
            return False

    @property
    def pid(self) -> int:
        """dockerd's process id (``unshare`` execs it)."""
        assert self._process is not None
        return self._process.pid

    def environment(self) -> dict[str, str]:
        """The environment of a client of this dockerd."""
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.directory),
            "TZ": "UTC",
            "LANG": "C.UTF-8",
            "DOCKER_HOST": f"unix://{self.socket}",
            "DOCKER_CONFIG": str(self.directory / "client"),
        }

    @property
    def docker(self) -> Cli:
        """The docker command line, bound to it."""
        return Cli(("docker",), self.environment())

    def remove(self) -> None:
        """Remove its containers, end it and containerd, and remove every file and cgroup."""
        if self._process is None:
            return
        if self._process.poll() is None:
            for name in self.docker("ps", "-aq").lines:
                self.docker("rm", "-f", name)
        below = descendants(self._process.pid)
        end(self._process)
        kill_all(below)
        for group in (
            *cgroups(self.cgroup),
            *Path("/sys/fs/cgroup").glob(f"*/{self.cgroup}"),
            *Path("/sys/fs/cgroup").glob(self.cgroup),
        ):
            wait_until(lambda group=group: removed(group), f"rmdir {group}")  # type: ignore[misc]
        shutil.rmtree(self.directory, ignore_errors=True)
