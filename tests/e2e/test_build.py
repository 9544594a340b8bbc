"""Builds through the docker command line's classic builder: what a Dockerfile says is what the image has."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import socket
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support import contexts
from tests.support.command import Result
from tests.support.engine import Engine
from tests.support.leaks import Footprint
from tests.support.process import wait_until

pytestmark = [pytest.mark.root, pytest.mark.network]

CLASSIC = {"DOCKER_BUILDKIT": "0"}


def build(
    engine: Engine, where: Path, dockerfile: str, *options: str, files: Mapping[str, str | bytes] | None = None
) -> Result:
    return engine.docker(
        "build", *options, str(contexts.directory(where, dockerfile, files)), env=CLASSIC, timeout=110
    )


def built(engine: Engine, where: Path, dockerfile: str, *options: str, **more: Any) -> Result:
    return build(engine, where, dockerfile, "-t", "made", *options, **more).check()


def shown(engine: Engine, script: str, image: str = "made") -> str:
    return engine.docker("run", "--rm", "--entrypoint", "sh", image, "-c", script).check().out


def config(engine: Engine, image: str = "made") -> dict[str, Any]:
    found: dict[str, Any] = engine.api("GET", f"/images/{image}/json").check().json["Config"]
    return found


def history(engine: Engine, image: str = "made") -> list[str]:
    told = engine.api("GET", f"/images/{image}/history").check().json
    return [one["CreatedBy"] for one in reversed(told)]


WHOLE = """\
ARG BASE=busybox
FROM ${BASE} AS one
RUN echo one > /one && echo err >&2
FROM busybox
RUN false
FROM busybox
ARG GREETING=none
ENV A=b C="d e"
WORKDIR /app/sub
COPY a.txt d /x/
COPY --from=one /one /copied
COPY a.txt renamed
ADD --chown=1000:alice --chmod=700 a.txt /y/
RUN echo $GREETING > /greeting; pwd > /pwd
RUN <<EOF
echo here > /doc
EOF
COPY --chmod=u=rwx,go=rx <<'script' /bin/hello
#!/bin/sh
echo hello $1
script
LABEL a=b
EXPOSE 80
USER alice
CMD ["hello", "world"]
"""
FILES = {"a.txt": "hello\n", "d/b": "bb", "d/l": "-> b"}


def test_the_whole_of_it(shared_engine: Engine, tmp_path: Path) -> None:
    said = built(shared_engine, tmp_path, WHOLE, "--build-arg", "GREETING=hey", "--label", "z=$y", files=FILES)
    lines = said.out.splitlines()
    assert lines[lines.index("Step 1/19 : ARG BASE=busybox") + 1] == "Step 2/19 : FROM ${BASE} AS one"
    assert "Step 4/19 : FROM busybox" in lines
    assert "Step 19/19 : LABEL z=$y" in lines
    assert "RUN false" not in said.out
    assert "\x1b[91merr" in said.out
    assert sum(line.startswith(" ---> Running in ") for line in lines) == 3
    image = shared_engine.api("GET", "/images/made/json").check().json
    assert lines[-2:] == [f"Successfully built {image['Id'][7:19]}", "Successfully tagged made:latest"]
    assert shared_engine.docker("run", "--rm", "made").check().out == "hello world\n"
    look = "cd /; cat x/a.txt x/b copied app/sub/renamed greeting pwd doc; readlink x/l"
    look += "; stat -c %u:%g:%a y/a.txt bin/hello"
    assert shown(shared_engine, look).split() == [
        "hello", "bbone", "hello", "hey", "/app/sub", "here", "b", "1000:1000:700", "0:0:755",
    ]  # fmt: skip


def test_configuration_and_history_are_as_the_classic_builder_writes_them(
    shared_engine: Engine, tmp_path: Path
) -> None:
    built(shared_engine, tmp_path, WHOLE, "--build-arg", "GREETING=hey", files=FILES)
    found = config(shared_engine)
    assert found["Env"][-2:] == ["A=b", "C=d e"]
    assert (found["WorkingDir"], found["User"], found["Cmd"]) == ("/app/sub", "alice", ["hello", "world"])
    assert (found["Labels"], found["ExposedPorts"]) == ({"a": "b"}, {"80/tcp": {}})
    lines = [re.sub("[0-9a-f]{64}", "DIGEST", line) for line in history(shared_engine)[1:]]
    assert lines == [
        "/bin/sh -c #(nop)  ARG GREETING=none", "/bin/sh -c #(nop)  ENV A=b C=d e",
        "/bin/sh -c #(nop) WORKDIR /app/sub", "/bin/sh -c #(nop) COPY multi:DIGEST in /x/ ",
        "/bin/sh -c #(nop) COPY multi:DIGEST in /copied ", "/bin/sh -c #(nop) COPY multi:DIGEST in renamed ",
        "/bin/sh -c #(nop) ADD --chown=1000:alice --chmod=700 multi:DIGEST in /y/ ",
        "|1 GREETING=hey /bin/sh -c echo $GREETING > /greeting; pwd > /pwd",
        "|1 GREETING=hey /bin/sh -c echo here > /doc\n #(key:DIGEST)",
        "/bin/sh -c #(nop) COPY --chmod=u=rwx,go=rx multi:DIGEST in /bin/hello ", "/bin/sh -c #(nop)  LABEL a=b",
        "/bin/sh -c #(nop)  EXPOSE 80/tcp", "/bin/sh -c #(nop)  USER alice",
        '/bin/sh -c #(nop)  CMD ["hello" "world"]',
    ]  # fmt: skip


def test_what_is_in_the_cache_is_not_done_again(shared_engine: Engine, tmp_path: Path) -> None:
    dockerfile = "FROM busybox\nCOPY f /f\nRUN cat f > /g; cat /proc/sys/kernel/random/uuid > /once\nLABEL a=b\n"
    first = built(shared_engine, tmp_path, dockerfile, files={"f": "1"}).lines
    (tmp_path / "f").unlink()
    again = built(shared_engine, tmp_path, dockerfile, files={"f": "1"}).lines  # another file of the same content
    assert [line for line in again if "Using cache" in line] == [" ---> Using cache"] * 3
    assert again[-2] == first[-2]
    once = shown(shared_engine, "cat /once")
    other = built(shared_engine, tmp_path, dockerfile, files={"f": "2"})
    assert "Using cache" not in other.out
    assert shown(shared_engine, "cat /g") == "2"
    built(shared_engine, tmp_path, dockerfile.replace("a=b", "a=c"), files={"f": "1"})
    assert (shown(shared_engine, "cat /once"), config(shared_engine)["Labels"]) == (once, {"a": "c"})
    anew = built(shared_engine, tmp_path, dockerfile, "--no-cache", files={"f": "1"})
    assert "Using cache" not in anew.out
    assert shown(shared_engine, "cat /once") != once


def test_a_file_that_was_opened_and_left_as_it_was_is_in_no_layer(shared_engine: Engine, tmp_path: Path) -> None:
    def layers(*commands: str) -> list[list[str]]:
        built(shared_engine, tmp_path, "".join(f"{line}\n" for line in ("FROM busybox", "RUN echo a > /f", *commands)))
        shared_engine.docker("save", "-o", str(tmp_path / "made.tar"), "made").check()
        with tarfile.open(tmp_path / "made.tar") as archive:
            manifest = json.load(archive.extractfile("manifest.json"))  # type: ignore[arg-type]
            files = [archive.extractfile(name) for name in manifest[0]["Layers"][2:]]
            return [tarfile.open(fileobj=file).getnames() for file in files]

    assert layers("RUN : >> /f; : >> /etc/passwd") == []
    assert layers("RUN : >> /f; mkdir /d") == [["d"]]
    assert layers("RUN cp -p /f /g; echo b > /f; cp -p /g /f; rm /g") == []
    assert layers("RUN touch -r /f /t; echo b > /f; touch -r /t /f; rm /t") == [["f"]]
    said = built(shared_engine, tmp_path, "FROM busybox\nRUN stat -c 'time %Y' /etc\n").out
    assert "time 0\n" in said  # the image's, though places were made in it to mount on


def test_a_command_that_fails(shared_engine: Engine, tmp_path: Path) -> None:
    before = shared_engine.footprint()
    failed = build(shared_engine, tmp_path, "FROM busybox\nRUN echo said; exit 7\nRUN echo never\n")
    assert failed.code == 7
    assert failed.err.splitlines()[-1] == "The command '/bin/sh -c echo said; exit 7' returned a non-zero code: 7"
    assert "said" in failed.out
    assert "never" not in failed.out
    assert shared_engine.api("GET", "/containers/json?all=1").json == []
    wait_until(lambda: not shared_engine.footprint().beyond(before), "the end of the build's container")


def test_triggers_of_an_image(shared_engine: Engine, tmp_path: Path) -> None:
    built(shared_engine, tmp_path / "a", "FROM busybox\nONBUILD COPY f /f\nONBUILD RUN cat /f > /g\n", "-t", "trigger")
    said = built(shared_engine, tmp_path / "b", "FROM trigger\nRUN cat /g\n", files={"f": "content\n"})
    assert "# Executing 2 build triggers" in said.lines
    assert "content" in said.lines
    assert not config(shared_engine)["OnBuild"]


def test_a_target_and_what_it_needs(shared_engine: Engine, tmp_path: Path) -> None:
    dockerfile = "FROM busybox AS a\nRUN echo a > /a\nFROM busybox AS b\nRUN false\nFROM a AS c\nRUN cat /a\n"
    said = built(shared_engine, tmp_path, dockerfile, "--target", "c")
    assert "Step 4/4 : RUN cat /a" in said.lines
    refused = build(shared_engine, tmp_path, dockerfile, "--target", "d")
    assert refused.code == 1
    assert 'target stage "d" could not be found' in refused.err


def test_archives_are_unpacked_by_add_alone(shared_engine: Engine, tmp_path: Path) -> None:
    inner = {"in/f": "file", "in/l": "-> f"}
    files = {
        "p.tar": contexts.archive(inner), "z.tar.gz": contexts.archive(inner, mode="w:gz"),
        "x.tar.xz": contexts.archive(inner, mode="w:xz"), "plain.gz": b"\x1f\x8b\x08 no archive",
    }  # fmt: skip
    dockerfile = "FROM busybox\nADD p.tar /p\nADD z.tar.gz x.tar.xz plain.gz /z/\nCOPY p.tar /c/\n"
    dockerfile += "ADD --unpack=false p.tar /u/\n"
    built(shared_engine, tmp_path, dockerfile, files=files)
    found = shown(shared_engine, "cat /p/in/l; cd /z; find . | sort; ls /c /u").split()
    assert found == ["file.", "./in", "./in/f", "./in/l", "./plain.gz", "/c:", "p.tar", "/u:", "p.tar"]


def test_links_in_the_root_are_followed_where_files_go(shared_engine: Engine, tmp_path: Path) -> None:
    dockerfile = "FROM busybox\nRUN mkdir -m 751 /real; chown 5:6 /real; ln -s real /short; ln -s /nowhere/yet /later\n"
    dockerfile += "COPY f /short/\nCOPY f /later\n"
    built(shared_engine, tmp_path, dockerfile, files={"f": "x"})
    look = "stat -c %F:%a:%u /short /real; ls /real; readlink /later; cat /nowhere/yet"
    told = shown(shared_engine, look).splitlines()
    assert told == ["symbolic link:777:0", "directory:751:5", "f", "/nowhere/yet", "x"]


def test_ignored_files_are_not_there(shared_engine: Engine, tmp_path: Path) -> None:
    files = {".dockerignore": "*.log\n!keep.log\nd\n", "a.log": "", "keep.log": "", "d/f": "", "g": ""}
    packed = contexts.archive({"Dockerfile": "FROM busybox\nCOPY . /c\nRUN ls -a /c\n", **files})
    answer = shared_engine.api(
        "POST", "/build?q=0", packed, headers={"Content-Type": "application/x-tar"}
    ).check()  # a client that sends all of it
    told = [json.loads(line).get("stream", "") for line in answer.body.splitlines()]
    at = told.index(".\n")
    assert told[at : at + 6] == [".\n", "..\n", ".dockerignore\n", "Dockerfile\n", "g\n", "keep.log\n"]


@pytest.mark.parametrize(
    ("dockerfile", "files", "cause"),
    [
        ("FROM busybox\nCOPY ../x /\n", {}, "forbidden path outside the build context: ../x"),
        ("FROM busybox\nCOPY out /\n", {"out": "-> ../../../etc/passwd"}, '"/out": not found'),
        ("FROM busybox\nCOPY out/passwd /\n", {"out": "-> /etc"}, '"/out/passwd": not found'),
        ("FROM busybox\nCOPY nothing /\n", {}, '"/nothing": not found'),
        ("FROM busybox\nCOPY a b /c\n", {"a": "", "b": ""}, "the destination must be a directory and end with a /"),
        ("FROM busybox\nADD --checksum=sha256:" + "0" * 64 + " a /\n", {"a": ""}, "checksum"),
        ("FROM busybox\nNOSUCH a\n", {}, "dockerfile parse error on line 2: unknown instruction: NOSUCH"),
        ("RUN a\n", {}, "no build stage in current context"),
        ("FROM busybox\nCOPY --from=nobody.invalid/x /a /\n", {}, "nobody.invalid"),
        ("FROM scratch\nRUN a\n", {}, "/bin/sh"),
        ("FROM busybox\nCOPY a /bin\nCOPY d /bin/sh\n", {"a": "", "d/f": ""}, "cannot copy to non-directory"),
    ],
)
def test_refusals(shared_engine: Engine, tmp_path: Path, dockerfile: str, files: dict[str, str], cause: str) -> None:
    refused = build(shared_engine, tmp_path, dockerfile, files=files)
    assert refused.code == 1
    assert cause in refused.err


def test_an_archive_that_climbs_is_refused(shared_engine: Engine) -> None:
    packed = contexts.archive({"Dockerfile": "FROM scratch\n", "../../escaped": "x"})
    answer = shared_engine.api("POST", "/build", packed, headers={"Content-Type": "application/x-tar"})
    assert (answer.status, answer.json["message"]) == (400, "read the archive: '../../escaped' leads out of it")


def test_quiet_and_several_names(shared_engine: Engine, tmp_path: Path) -> None:
    said = built(shared_engine, tmp_path, "FROM busybox\nLABEL quiet=1\nRUN echo loud\n", "-q", "-t", "other:tag")
    image = shared_engine.api("GET", "/images/other:tag/json").check().json
    assert said.out == f"{image['Id']}\n"
    assert sorted(image["RepoTags"]) == ["made:latest", "other:tag"]


def test_build_checks_are_warnings_or_errors(shared_engine: Engine, tmp_path: Path) -> None:
    dockerfile = "FROM busybox\nMAINTAINER somebody\n"
    assert "[Warning] MaintainerDeprecated: Maintainer instruction is deprecated" in built(
        shared_engine, tmp_path / "warned", dockerfile
    ).out
    refused = build(shared_engine, tmp_path / "refused", f"# check=error=true\n{dockerfile}")
    assert (refused.code, "lint violation found for rules: MaintainerDeprecated" in refused.err) == (1, True)
    skipped = built(shared_engine, tmp_path / "skipped", f"# check=skip=MaintainerDeprecated\n{dockerfile}")
    assert "[Warning]" not in skipped.out


def test_checks_that_need_what_a_stage_begins_with(shared_engine: Engine, tmp_path: Path) -> None:
    dockerfile = (
        'FROM busybox AS base\nSHELL ["/bin/sh", "-c"]\nWORKDIR /w\n'
        "FROM base AS other\nWORKDIR sub\nCMD echo\n"
        "FROM busybox\nARG API_TOKEN\nWORKDIR relative\nENV X=$NOBODY$PATH\nCOPY --from=other /bin/sh .\n"
        "COPY *.md ./\nENTRYPOINT true\nENTRYPOINT exec true\nEXPOSE 80/TCP\n"
    )
    files = {"b.md": ""}
    said = built(shared_engine, tmp_path, dockerfile, files=files)
    found = [" ".join(pair) for pair in re.findall(r"\[Warning\] (\w+): .* \(line (\d+)\)", said.out)]
    assert found == [
        "SecretsUsedInArgOrEnv 8", "WorkdirRelativePath 9", "UndefinedVar 10", "JSONArgsRecommended 13",
        "MultipleInstructionsDisallowed 13", "JSONArgsRecommended 14", "ExposeProtoCasing 15",
    ]  # fmt: skip
    refused = build(shared_engine, tmp_path, f"# check=error=true\n{dockerfile}", files=files)
    assert refused.code == 1
    assert "lint violation found for rules: " in refused.err
    assert "RUN" not in refused.out


def test_an_ignored_file_and_another_platform_are_warned_of(shared_engine: Engine, tmp_path: Path) -> None:
    files = {".dockerignore": "d/*.log\n", "d/a.log": "", "d/b": ""}
    where = contexts.directory(tmp_path / "a", "FROM scratch\nCOPY d /\nCOPY d/a.log /\n", files)
    refused = shared_engine.cli("build", str(where))
    assert refused.code == 1
    told = "[Warning] CopyIgnoredFile: Attempting to Copy file \"d/a.log\" that is excluded by .dockerignore (line 3)"
    assert told in refused.err
    built(shared_engine, tmp_path / "b", "FROM scratch\nCOPY f /\n", "--platform", "linux/arm64", files={"f": ""})
    said = built(shared_engine, tmp_path / "c", "FROM made\nLABEL a=b\n", "-t", "other")
    assert "[Warning] InvalidBaseImagePlatform: Base image made was pulled with platform" in said.out


def test_from_nothing(shared_engine: Engine, tmp_path: Path) -> None:
    dockerfile = 'FROM scratch\nCOPY --from=busybox /bin/busybox /sh\nENTRYPOINT ["/sh", "-c"]\n'
    built(shared_engine, tmp_path, dockerfile)
    assert shared_engine.docker("run", "--rm", "made", "echo hi").check().out == "hi\n"


def test_what_stands_on_nothing_is_the_same_image_again(shared_engine: Engine, tmp_path: Path) -> None:
    dockerfile = "FROM scratch\nENV a=b\nCOPY x /\n"
    ids = []
    for place, lines in enumerate((dockerfile, dockerfile, "FROM scratch\nENV a=b\n", "FROM scratch\nENV a=b\n")):
        built(shared_engine, tmp_path / str(place), lines, files={"x": "1"})
        ids.append(shared_engine.api("GET", "/images/made/json").check().json["Id"])
    assert (ids[0], ids[2]) == (ids[1], ids[3])
    built(shared_engine, tmp_path / "anew", dockerfile, "--no-cache", files={"x": "1"})
    assert shared_engine.api("GET", "/images/made/json").check().json["Id"] != ids[0]


def test_a_dockerfile_from_standard_input_beside_a_context(shared_engine: Engine, tmp_path: Path) -> None:
    where = contexts.directory(tmp_path, "", {"x": "hello"})
    dockerfile = b"FROM busybox\nARG known\nCOPY x /x\nRUN cat /x\n"
    said = shared_engine.docker(
        "build", "--build-arg", "known", "--build-arg", "stray", "-f", "-", str(where), stdin=dockerfile, env=CLASSIC
    ).check()  # fmt: skip
    assert "hello" in said.out
    assert "[Warning] One or more build-args [stray] were not consumed" in said.out


def test_dns_and_limits_of_commands(shared_engine: Engine, tmp_path: Path) -> None:
    dockerfile = "FROM busybox\nRUN grep far /etc/hosts; ls /sys/class/net\n"
    said = built(shared_engine, tmp_path, dockerfile, "--add-host", "far:10.1.2.3", "--network", "none").out
    assert "10.1.2.3\tfar" in said
    assert "eth0" not in said


def test_a_client_that_goes_leaves_nothing(shared_engine: Engine, tmp_path: Path) -> None:
    where = contexts.directory(tmp_path, "FROM busybox\nRUN echo begun; sleep 1000\n")
    before = shared_engine.footprint()
    command = shared_engine.docker.command("build", "--no-cache", str(where))
    environment = {**shared_engine.docker.environment, **CLASSIC}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as client:
        assert client.stdout is not None
        assert any(line == b"begun\n" for line in client.stdout)
        client.kill()
    wait_until(lambda: not shared_engine.footprint().beyond(before), "the end of the build's container")
    assert shared_engine.api("GET", "/containers/json?all=1").json == []


def test_a_client_that_goes_in_the_midst_of_its_context_leaves_nothing(shared_engine: Engine) -> None:
    before = shared_engine.footprint()
    packed = contexts.archive({"Dockerfile": "FROM busybox\n", "f": b"x" * 500_000})
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(shared_engine.socket))
        head = f"POST /build HTTP/1.1\r\nHost: a\r\nContent-Length: {len(packed)}\r\n\r\n"
        client.sendall(head.encode() + packed[:300_000])
        wait_until(lambda: bool(shared_engine.footprint().beyond(before)), "a worker that reads it")
    wait_until(lambda: not shared_engine.footprint().beyond(before), "the end of the worker")
    assert "Traceback" not in shared_engine.said()


def _left(engine: Engine, before: Footprint) -> list[str]:
    """What is there of a build, besides another engine and spawner."""
    return [one for one in engine.footprint().beyond(before) if "corten" not in one or "sleep" in one]


def test_a_build_of_an_engine_that_dies_leaves_nothing(engine: Engine, busybox: str, tmp_path: Path) -> None:
    where = contexts.directory(tmp_path, f"FROM {busybox}\nRUN echo kept > /f\nRUN echo begun; sleep 1000\n")
    before = engine.footprint()
    command = engine.docker.command("build", str(where))
    environment = {**engine.docker.environment, **CLASSIC}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as client:
        assert client.stdout is not None
        assert any(line == b"begun\n" for line in client.stdout)
        engine.kill()
    engine.start()
    wait_until(lambda: not _left(engine, before), "the end of the build's container")
    unnamed = [one for one in engine.api("GET", "/images/json?all=1").json if busybox not in one["RepoTags"]]
    assert [history(engine, one["Id"])[-1] for one in unnamed] == ["/bin/sh -c echo kept > /f"]
    where = contexts.directory(tmp_path, f"FROM {busybox}\nRUN echo kept > /f\nRUN cat /f\n")
    said = engine.docker("build", str(where), env=CLASSIC).check()
    assert " ---> Using cache" in said.lines
    assert "kept" in said.lines


COMPOSE = """\
version: "3.8"
services:
  page:
    image: page
    build:
      context: .
      args: {GREETING: hey}
      labels: {part: front}
      target: page
    command: cat /greeting
"""


def test_docker_compose_builds_what_it_starts(shared_engine: Engine, tmp_path: Path) -> None:
    if not shutil.which("docker-compose"):
        pytest.skip("not installed: docker-compose")
    dockerfile = "FROM busybox AS page\nARG GREETING\nRUN echo $GREETING > /greeting\nFROM busybox\nRUN false\n"
    contexts.directory(tmp_path, dockerfile, {"docker-compose.yml": COMPOSE})
    compose = dataclasses.replace(shared_engine.docker, argv=("docker-compose",))
    where = ("-p", "pages", "-f", str(tmp_path / "docker-compose.yml"))
    try:
        said = compose(*where, "build", env={**CLASSIC, "COMPOSE_DOCKER_CLI_BUILD": "0"}, timeout=110).check()
        assert "Successfully tagged page:latest" in said.out
        assert config(shared_engine, "page")["Labels"]["part"] == "front"
        assert shown(shared_engine, "cat /greeting", "page") == "hey\n"
    finally:
        compose(*where, "down", timeout=110)
