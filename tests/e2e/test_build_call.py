"""``build --check`` and ``build --call``: what a Dockerfile tells, with nothing built, pulled or run."""

from __future__ import annotations

import base64
import json
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import contexts
from tests.support.command import Cli, Result
from tests.support.engine import PROJECT, Engine
from tests.support.git import repository, served

pytestmark = [pytest.mark.root, pytest.mark.network]

DOCKERFILE = """\
# base is what all begins with
ARG base=busybox
# tools have the keys
FROM $base AS tools
# who is greeted
ARG who=world
RUN --mount=type=secret,id=token,required --mount=type=ssh exit 1
COPY keys.txt /keys
FROM tools
COPY --from=nobody.invalid/image /f /f
CMD echo $who
"""
CLEAN = "FROM busybox\nCOPY f /f\nCMD [\"true\"]\n"
RULE = "https://docs.docker.com/go/dockerfile/rule"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def engine(workspace: Path, busybox_archive: Path, port: int) -> Iterator[Engine]:
    """One that can be reached over TCP, too. Afterwards there is still nothing but what was loaded."""
    made = Engine(Path(tempfile.mkdtemp(dir=workspace)))
    made.options = (
        "-H", f"unix://{made.socket}", "-H", f"tcp://127.0.0.1:{port}", "--insecure-tcp-gives-root-to-everyone",
    )  # fmt: skip
    try:
        made.start().load(busybox_archive)
        yield made
        assert [one["RepoTags"] for one in made.api("GET", "/images/json").check().json] == [["busybox:latest"]]
        assert made.api("GET", "/system/df?type=build-cache").check().json["BuildCache"] == []
        assert made.api("GET", "/containers/json?all=1").check().json == []
    finally:
        made.remove()
    made.keep_contract()


@pytest.fixture(scope="module")
def where(tmp_path_factory: pytest.TempPathFactory) -> Path:
    files = {"f": "x", "keys.txt": "k", ".dockerignore": "*.txt\n", "Clean": CLEAN}
    return contexts.directory(tmp_path_factory.mktemp("context"), DOCKERFILE, files)


def call(engine: Engine, where: Path | str, *options: str, stdin: bytes | None = None) -> Result:
    return engine.cli("build", *options, str(where), stdin=stdin)


def told(result: Result) -> Any:
    assert result.err == ""
    return json.loads(result.out)


def test_a_check(engine: Engine, where: Path) -> None:
    found = call(engine, where, "--check", "-t", "never", "--iidfile", str(where / "id"), "-o", str(where / "out"))
    assert (found.code, found.err) == (1, "")
    assert found.lines[:9] == [
        "Check complete, 2 warnings have been found!",
        "",
        f"WARNING: CopyIgnoredFile - {RULE}/copy-ignored-file/",
        'Attempting to Copy file "keys.txt" that is excluded by .dockerignore',
        "Dockerfile:8",
        "--------------------",
        "   6 |     ARG who=world",
        "   7 |     RUN --mount=type=secret,id=token,required --mount=type=ssh exit 1",
        "   8 | >>> COPY keys.txt /keys",
    ]
    assert f"WARNING: JSONArgsRecommended - {RULE}/json-args-recommended/" in found.lines
    assert not (where / "id").exists()
    assert not (where / "out").exists()
    assert call(engine, where, "--call=lint").out == found.out
    ignoring = call(engine, where, "--call=check,ignorestatus=true", "--progress", "tty")
    assert (ignoring.code, ignoring.out) == (0, found.out)
    first = call(engine, where, "--check", "--target", "tools")
    assert (first.code, first.lines[0]) == (1, "Check complete, 1 warning has been found!")


def test_a_check_that_finds_nothing(engine: Engine, where: Path) -> None:
    found = call(engine, where, "--check", "-f", str(where / "Clean"))
    assert (found.code, found.out, found.err) == (0, "Check complete, no warnings found.\n", "")
    skipping = ("--check", "--build-arg", "BUILDKIT_DOCKERFILE_CHECK=skip=all")
    assert call(engine, where, *skipping).check().out == found.out
    packed = contexts.archive({"Dockerfile": CLEAN, "f": "x"})
    assert call(engine, "-", "--check", stdin=packed).check().out == found.out


def test_a_check_in_json(engine: Engine, where: Path) -> None:
    found = call(engine, where, "--call=check,format=json")
    result = told(found)
    assert found.code == 1
    assert [one["ruleName"] for one in result["warnings"]] == ["CopyIgnoredFile", "JSONArgsRecommended"]
    assert result["warnings"][1]["location"] == {"ranges": [{"start": {"line": 11}, "end": {"line": 11}}]}
    (source,) = result["sources"]
    assert (source["filename"], base64.b64decode(source["data"]).decode()) == ("Dockerfile", DOCKERFILE)
    clean = call(engine, where, "--call=check,format=json", "-f", str(where / "Clean")).check()
    assert told(clean)["warnings"] is None


def test_what_is_to_be_an_error(engine: Engine, where: Path) -> None:
    rules = "BUILDKIT_DOCKERFILE_CHECK=skip=CopyIgnoredFile;error=true"
    found = call(engine, where, "--call=check,ignorestatus=true", "--build-arg", rules)
    assert (found.code, found.lines[0]) == (1, "Check complete, 1 warning has been found!")
    assert "lint violation found for rules: JSONArgsRecommended" in found.err


def test_what_cannot_be_built_is_told_as_by_a_build(engine: Engine, where: Path) -> None:
    for text in (b"FROM busybox\nBOGUS\n", b"FROM busybox\nCMD x\nRUN --mount=type=bogus y\n", b""):
        built = call(engine, where, "-f", "-", stdin=text)
        error = [line for line in built.err.splitlines() if not line.startswith(("Step ", " --->", "[Warning]"))]
        for method in ("check", "outline", "check,format=json"):
            found = call(engine, where, f"--call={method}", "-f", "-", stdin=text)
            assert (found.code, found.err.splitlines()) == (built.code, error)
    result = json.loads(found.out)
    assert result["buildError"] == {"message": "dockerfile parse error: the Dockerfile cannot be empty", "location": {}}
    lost = call(engine, where, "--check", "--target", "other")
    assert (lost.code, 'target stage "other" could not be found' in lost.err) == (1, True)
    assert call(engine, where, "--check", "-f", "other").code == 1


def test_an_outline(engine: Engine, where: Path) -> None:
    assert call(engine, where, "--call=outline", "--target=tools", "--build-arg", "who=you").check().out == (
        "TARGET:      tools\nDESCRIPTION: have the keys\n\n"
        "BUILD ARG   VALUE     DESCRIPTION\nbase        busybox   is what all begins with\n"
        "who         you       is greeted\n"
        "\nSECRET   REQUIRED\ntoken    true\n\nSSH       REQUIRED\ndefault   \n\n"
    )
    result = told(call(engine, where, "--call=outline,format=json").check())
    assert [one["name"] for one in result["args"]] == ["base", "who"]
    assert (result["secrets"][0]["required"], "required" in result["ssh"][0], "name" in result) == (True, False, False)


def test_stages_and_methods(engine: Engine, where: Path) -> None:
    listed = call(engine, where, "--call=targets").check()
    assert listed.out == "TARGET    DESCRIPTION\ntools     have the keys\n(default) \n"
    first, last = told(call(engine, where, "--call=targets,format=json").check())["targets"]
    assert (first["base"], last["base"], last["default"]) == ("$base", "tools", True)
    methods = call(engine, where, "--call=subrequests.describe").check()
    assert methods.lines[1] == "outline              1.0.0   List all parameters current build target supports"


def test_a_base_that_is_not_here(engine: Engine, where: Path) -> None:
    """It is not asked for; what would hang on it is left out, and that is said."""
    text = b"FROM nobody.invalid/image AS one\nCMD $HOME_OF\nEXPOSE $PORT\nWORKDIR $DIRECTORY\nFROM one\nmaintainer a\n"
    found = call(engine, where, "--check", "-f", "-", stdin=text)
    assert found.err.startswith("[Warning] nobody.invalid/image is not here: ")
    assert [line.split()[1] for line in found.lines if line.startswith("WARNING")] == [
        "JSONArgsRecommended", "ConsistentInstructionCasing", "MaintainerDeprecated",
    ]  # fmt: skip
    assert call(engine, where, "--check", "-q", "-f", "-", stdin=text).err == ""
    busybox = ("--build-context", "nobody.invalid/image=docker-image://busybox")
    here = call(engine, where, "--check", "-f", "-", *busybox, stdin=text)
    assert (here.err, "Usage of undefined variable '$DIRECTORY'" in here.out) == ("", True)
    replaced = call(engine, where, "--check", "-f", "-", "--build-context", f"one={where}", stdin=text)
    assert (replaced.err, replaced.lines[0]) == ("", "Check complete, 2 warnings have been found!")


def test_an_image_for_another_platform(engine: Engine, where: Path) -> None:
    found = call(engine, where, "--check", "-f", str(where / "Clean"), "--platform", "linux/s390x")
    assert (found.code, "WARNING: InvalidBaseImagePlatform\nBase image busybox was pulled" in found.out) == (1, True)


def test_a_repository(engine: Engine, tmp_path: Path) -> None:
    repository(tmp_path / "made.git", {"Dockerfile": CLEAN, "f": "x", "sub/Other": "FROM busybox\nCMD x\n"})
    with served(tmp_path) as site:
        assert call(engine, f"{site}/made.git", "--check").check().out == "Check complete, no warnings found.\n"
        other = call(engine, f"{site}/made.git", "--check", "-f", "sub/Other")
        assert (other.code, "\nsub/Other:2\n" in other.out) == (1, True)


def test_over_tcp(engine: Engine, where: Path, port: int) -> None:
    plain = {name: text for name, text in engine.environment().items() if name != "CORTEN_ROOT"}
    far = Cli((sys.executable, str(PROJECT / "scripts/corten")), {**plain, "CORTEN_HOST": f"tcp://127.0.0.1:{port}"})
    (where / "secret").write_text("s")
    found = far("build", "--check", "--secret", f"id=s,src={where}/secret", str(where))
    assert (found.code, found.out) == (1, call(engine, where, "--check").out)


def test_requests_that_are_refused(engine: Engine, where: Path) -> None:
    packed = contexts.archive({"Dockerfile": CLEAN, "f": "x"})
    answer = engine.api("POST", "/build?call=check", packed, headers={"Content-Type": "application/x-tar"})
    assert (answer.status, "corten build --call has it" in answer.json["message"]) == (501, True)
    wrong = call(engine, where, "--call=bogus")
    assert (wrong.code, "the method is one of build, check, lint" in wrong.err) == (1, True)
    assert call(engine, where, "--check", "--call=outline").code == 1
