"""Each instruction of a Dockerfile with its flags, followed by the real engine: what is in the image then."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support import contexts
from tests.support.command import Result
from tests.support.engine import Engine

pytestmark = [pytest.mark.root, pytest.mark.network]


def build(
    engine: Engine, where: Path, dockerfile: str, *options: str, files: Mapping[str, str | bytes] | None = None
) -> Result:
    where = contexts.directory(where, dockerfile, files)
    return engine.cli("build", "-t", "made", *options, str(where), timeout=110)


def shown(engine: Engine, script: str) -> str:
    return engine.docker("run", "--rm", "--entrypoint", "sh", "made", "-c", script).check().out


def config(engine: Engine) -> dict[str, Any]:
    found: dict[str, Any] = engine.api("GET", "/images/made/json").check().json
    return found


def test_what_becomes_of_configuration(shared_engine: Engine, tmp_path: Path) -> None:
    dockerfile = (
        "# syntax=docker/dockerfile:1\n# escape=`\nFROM busybox AS base\n"
        "MAINTAINER somebody <s@nobody.invalid>\nSHELL [\"/bin/sh\", \"-ec\"]\nENV A=b `\n    C='d e' F=\"$A g\"\n"
        "USER alice:alice\nRUN id -un > /tmp/who; echo $0 $- > /tmp/shell\nUSER 0\n"
        "WORKDIR /w\nWORKDIR $A\nVOLUME [\"/v\", \"/data\"]\nVOLUME /late\nEXPOSE 80 443/udp 8000-8002\n"
        "HEALTHCHECK --interval=7s --timeout=3s --start-period=1m --start-interval=2s --retries=4 CMD [\"true\"]\n"
        "STOPSIGNAL SIGQUIT\nLABEL one=1 \"two words\"=\"2 3\"\nCMD [\"dropped\"]\n"
        "ENTRYPOINT [\"/bin/echo\", \"said\"]\n"
        "CMD [\"$A\", \"b\"]\nONBUILD RUN true\n"
    )
    build(shared_engine, tmp_path, dockerfile).check()
    image = config(shared_engine)
    found = image["Config"]
    assert image["Author"] == "somebody <s@nobody.invalid>"
    assert [one for one in found["Env"] if not one.startswith("PATH=")] == ["A=b", "C=d e", "F= g"]
    assert (found["User"], found["WorkingDir"], found["StopSignal"]) == ("0", "/w/b", "SIGQUIT")
    assert (found["Entrypoint"], found["Cmd"]) == (["/bin/echo", "said"], ["$A", "b"])
    assert sorted(found["Volumes"]) == ["/data", "/late", "/v"]
    assert sorted(found["ExposedPorts"]) == ["443/udp", "80/tcp", "8000/tcp", "8001/tcp", "8002/tcp"]
    assert found["Healthcheck"] == {
        "Test": ["CMD", "true"], "Interval": 7 * 10**9, "Timeout": 3 * 10**9, "StartPeriod": 60 * 10**9,
        "StartInterval": 2 * 10**9, "Retries": 4,
    }  # fmt: skip
    assert found["Labels"] == {"one": "1", "two words": "2 3"}
    assert (found["Shell"], found["OnBuild"]) == (["/bin/sh", "-ec"], ["RUN true"])
    assert shown(shared_engine, "cat /tmp/who /tmp/shell; pwd") == "alice\n/bin/sh ce\n/w/b\n"
    assert shared_engine.docker("run", "--rm", "made").check().out == "said $A b\n"
    build(shared_engine, tmp_path / "b", "FROM busybox\nHEALTHCHECK NONE\nENTRYPOINT exec echo shell $1\n").check()
    assert config(shared_engine)["Config"]["Healthcheck"] == {"Test": ["NONE"]}
    assert shared_engine.docker("run", "--rm", "made", "not", "taken").check().out == "shell taken\n"


MODIFIERS = {
    "${SET}": "a.b.c", "${UNSET}": "", "${UNSET:-word}": "word", "${UNSET-word}": "word", "${EMPTY:-word}": "word",
    "${EMPTY-word}": "", "${SET:+word}": "word", "${EMPTY:+word}": "", "${EMPTY+word}": "word", "${UNSET:+word}": "",
    "${SET#*.}": "b.c", "${SET##*.}": "c", "${SET%.*}": "a.b", "${SET%%.*}": "a", "${SET/./-}": "a-b.c",
    "${SET//./-}": "a-b-c", "${UNSET:-${SET#a.}}": "b.c", "\\${SET}": "${SET}", "${SET:?needed}": "a.b.c",
}  # fmt: skip


def test_modifiers_of_variables(shared_engine: Engine, tmp_path: Path) -> None:
    labels = "".join(f'LABEL l{number}="{text}"\n' for number, text in enumerate(MODIFIERS))
    build(shared_engine, tmp_path, f"FROM busybox\nARG SET=a.b.c\nARG EMPTY=\n{labels}").check()
    found = config(shared_engine)["Config"]["Labels"]
    assert [found[f"l{number}"] for number in range(len(MODIFIERS))] == list(MODIFIERS.values())
    refused = build(shared_engine, tmp_path, 'FROM busybox\nLABEL a=b\nLABEL l="${UNSET:?is needed}"\n')
    assert refused.code == 1
    assert ">>> LABEL l=" in refused.err
    assert "is needed" in refused.err


def test_arguments_and_where_they_hold(shared_engine: Engine, tmp_path: Path) -> None:
    dockerfile = (
        "ARG BASE=busybox SHARED=above\nFROM $BASE AS one\nARG SHARED\nARG OWN=$SHARED-own\nENV OWN=env-$OWN\n"
        "RUN echo $SHARED $OWN > /one\nFROM one AS two\nRUN echo $SHARED $OWN > /two\n"
        "FROM busybox\nRUN echo _$SHARED _$OWN _$http_proxy > /three\nCOPY --from=two /one /two /\n"
    )
    options = ("--build-arg", "SHARED=given", "--build-arg", "http_proxy=http://secret.invalid")
    build(shared_engine, tmp_path, dockerfile, *options).check()
    told = shown(shared_engine, "cat /one /two /three")
    assert told == "given env-given-own\ngiven env-given-own\n_ _ _http://secret.invalid\n"
    assert "secret.invalid" not in shared_engine.docker("history", "--no-trunc", "made").check().out
    warned = build(shared_engine, tmp_path, dockerfile, "--build-arg", "NOBODY=x").check()
    assert "[Warning] One or more build-args [NOBODY] were not consumed" in warned.err


def test_copying_with_every_flag(shared_engine: Engine, tmp_path: Path) -> None:
    files = {
        "a/b/c.txt": "c", "a/b/d.md": "d", "a/e.txt": "e", "f g": "space", "[x]": "brackets", "h1": "1", "h2": "2",
        "k.log": "log", "Other": "", "Named.dockerignore": "*.log\n", ".dockerignore": "h*\n",
    }  # fmt: skip
    dockerfile = (
        "FROM busybox AS base\nRUN mkdir -p /src/p/q && echo r > /src/p/q/r && ln -s q /src/p/l\nFROM busybox\n"
        "COPY --parents a/b/c.txt ./a/./b/d.md /parents/\nCOPY --exclude=**/*.md --exclude=e.* a /exclude/\n"
        "COPY **/*.txt /deep/\nCOPY h? /h/\nCOPY [\"f g\", \"/space\"]\nCOPY [[]x] /brackets\n"
        "COPY --link --chown=1000:7 --chmod=0750 a /link/\nCOPY --from=0 --parents /src/./p/q /stage/\n"
        "COPY --from=0 /src/p/l/ /followed/\nADD --chown=5 --exclude=*.md a/b /add/\n"
        "COPY <<one <<-\"two\" /docs/\n$HOME\none\n\t$HOME\ntwo\n"
    )
    where = contexts.directory(tmp_path, "", {**files, "Named": dockerfile})
    shared_engine.cli("build", "-t", "made", "-f", str(where / "Named"), str(where), timeout=110).check()
    look = (
        "cd /; find parents exclude deep h link stage followed add docs | sort; cat space brackets docs/one docs/two;"
        " stat -c %u:%g:%a link link/b link/e.txt add/c.txt"
    )
    assert shown(shared_engine, look).split("\n")[:-1] == [
        "add", "add/c.txt", "deep", "deep/c.txt", "deep/e.txt", "docs", "docs/one", "docs/two", "exclude", "exclude/b",
        "exclude/b/c.txt", "followed", "followed/r", "h", "h/h1", "h/h2", "link", "link/b", "link/b/c.txt",
        "link/b/d.md", "link/e.txt", "parents", "parents/a", "parents/a/b", "parents/a/b/c.txt", "parents/b",
        "parents/b/d.md", "stage", "stage/p", "stage/p/q", "stage/p/q/r", "spacebrackets", "$HOME",
        "1000:7:750", "1000:7:750", "1000:7:750", "5:5:644",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("COPY --from=nowhere^ a /", "invalid reference format"),
        ("COPY --chmod=u+q a /", "--chmod"),
        ("COPY --nosuch a /", "unknown flag: --nosuch"),
        ("COPY a", "COPY requires at least two arguments, but only one was provided"),
        ("RUN --mount=type=nosuch true", "unsupported mount type"),
        ("RUN --network=nosuch true", "network"),
        ("HEALTHCHECK --interval=x CMD true", "invalid duration"),
        ("STOPSIGNAL NOSUCH", "invalid signal"),
        ("EXPOSE 70000", "70000"),
        ("ENV a", "ENV must have two arguments"),
        ("SHELL /bin/sh", "SHELL requires the arguments to be in JSON form"),
        ("ONBUILD FROM a", "FROM isn't allowed as an ONBUILD trigger"),
        ("USER", "USER requires exactly one argument"),
        ("COPY <<a /\nnever ends", "unterminated heredoc"),
        ("RUN false", "returned a non-zero code: 1"),
        ("COPY missing /", '"/missing": not found'),
        ("USER nosuch\nRUN true", "nosuch"),
        ("VOLUME $UNSET", "VOLUME specified can not be an empty string"),
        ("COPY --link --chown=alice a /", "there is no /etc/passwd to look the name up in"),
        ("COPY --chown=nosuch a /", "nosuch"),
    ],
)
def test_an_error_shows_the_line(shared_engine: Engine, tmp_path: Path, line: str, cause: str) -> None:
    refused = build(shared_engine, tmp_path, f"FROM busybox\n{line}\n", files={"a": ""})
    assert refused.code == 1
    assert cause in refused.err
    assert f">>> {line.splitlines()[-1 if 'USER nosuch' in line else 0]}" in refused.err
    assert "Dockerfile:" in refused.err
