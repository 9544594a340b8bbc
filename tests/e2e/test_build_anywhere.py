"""Builds by all kinds of engines: root's and ordinary users', with layers kept in each form. The same bits come of them
all, and what one has built the next one takes."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support import contexts
from tests.support.command import Cli
from tests.support.engine import Engine
from tests.support.user import User

pytestmark = [pytest.mark.root, pytest.mark.network]

EPOCH = ("--build-arg", "SOURCE_DATE_EPOCH=1700000000")
SAME = """\
FROM busybox AS one
WORKDIR /w/x
RUN mkdir /d && echo a > /d/f && ln /d/f /d/g && date > /dev/null && hostname > /d/h && chown 7:8 /d/h
FROM busybox
RUN rm -r /etc/group && rm -r /home && mkdir -p /home/z /home/b && mkfifo /home/p && : > /home/e
COPY . /c
COPY --from=one /d /d
ADD p.tar /p/
COPY --chown=alice --chmod=u=rwX,go= <<here /here/
x
here
RUN touch /t && chmod 4700 /c/f && mv /d/f /d/moved && env > /env
CMD ["a"]
"""
FILES = {"f": "x", "s/g": "y", "l": "-> s/g", "p.tar": contexts.archive({"in": "z", "n/l": "-> ../in"})}


def inspected(cli: Cli, image: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = json.loads(cli("image", "inspect", image).check().out)
    return found[0]


@contextmanager
def own(user: User, name: str) -> Iterator[Path]:
    """A directory in the home of a user, removed whatever happens."""
    where = user.home / name
    where.mkdir(mode=0o700)
    os.chown(where, user.uid, user.gid)
    try:
        yield where
    finally:
        shutil.rmtree(where)


def test_the_same_bits(
    shared_engine: Engine, engine: Engine, busybox: str, ordinary_user: User, lone_user: User
) -> None:
    packed = contexts.archive({"Dockerfile": SAME, **FILES})
    engine.stop()
    engine.start("--snapshotter", "overlay")
    told = []
    for cli in (shared_engine.cli, engine.cli, ordinary_user.cli):
        said = cli("build", "-q", "--no-cache", "--network", "none", *EPOCH, "-", stdin=packed, timeout=110).check()
        image = inspected(cli, said.out.strip())
        told.append((image["Id"], image["Descriptor"]["digest"], image["Created"], image["RootFS"]["Layers"]))
    assert told[1:] == told[:1] * 2
    assert told[0][2].startswith("2023-11-14T22:13:20")
    plain = b"FROM busybox\nRUN mkdir /d; echo a > /d/f; hostname > /d/h\n"  # a single id has no owners to give
    ids = {
        cli("build", "-q", "--no-cache", "--network", "none", *EPOCH, "-", stdin=plain, timeout=110).check().out
        for cli in (shared_engine.cli, lone_user.cli)
    }
    assert len(ids) == 1


def test_what_one_engine_has_built_another_takes(
    shared_engine: Engine, engine: Engine, busybox: str, ordinary_user: User, tmp_path: Path
) -> None:
    dockerfile = "FROM busybox\nRUN cat /proc/sys/kernel/random/uuid > /u\nCOPY f /f\nRUN chown 7:8 /f; cat /u\n"
    packed = contexts.archive({"Dockerfile": dockerfile, "f": "x"})
    build = ("build", "-t", "made", "--network", "none")
    cache = tmp_path / "cache"
    shared_engine.cli(*build, "--cache-to", f"type=local,dest={cache}", "-", stdin=packed).check()
    made = inspected(shared_engine.cli, "made")["RootFS"]["Layers"]
    said = engine.cli(*build, "--cache-from", f"type=local,src={cache}", "-", stdin=packed).check().err
    assert (said.count("Using cache"), inspected(engine.cli, "made")["RootFS"]["Layers"]) == (3, made)
    with own(ordinary_user, "taken") as where:
        shutil.copytree(cache, where / "cache")
        for path in (where, *where.rglob("*")):
            os.chown(path, ordinary_user.uid, ordinary_user.gid)
        options = ("--cache-from", f"type=local,src={where}/cache", "--cache-to", f"type=local,dest={where}/back")
        said = ordinary_user.cli(*build, *options, "-", stdin=packed).check().err
        assert (said.count("Using cache"), inspected(ordinary_user.cli, "made")["RootFS"]["Layers"]) == (3, made)
        look = ("run", "--rm", "--network", "none", "made", "stat", "-c", "%u:%g", "/f")
        assert ordinary_user.cli(*look).check().out == "7:8\n"
        engine.cli("rmi", "made").check()
        engine.cli("builder", "prune", "-f").check()
        said = engine.cli(*build, "--cache-from", f"type=local,src={where}/back", "-", stdin=packed).check().err
        assert (said.count("Using cache"), inspected(engine.cli, "made")["RootFS"]["Layers"]) == (3, made)


def test_a_whole_build_of_an_ordinary_user(ordinary_user: User) -> None:
    """Each kind of mount, owner and source; the outputs are the user's own."""
    user, secret = ordinary_user, "hunter2-of-a-user"
    dockerfile = (
        "FROM busybox AS one\nRUN mkdir /o && echo one > /o/f && chown 7:8 /o/f && ln -s f /o/l\nFROM busybox\n"
        "COPY --from=one /o /o\nADD --chown=5 p.tar /p/\nCOPY --parents s/g /parents/\n"
        "RUN --mount=type=secret,id=s wc -c < /run/secrets/s > /size; stat -c %u:%a /run/secrets/s >> /size\n"
        "RUN --mount=type=cache,target=/cache echo x >> /cache/f; wc -l < /cache/f > /lines\n"
        "RUN --mount=type=tmpfs,target=/m,size=1m echo x > /m/f; df /m | tail -n 1 > /df\n"
        "RUN --mount=from=one,source=/o,target=/b --mount=target=/ctx stat -c %u:%g /b/f > /own; cat /ctx/f >> /own\n"
        "USER alice\nWORKDIR /home/alice/w\nRUN id -u > id; pwd >> id\n"
    )
    with own(user, "building") as where:
        contexts.directory(where / "c", dockerfile, FILES)
        (where / "s").write_text(secret)
        for path in (where, *where.rglob("*")):
            os.chown(path, user.uid, user.gid, follow_symlinks=False)
        options = (
            "--network", "none", "-t", "made", "--secret", f"id=s,src={where}/s", "-o", f"{where}/out", "-o",
            f"type=oci,dest={where}/made.tar", "--iidfile", f"{where}/id",
        )  # fmt: skip
        said = user.cli("build", *options, str(where / "c"), timeout=110).check()
        assert secret not in said.err
        out = where / "out"
        assert (out / "size").read_text() == f"{len(secret)}\n0:400\n"
        assert ((out / "lines").read_text(), (out / "own").read_text()) == ("1\n", "7:8\nx")
        assert (out / "home/alice/w/id").read_text() == "1000\n/home/alice/w\n"
        assert ((out / "parents/s/g").read_text(), (out / "p/n/l").readlink()) == ("y", Path("../in"))
        assert {path.lstat().st_uid for path in out.rglob("*")} == {user.uid}
        with tarfile.open(where / "made.tar") as archive:
            assert "oci-layout" in archive.getnames()
        assert (where / "id").read_text() == inspected(user.cli, "made")["Id"]
        look = "stat -c %u:%g /o/f /p/in /home/alice/w; readlink /o/l; ls -A /cache /m /run/secrets 2> /dev/null; true"
        found = user.cli("run", "--rm", "--network", "none", "made", "sh", "-c", look).check().out
        assert found.split() == ["7:8", "5:5", "1000:1000", "f"]
        again = user.cli("build", *options, str(where / "c"), timeout=110).check()
        assert again.err.count("Using cache") >= 10
        failed = user.cli("build", "--network", "none", "-", stdin=b"FROM busybox\nRUN echo why; exit 3\n")
        assert (failed.code, "returned a non-zero code: 3" in failed.err) == (1, True)
    assert user.cli("builder", "prune", "-f").check().out.startswith("Deleted")
