"""``RUN --mount``: what a command sees and no layer keeps."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support import contexts
from tests.support.command import Result
from tests.support.engine import Engine

pytestmark = [pytest.mark.root, pytest.mark.network]

SECRET = "hunter2-of-nobody"


def build(
    engine: Engine, where: Path, dockerfile: str, *options: str, files: Mapping[str, str | bytes] | None = None,
    env: Mapping[str, str] | None = None,
) -> Result:  # fmt: skip
    where = contexts.directory(where, dockerfile, files)
    return engine.cli("build", "-t", "made", *options, str(where), timeout=110, env=env)


def shown(engine: Engine, script: str) -> str:
    return engine.docker("run", "--rm", "--entrypoint", "sh", "made", "-c", script).check().out


def everywhere(engine: Engine) -> list[str]:
    """The files of the data root and the run directory that hold the secret."""
    places = [str(engine.root), str(engine.names.run)]
    done = subprocess.run(["grep", "-rl", SECRET, *places], capture_output=True, text=True)
    return done.stdout.splitlines()


def test_a_secret_is_seen_and_kept_nowhere(shared_engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(SECRET)
    dockerfile = (
        "FROM busybox\n"
        "RUN --mount=type=secret,id=token,required=true wc -c < /run/secrets/token > /size;"
        " stat -c %a:%u /run/secrets/token > /mode\n"
        "RUN --mount=type=secret,id=token,target=/etc/deep/t,mode=444,uid=1000 stat -c %a:%u /etc/deep/t > /mine\n"
        "RUN --mount=type=secret,id=token,env=TOKEN echo ${#TOKEN} > /length; env | grep -c TOKEN=\n"
        "RUN --mount=type=secret,id=other ls /run/secrets 2>/dev/null | wc -l > /none\n"
    )
    said = build(shared_engine, tmp_path / "c", dockerfile, "--secret", f"id=token,src={tmp_path / 'token'}").check()
    assert SECRET not in said.err
    assert shown(shared_engine, "cat /size /mode /mine /length /none").split() == ["17", "400:0", "444:1000", "17", "0"]
    assert shown(shared_engine, "ls -d /run/secrets /etc/deep 2>/dev/null || true") == ""
    told = shared_engine.api("GET", "/images/made/history").check().body + shared_engine.said().encode()
    assert SECRET.encode() not in told
    assert everywhere(shared_engine) == []


def test_a_secret_of_the_environment_and_one_that_is_missing(shared_engine: Engine, tmp_path: Path) -> None:
    dockerfile = "FROM busybox\nRUN --mount=type=secret,id=A,required=true cat /run/secrets/A | wc -c\n"
    said = build(shared_engine, tmp_path, dockerfile, "--secret", "id=A,env=MINE", env={"MINE": "12345"}).check()
    assert "\n5\n" in said.err
    refused = build(shared_engine, tmp_path, dockerfile, "--no-cache")
    assert (refused.code, refused.err.splitlines()[-2]) == (1, "ERROR: secret A: not found")


def test_a_secret_of_an_engine_that_died_is_gone(engine: Engine, busybox: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(SECRET)
    step = "RUN --mount=type=secret,id=t cat /run/secrets/t >/dev/null; echo begun; sleep 1000"
    where = contexts.directory(tmp_path / "c", f"FROM {busybox}\n{step}\n")
    command = engine.cli.command("build", "--secret", f"id=t,src={tmp_path / 'token'}", str(where))
    with subprocess.Popen(command, env=engine.cli.environment, stderr=subprocess.PIPE) as client:
        assert client.stderr is not None
        assert any(line == b"begun\n" for line in client.stderr)
        assert everywhere(engine) != []
        engine.kill()
        client.send_signal(signal.SIGKILL)
    engine.start()
    assert everywhere(engine) == []


def test_files_of_the_context_of_stages_and_images(shared_engine: Engine, tmp_path: Path) -> None:
    files = {"src/a": "from here", "src/l": "-> a", "one": "1"}
    dockerfile = (
        "FROM busybox AS other\nRUN mkdir /out && echo there > /out/f && chown 7:8 /out/f\n"
        "FROM busybox\nWORKDIR /w\n"
        "RUN --mount=type=bind,source=src,target=/s cat /s/l > /a; touch /s/new 2>/dev/null || echo ro > /ro\n"
        "RUN --mount=source=one,target=single cat single > /b\n"
        "RUN --mount=from=other,source=/out,target=/o cat /o/f > /c; stat -c %u:%g /o/f >> /c\n"
        "RUN --mount=from=busybox,source=/etc,target=/i grep -c alice /i/passwd > /d\n"
        "RUN --mount=target=.,rw echo changed > one && cat one > /e\n"
        "RUN ls /s /o /i /w/single 2>/dev/null; ls -A /w | wc -l > /left\n"
    )
    build(shared_engine, tmp_path, dockerfile, files=files).check()
    look = "cat /a /ro /b /c /d /e; ls -d /s /o /i 2>/dev/null; ls -A /w"
    assert shown(shared_engine, f"{look} || true").split() == [
        "from", "herero", "1there", "7:8", "1", "changed",
    ]  # fmt: skip
    assert (tmp_path / "one").read_text() == "1"
    again = build(shared_engine, tmp_path, dockerfile, files={"src/a": "changed"}).check()
    assert again.err.count("Using cache") == 2  # the other stage's, and WORKDIR
    assert shown(shared_engine, "cat /a") == "changed"


@pytest.mark.parametrize(
    ("mount", "cause"),
    [
        ("source=../x,target=/x", "forbidden path outside the build context: ../x"),
        ("source=out,target=/x", '"/out": not found'),
        ("source=out/passwd,target=/x", '"/out/passwd": not found'),
        ("from=busybox,source=/nowhere,target=/x", '"/nowhere": not found'),
        ("type=ssh,required=true", "ssh default: no agent was given"),
        ("type=bind,source=src", "it needs a target"),
    ],
)
def test_sources_that_are_refused(shared_engine: Engine, tmp_path: Path, mount: str, cause: str) -> None:
    files = {"out": "-> /etc", "src/f": ""}
    refused = build(shared_engine, tmp_path, f"FROM busybox\nRUN --mount={mount} true\n", files=files)
    assert refused.code == 1
    assert cause in refused.err


def test_rights_beyond_a_containers_are_given_by_the_user_alone(shared_engine: Engine, tmp_path: Path) -> None:
    step = "grep CapEff /proc/self/status"
    dockerfile = f"FROM busybox\nRUN {step}\nRUN --security=insecure {step}\n"
    refused = build(shared_engine, tmp_path, dockerfile)
    assert refused.code == 1
    cause = "RUN --security=insecure: security.insecure is not allowed"
    assert f"{cause}\nbuild with --allow security.insecure" in refused.err
    said = build(shared_engine, tmp_path, dockerfile, "--no-cache", "--allow", "security.insecure").check().err
    usual, insecure = (int(line.split()[1], 16) for line in said.splitlines() if line.startswith("CapEff:"))
    assert insecure & ~usual
    bounds = next(line for line in Path("/proc/1/status").read_text().splitlines() if line.startswith("CapBnd:"))
    assert insecure == int(bounds.split()[1], 16)
    plain = dockerfile.replace("--security=insecure ", "--security=sandbox ")
    assert "Using cache" in build(shared_engine, tmp_path, plain).check().err


def test_caches_and_memory(shared_engine: Engine, tmp_path: Path) -> None:
    dockerfile = (
        "FROM busybox\nARG N\n"
        "RUN --mount=type=cache,target=/cache,id=kept-$N echo x >> /cache/f; wc -l < /cache/f > /n\n"
        "RUN --mount=type=cache,target=/cache,id=kept-$N,sharing=locked,ro ls /cache > /seen\n"
        "RUN --mount=type=tmpfs,target=/m,size=1m df /m | tail -1 > /df; echo x > /m/f\n"
    )
    for count in (1, 2):
        build(shared_engine, tmp_path, dockerfile, "--no-cache").check()
        assert shown(shared_engine, "cat /n /seen; ls -A /cache /m 2>/dev/null || true").split() == [str(count), "f"]
    assert "1024" in shown(shared_engine, "cat /df")


def test_a_space_of_names_for_caches(shared_engine: Engine, tmp_path: Path) -> None:
    dockerfile = "FROM busybox\nRUN --mount=type=cache,target=/space echo found $(ls /space); touch /space/f\n"
    for space, found in (("a", "found\n"), ("b", "found\n"), ("a", "found f\n")):
        options = ("--no-cache", "--build-arg", f"BUILDKIT_CACHE_MOUNT_NS={space}")
        assert f"\n{found}" in build(shared_engine, tmp_path, dockerfile, *options).check().err


def test_a_cache_that_begins_with_files_of_a_stage(shared_engine: Engine, tmp_path: Path) -> None:
    dockerfile = (
        "FROM busybox AS seed\nRUN mkdir -p /s/d && echo seed > /s/d/f && chown 5 /s/d/f\nFROM busybox\n"
        "RUN --mount=type=cache,from=seed,source=/s,target=/c,id=seeded,mode=750"
        " echo more >> /c/d/f; cat /c/d/f > /seen; stat -c %u:%a /c/d/f /c >> /seen\n"
    )
    for lines in (["seed", "more"], ["seed", "more", "more"]):
        build(shared_engine, tmp_path, dockerfile, "--no-cache-filter", "stage-1").check()
        assert shown(shared_engine, "cat /seen; ls -d /c 2>/dev/null || true").split() == [*lines, "5:644", "0:750"]
    other = dockerfile.replace("echo seed", "echo other")
    build(shared_engine, tmp_path, other).check()
    assert shown(shared_engine, "head -2 /seen").split() == ["other", "more"]


def test_a_script_with_an_interpreter_of_its_own(shared_engine: Engine, tmp_path: Path) -> None:
    dockerfile = 'FROM busybox\nRUN <<EOF\n#!/bin/awk -f\nBEGIN { print 6 * 7 > "/n" }\nEOF\n'
    build(shared_engine, tmp_path, dockerfile).check()
    assert shown(shared_engine, "cat /n; ls /dev/pipes 2>/dev/null || true") == "42\n"
