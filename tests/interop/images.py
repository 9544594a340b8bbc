"""The images that suites expect, under the names that they use: made here, from busybox and from Debian's packages."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from tests.support import images
from tests.support.command import Cli

_HELLO = (
    b"#!/bin/sh\necho\necho 'Hello from Docker!'\n"
    b"echo 'This message shows that your installation appears to be working correctly.'\n"
)
_BUSYBOX = (
    "busybox:glibc", "busybox:musl", "busybox:buildroot-2013.08.1", "alpine:latest", "alpine:3.10", "alpine:3.20",
    "debian:bookworm-slim", "debian:bullseye-slim", "hello-world:amd64", "hello-world:arm64", "debian:stable",
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
        if not self._busybox.exists():
            images.busybox_archive(self.directory)
        if not self._hello.exists():
            base = images.busybox_layer(self.directory)
            layers = [base, images.layer({"hello": _HELLO})]
            images.docker_archive(self._hello, "hello-world:latest", layers, Cmd=["/hello"])

    @property
    def _busybox(self) -> Path:
        return self.directory / "busybox.tar"

    @property
    def _hello(self) -> Path:
        return self.directory / "hello.tar"

    def load_into(self, docker: Cli) -> None:
        """Load all of them through an engine's API, by the docker command line. Raises AssertionError."""
        for archive in (self._busybox, self._hello):
            docker("load", "-i", str(archive)).check()
        for name in _BUSYBOX:
            docker("tag", "busybox:latest", name).check()
        docker("tag", "hello-world:latest", "hello-world:frozen").check()
