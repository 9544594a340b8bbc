"""``corten build``: the engine asks for the files that it needs; what is ignored or known already is not sent."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support import contexts
from tests.support.command import Result
from tests.support.engine import Engine
from tests.support.user import User

pytestmark = [pytest.mark.root, pytest.mark.network]


def build(
    engine: Engine, where: Path, dockerfile: str, *options: str, files: Mapping[str, str | bytes] | None = None
) -> Result:
    return engine.cli("build", "-t", "made", *options, str(contexts.directory(where, dockerfile, files)), timeout=110)


def shown(engine: Engine, script: str) -> str:
    return engine.docker("run", "--rm", "--entrypoint", "sh", "made", "-c", script).check().out


def test_a_directory(shared_engine: Engine, tmp_path: Path) -> None:
    dockerfile = "FROM busybox\nARG A\nARG HOME_OF\nCOPY . /c\nRUN echo $A $HOME_OF > /a\n"
    files = {"f": "x", "d/g": b"\0\xff", "l": "-> d/g", "big": b"b" * 3_000_000, ".dockerignore": "*.log\n"}
    files["a.log"] = "x"
    options = (
        "--build-arg", "A=b", "--build-arg", "HOME", "--label", "l=m", "--iidfile", str(tmp_path / "id"),
        "--metadata-file", str(tmp_path / "told"), "--network", "none",
    )  # fmt: skip
    said = build(shared_engine, tmp_path / "c", dockerfile, *options, files=files).check()
    assert said.out == ""
    assert "Step 5/6 : RUN echo $A $HOME_OF > /a" in said.err
    image = shared_engine.api("GET", "/images/made/json").check().json
    assert (tmp_path / "id").read_text() == image["Id"]
    assert image["Id"] in (tmp_path / "told").read_text()
    assert image["Config"]["Labels"] == {"l": "m"}
    look = "cat /a /c/f; ls -A /c; wc -c < /c/big; od -An -tx1 /c/d/g; readlink /c/l; stat -c %u:%g /c/f"
    assert shown(shared_engine, look).split() == [
        "b", "x.dockerignore", "Dockerfile", "big", "d", "f", "l", "3000000", "00", "ff", "d/g", "0:0",
    ]  # fmt: skip


def test_a_name_with_bytes_that_are_no_text(shared_engine: Engine, tmp_path: Path) -> None:
    where = contexts.directory(tmp_path, "FROM busybox\nCOPY d /d\nRUN printf %s /d/* | od -An -tx1\n", {"d/x": ""})
    (where / "d/x").rename(os.fsdecode(os.fsencode(where) + b"/d/\xff\xc3\xa4"))
    assert " ff c3 a4" in shared_engine.cli("build", "--no-cache", str(where)).check().err


def test_unchanged_files_are_not_read_again(shared_engine: Engine, tmp_path: Path) -> None:
    dockerfile = "FROM busybox\nCOPY d /d\n"
    where = contexts.directory(tmp_path, dockerfile, {"d/old": "old", "d/new": "new"})
    past = (1_700_000_000, 1_700_000_000)
    os.utime(where / "d/old", past)
    build(shared_engine, where, dockerfile).check()
    again = shared_engine.cli("build", str(where)).check()
    assert "Using cache" in again.err
    (where / "d/new").write_text("newer")
    changed = shared_engine.cli("build", "-t", "made", str(where)).check()
    assert "Using cache" not in changed.err
    assert shown(shared_engine, "cat /d/old /d/new") == "oldnewer"


def test_from_standard_input(shared_engine: Engine, tmp_path: Path) -> None:
    said = shared_engine.cli("build", "-q", "-", stdin=b"FROM busybox\nLABEL a=b\n").check()
    assert said.out.startswith("sha256:")
    assert said.err == ""
    packed = contexts.archive({"Other": "FROM busybox\nCOPY f /f\n", "f": "x"}, mode="w:gz")
    shared_engine.cli("build", "-t", "made", "-f", "Other", "-", stdin=packed).check()
    assert shown(shared_engine, "cat /f") == "x"
    contexts.directory(tmp_path, "FROM nobody.invalid\n", {"f": "y"})
    shared_engine.cli("build", "-t", "made", "-f", "-", str(tmp_path), stdin=b"FROM busybox\nCOPY f /f\n").check()
    assert shown(shared_engine, "cat /f") == "y"


def test_a_dockerfile_elsewhere(shared_engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "Apart").write_text("FROM busybox\nCOPY f /f\n")
    files = {"f": "apart", "sub/Within": "FROM busybox\nCOPY f /g\n"}
    contexts.directory(tmp_path / "c", "FROM nobody.invalid\n", files)
    shared_engine.cli("build", "-t", "made", "-f", str(tmp_path / "Apart"), str(tmp_path / "c")).check()
    assert shown(shared_engine, "cat /f") == "apart"
    shared_engine.cli("build", "-t", "made", "-f", str(tmp_path / "c/sub/Within"), str(tmp_path / "c")).check()
    assert shown(shared_engine, "cat /g") == "apart"


def test_what_failed_is_said_last(shared_engine: Engine, tmp_path: Path) -> None:
    failed = build(shared_engine, tmp_path, "FROM busybox\nRUN echo why; exit 3\n", "-q")
    assert (failed.code, failed.out) == (1, "")
    assert failed.err == (
        "why\nDockerfile:2\n--------------------\n   1 |     FROM busybox\n   2 | >>> RUN echo why; exit 3\n   3 |\n"
        "--------------------\nERROR: The command '/bin/sh -c echo why; exit 3' returned a non-zero code: 3\n"
    )
    stages = (
        "FROM busybox AS a\nRUN echo first; sleep 0.5; seq 1 30; exit 4\nFROM busybox AS b\nRUN echo second; sleep 60\n"
        "FROM busybox\nCOPY --from=a /x /\nCOPY --from=b /x /\n"
    )
    plain = build(shared_engine, tmp_path, stages)
    told = plain.err[plain.err.index("------\n") :]
    assert told.startswith("------\n" + "".join(f"{number}\n" for number in range(11, 31)) + "------\nDockerfile:2\n")
    assert "   2 | >>> RUN echo first" in told
    assert told.endswith("returned a non-zero code: 4\n")
    refused = build(shared_engine, tmp_path, "FROM busybox\nNOSUCH\n")
    assert refused.code == 1
    assert "   2 | >>> NOSUCH\n" in refused.err
    assert "ERROR: dockerfile parse error on line 2: unknown instruction: NOSUCH\nexpected one of ADD, " in refused.err
    missing = shared_engine.cli("build", str(tmp_path / "missing"))
    assert missing.code == 1
    assert "not found" in missing.err


def test_links_are_told_and_not_followed(shared_engine: Engine, tmp_path: Path) -> None:
    contexts.directory(tmp_path, "FROM busybox\nCOPY . /c\n", {"l": "-> /etc/shadow", "d/m": "-> ../../../etc/shadow"})
    said = shared_engine.cli("build", "-t", "made", str(tmp_path)).check()
    assert "Step 2/2" in said.err
    assert shown(shared_engine, "readlink /c/l; readlink /c/d/m").split() == ["/etc/shadow", "../../../etc/shadow"]


def _cache(engine: Engine) -> list[dict[str, object]]:
    found: list[dict[str, object]] = engine.api("GET", "/v1.51/system/df?type=build-cache").check().json["BuildCache"]
    return found


def test_the_cache_is_told_and_pruned(shared_engine: Engine, tmp_path: Path) -> None:
    dockerfile = "FROM busybox\nRUN --mount=type=cache,target=/c head -c 300000 /dev/zero > /c/f; cp /c/f /pruned\n"
    build(shared_engine, tmp_path, dockerfile).check()
    (step,) = [one for one in _cache(shared_engine) if "/pruned" in str(one["Description"])]
    assert (step["Type"], step["InUse"], step["Shared"]) == ("regular", False, True)
    assert int(str(step["Size"])) > 300_000
    assert "Build Cache" in shared_engine.docker("system", "df").check().out
    kept = shared_engine.cli("builder", "prune", "-f", "--keep-storage", "1g").check()
    assert kept.out == "Total reclaimed space: 0B\n"
    assert "Using cache" in build(shared_engine, tmp_path, dockerfile).check().err
    shared_engine.docker("rmi", "made").check()
    assert "Using cache" in build(shared_engine, tmp_path, dockerfile).check().err  # the image's end is not the cache's
    shared_engine.docker("rmi", "made").check()
    gone = shared_engine.docker("builder", "prune", "-f").check().out
    assert str(step["ID"]) in gone
    assert _cache(shared_engine) == []
    assert "Using cache" not in build(shared_engine, tmp_path, dockerfile).check().err
    assert shown(shared_engine, "wc -c < /pruned") == "300000\n"


def test_what_of_the_cache_is_pruned(shared_engine: Engine, tmp_path: Path) -> None:
    for name in ("one", "two"):
        build(shared_engine, tmp_path / name, f"FROM busybox\nRUN echo prune {name} > /f\n").check()
    shared_engine.docker("rmi", "made").check()
    ids = {name: str(one["ID"]) for one in _cache(shared_engine) for name in ("one", "two")
           if f"prune {name}" in str(one["Description"])}  # fmt: skip
    young = shared_engine.docker("builder", "prune", "-f", "--filter", "until=24h").check().out
    assert young == "Total reclaimed space: 0B\n"
    gone = shared_engine.docker("builder", "prune", "-f", "--filter", f"id={ids['one']}").check().out
    assert (ids["one"] in gone, ids["two"] in gone) == (True, False)
    assert ids["two"] in {one["ID"] for one in _cache(shared_engine)}
    assert ids["two"] in shared_engine.cli("builder", "prune", "-a", "-f").check().out
    refused = shared_engine.api("POST", '/build/prune?filters={"nosuch":["x"]}')
    assert (refused.status, "invalid filter 'nosuch'" in refused.json["message"]) == (400, True)


def _reasons(said: str) -> list[str]:
    return [line.removeprefix(" ---> Not in the cache: ") for line in said.splitlines() if "Not in the cache" in line]


def test_why_a_step_is_not_in_the_cache(shared_engine: Engine, tmp_path: Path) -> None:
    dockerfile = "FROM busybox\nARG A\nENV B=c\nCOPY d /why\nRUN echo why $A\nWORKDIR /why/x\n"

    def why(dockerfile: str, *options: str, **files: str) -> list[str]:
        contents = {f"d/{name}": content for name, content in files.items()}
        return _reasons(build(shared_engine, tmp_path, dockerfile, "--why", *options, files=contents).check().err)

    assert why(dockerfile, f="1", g="2") == ["it has not been built before"] * 3
    assert why(dockerfile) == []
    stands = "what it stands on changed: a step before it"
    assert why(dockerfile, f="3", h="4") == ["file f changed", "file h is new", stands, stands]
    assert why(dockerfile, "--build-arg", "A=1") == ["variable A is new"]
    assert why(dockerfile.replace("B=c", "B=d"), "--build-arg", "A=2") == ["variable A changed", "variable B changed"]
    other = dockerfile.replace("why $A", "$A")
    assert why(other, "--build-arg", "A=2") == ["the command changed", "variable B changed"]
    assert why(dockerfile, "--build-arg", "A=2", "--no-cache") == ["the cache is not to be used"] * 3


def test_why_names_the_base(shared_engine: Engine, tmp_path: Path) -> None:
    ids = []
    for content in ("first", "second"):
        build(shared_engine, tmp_path / content, f"FROM busybox\nRUN echo {content} > /f\n", "-t", "below").check()
        ids.append(shared_engine.api("GET", "/images/below/json").check().json["Id"])
        said = build(shared_engine, tmp_path / "c", "FROM below\nRUN cat /f\n", "--why").check().err
    assert _reasons(said) == [f"the base image changed: it is {ids[1]}, and was {ids[0]}"]
    shared_engine.docker("rmi", "below").check()


def test_stages_are_built_at_the_same_time(shared_engine: Engine, tmp_path: Path) -> None:
    meeting = "RUN --mount=type=cache,id=meeting,target=/m touch /m/{0}; until [ -e /m/{1} ]; do sleep 0.05; done"
    dockerfile = (
        f"FROM busybox AS a\n{meeting.format('a', 'b')}\nFROM busybox AS b\n{meeting.format('b', 'a')}\n"
        "FROM busybox\nCOPY --from=a /etc/passwd /a\nCOPY --from=b /etc/passwd /b\n"
    )
    said = build(shared_engine, tmp_path, dockerfile).check().err
    steps = [line.split()[1] for line in said.splitlines() if line.startswith("Step ")]
    assert steps == [f"{number}/7" for number in range(1, 8)]  # told one after the other all the same


def test_an_ordinary_user(ordinary_user: User, tmp_path: Path) -> None:
    dockerfile = (
        "FROM busybox\nRUN touch /f && chown 77:77 /f\n"
        "COPY --chown=alice <<f /copied\nx\nf\nRUN stat -c %u /f /copied; id -u\n"
    )
    said = ordinary_user.cli("build", "--network", "none", "-t", "made", "-", stdin=dockerfile.encode()).check()
    assert "\n77\n1000\n0\n" in said.err
    assert ordinary_user.cli("run", "--rm", "--network", "none", "made", "stat", "-c", "%u", "/copied").out == "1000\n"


def test_outputs(shared_engine: Engine, tmp_path: Path) -> None:
    dockerfile = "FROM scratch\nCOPY f /d/f\nCOPY --chmod=755 f /x\nCOPY l /d/\n"
    (tmp_path / "c").mkdir()
    where = contexts.directory(tmp_path / "c", dockerfile, {"f": "content"})
    (where / "l").mkdir()
    (where / "l/up").symlink_to("/d/f")
    local, tar, image = (str(tmp_path / name) for name in ("local", "files.tar", "image.tar"))
    options = ("-o", local, "-o", f"type=tar,dest={tar}", "-o", f"type=docker,dest={image}")
    shared_engine.cli("build", "-t", "output", *options, str(where)).check()
    assert sorted(path.name for path in (tmp_path / "local").iterdir() if path.name in ("d", "x")) == ["d", "x"]
    assert (tmp_path / "local/d/up").read_text() == "content"
    assert os.access(tmp_path / "local/x", os.X_OK)
    with tarfile.open(tar) as archive:
        assert archive.extractfile("d/f").read() == b"content"  # type: ignore[union-attr]
    shared_engine.docker("rmi", "output").check()
    shared_engine.docker("load", "-i", image).check()
    assert shared_engine.api("GET", "/images/output/json").status == 200
    assert shared_engine.api("GET", "/containers/json?all=1").json == []
    refused = shared_engine.cli("build", "-o", "type=nothing", str(where))
    assert (refused.code, "it takes type=" in refused.err) == (1, True)
