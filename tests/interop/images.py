"""The images that suites expect, under the names that they use: made here, from busybox and from Debian's packages."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.support import images
from tests.support.command import Cli

_HELLO = (
    b"#!/bin/sh\necho\necho 'Hello from Docker!'\n"
    b"echo 'This message shows that your installation appears to be working correctly.'\n"
)
_BUSYBOX = (
    "busybox:latest", "busybox:glibc", "busybox:musl", "busybox:buildroot-2013.08.1", "alpine:latest", "alpine:3.10",
    "alpine:3.20", "debian:bookworm-slim", "debian:bullseye-slim", "debian:stable", "hello-world:amd64",
    "hello-world:arm64",
)  # fmt: skip
_PACKAGES = ("python3", "redis-server", "nginx-light", "docker-registry")
"""What the Debian image has, for the suites that want a service."""
_REGISTRY = ('ENTRYPOINT ["docker-registry"]', 'CMD ["serve", "/etc/docker/registry/config.yml"]')
_DEBIAN: Sequence[tuple[str, Sequence[str]]] = (
    ("debian:latest", ('CMD ["bash"]',)),
    ("ubuntu:latest", ('CMD ["bash"]',)),
    ("python:3.13-alpine", ('CMD ["python3"]',)),
    ("python:3.14-alpine", ('CMD ["python3"]', "LABEL updated=true")),
    ("redis:latest", ('CMD ["redis-server", "--protected-mode", "no"]', "EXPOSE 6379")),
    ("nginx:latest", ('CMD ["nginx", "-g", "daemon off;"]', "EXPOSE 80")),
    ("registry:2", (*_REGISTRY, "EXPOSE 5000")),
)
_DEBIAN_HOOKS = (
    # apt's and the manuals' share is half of the image.
    "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    '--customize-hook=ln -s python3 "$1/usr/bin/python"',
    '--customize-hook=rm -rf "$1/var/lib/apt/lists" "$1/var/cache/apt"',
)  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True)
class Images:
    """Archives of the images, in a directory that is kept between runs."""

    directory: Path

    def make(self) -> None:
        """Make those that are not there. Raises AssertionError where busybox cannot be had."""
        problem = images.busybox_problem()
        assert not problem, problem
        self.directory.mkdir(parents=True, exist_ok=True)
        if not all(path.exists() for path in (*map(self._named, _BUSYBOX), self._hello)):
            self._make_busybox()
        if not self._debian.exists() and shutil.which("mmdebstrap"):
            self._make_debian()

    def _make_busybox(self) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            base = images.busybox_layer(Path(scratch))
        for name in _BUSYBOX:
            # Each is an image of its own: what a suite removes by its ID is not to take the others with it.
            images.docker_archive(self._named(name), name, [base], Hostname=name.replace(":", "-"))
        layers = [base, images.layer({"hello": _HELLO})]
        images.docker_archive(self._hello, "hello-world:latest", layers, Cmd=["/hello"])

    def _make_debian(self) -> None:
        unfinished = self._debian.with_suffix(".unfinished.tar")
        argv = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(_PACKAGES)}", *_DEBIAN_HOOKS]
        subprocess.run([*argv, "bookworm", str(unfinished)], stdin=subprocess.DEVNULL, check=True)
        unfinished.rename(self._debian)

    def _named(self, name: str) -> Path:
        return self.directory / f"{name.replace(':', '-')}.tar"

    @property
    def _debian(self) -> Path:
        return self.directory / "debian.tar"

    @property
    def _hello(self) -> Path:
        return self.directory / "hello.tar"

    def load_into(self, docker: Cli) -> None:
        """Load all of them through an engine's API, by the docker command line. Raises AssertionError."""
        for archive in (*map(self._named, _BUSYBOX), self._hello):
            docker("load", "-i", str(archive)).check()
        docker("tag", "hello-world:latest", "hello-world:frozen").check()

    def load_debian_into(self, docker: Cli) -> None:
        """The images that are made of Debian, which take longer; none where they could not be made."""
        if not self._debian.exists():
            return
        for name, changes in _DEBIAN:
            options = [word for change in changes for word in ("--change", change)]
            docker("import", *options, str(self._debian), name, timeout=300).check()
