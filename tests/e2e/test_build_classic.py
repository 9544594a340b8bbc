"""The same Dockerfile built by dockerd's classic builder and by Corten, for the same docker command: the images'
configuration and files."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import contexts
from tests.support.command import Cli
from tests.support.dockerd import Dockerd
from tests.support.engine import Engine

pytestmark = [pytest.mark.root, pytest.mark.network, pytest.mark.dockerd]

DOCKERFILE = """\
ARG NAME=one
FROM busybox AS first
ARG NAME
ARG GIVEN=no
RUN mkdir -p /o/p && echo $NAME $GIVEN > /o/p/f && ln -s p/f /o/l && chown -R 3:4 /o/p && chmod 4750 /o/p/f
FROM busybox
MAINTAINER somebody
ENV A=b C="d e"
ENV F g $A
LABEL l=$A "n o"='p q'
WORKDIR /w/x
WORKDIR y
COPY a ./
COPY a ../renamed
COPY d e.log /many/
COPY d/ /etc/
COPY --chown=5:6 d /owned/
COPY --from=first /o /o
ADD t.tar /t/
ADD d/b /added
RUN rm -r /many/e && ln /many/b /many/h && echo $F > /f
RUN ["touch", "/n m"]
RUN true
EXPOSE 80 53/udp
VOLUME /v /u
STOPSIGNAL SIGUSR1
SHELL ["/bin/sh", "-ec"]
USER 12:13
HEALTHCHECK --interval=5s --retries=4 CMD test -e /
ONBUILD RUN echo x
ENTRYPOINT echo $A
CMD ["b", "c"]
"""
FILES = {
    "a": "a", "d/b": "bb", "d/e/c": "ccc", "d/l": "-> ../a", "e.log": "", "d/no.tmp": "", ".dockerignore": "**/*.tmp\n",
    "t.tar": contexts.archive({"m": "m", "n": "-> m"}),
}  # fmt: skip
MEMBERS = (
    "User", "ExposedPorts", "Env", "Cmd", "Healthcheck", "Volumes", "WorkingDir", "Entrypoint", "OnBuild", "Labels",
    "StopSignal", "Shell",
)  # fmt: skip
LEFT_BY_STARTS = ("dev", "etc/hostname", "etc/hosts", "etc/mtab", "etc/resolv.conf", "proc", "sys", ".dockerenv")
"""What dockerd's containers have in their root besides the image, for all their mounts."""


def built(docker: Cli, where: Path) -> dict[str, Any]:
    """The configuration of the image, and by path each file's kind, mode, owner, link and content."""
    classic = Cli(docker.argv, {**docker.environment, "DOCKER_BUILDKIT": "0"})
    options = ("--build-arg", "GIVEN=yes", "--label", "more=z", "--no-cache", "-t", "compared")
    classic("build", *options, str(where), timeout=110).check()
    inspected = json.loads(classic("image", "inspect", "compared").check().out)[0]
    container = classic("create", "compared").check().out.strip()
    archive = where.parent / "root.tar"
    classic("export", "-o", str(archive), container).check()
    classic("rm", "-v", container).check()
    classic("rmi", "compared").check()
    classic("image", "prune", "-f").check()  # what the other stages were: others look at all images that there are
    config = {name: inspected["Config"].get(name) or None for name in MEMBERS}
    layers = len(inspected["RootFS"]["Layers"])
    return {**config, "Author": inspected["Author"], "layers": layers, "files": dict(_files(archive.read_bytes()))}


def _files(archive: bytes) -> Iterator[tuple[str, tuple[object, ...]]]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            path = member.name.removeprefix("./").strip("/")
            if path in ("", ".") or path.startswith(LEFT_BY_STARTS):
                continue
            file = tar.extractfile(member) if member.isreg() or member.islnk() else None
            content = hashlib.sha256(file.read()).hexdigest() if file else ""
            kind = "file" if file else member.type.decode()
            mode = member.mode & 0o7777 if not member.issym() else 0
            yield path, (kind, oct(mode), member.uid, member.gid, "" if file else member.linkname, content)


def test_configuration_and_files(shared_engine: Engine, dockerd: Dockerd, tmp_path: Path) -> None:
    where = contexts.directory(tmp_path / "c", DOCKERFILE, FILES)
    (where / "a").chmod(0o755)
    (where / "d/b").chmod(0o600)
    ours, theirs = built(shared_engine.docker, where), built(dockerd.docker, where)
    files, expected = ours.pop("files"), theirs.pop("files")
    assert {"w/x/y/a", "w/x/renamed", "owned/e/c", "o/l", "t/m", "many/h"} <= expected.keys()
    assert ours == theirs
    assert {path: row for path, row in files.items() if expected.get(path) != row} == {}
    assert expected.keys() - files.keys() == set()
