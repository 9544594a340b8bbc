"""What a build refuses before or while it is done: what of the request is wrong is said, and nothing is left of it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support import contexts
from tests.support.engine import Engine

pytestmark = [pytest.mark.root, pytest.mark.network]

PLAIN = contexts.archive({"Dockerfile": "FROM scratch\nLABEL a=b\n"})


@pytest.mark.parametrize(
    ("query", "status", "cause"),
    [
        ('outputs=[{"Type":"tar"}]', 501, "corten build --output writes them"),
        ("version=2", 501, "Corten speaks the classic builder's (DOCKER_BUILDKIT=0)"),
        ("squash=1", 501, "the layers of an image stay as they are"),
        ("cacheto=most", 400, "cacheto: most: it is min or max"),
        ("extrahosts={", 400, "extrahosts: "),
        ('buildargs={"a":1}', 400, "buildargs: "),
        ("labels=[]", 400, "labels: "),
        ("cachefrom={}", 400, "cachefrom: "),
        ("ulimits={}", 400, "ulimits: "),
        ("memory=much", 400, "memory"),
        ("t=BAD%20NAME", 400, "invalid reference format"),
        ('buildargs={"SOURCE_DATE_EPOCH":"soon"}', 400, "invalid SOURCE_DATE_EPOCH: soon"),
        ("platform=a/b/c/d", 400, "a/b/c/d"),
        ("dockerfile=other", 400, "Cannot locate specified Dockerfile: other"),
        ("dockerfile=../../etc/passwd", 400, "Cannot locate specified Dockerfile: ../../etc/passwd"),
        ("target=other", 400, 'target stage "other" could not be found'),
    ],
)
def test_requests(shared_engine: Engine, query: str, status: int, cause: str) -> None:
    answer = shared_engine.api("POST", f"/build?{query}", PLAIN, headers={"Content-Type": "application/x-tar"})
    assert (answer.status, cause in answer.json["message"]) == (status, True)


def test_credentials_that_are_none(shared_engine: Engine) -> None:
    answer = shared_engine.api("POST", "/build", PLAIN, headers={"X-Registry-Config": "c2VjcmV0"})
    assert (answer.status, answer.json["message"]) == (400, "invalid X-Registry-Config header")


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (contexts.archive({"Dockerfile": ""}), "the Dockerfile cannot be empty"),
        (contexts.archive({"Dockerfile": "# nothing\n"}), "file with no instructions"),
        (contexts.archive({"Dockerfile": "ARG a\n"}), "dockerfile contains no stages to build"),
        (contexts.archive({"Dockerfile": "-> /etc/passwd"}), "Cannot locate specified Dockerfile: Dockerfile"),
        (contexts.archive({"Dockerfile": "-> Dockerfile"}), "Dockerfile"),
        (contexts.archive({"Dockerfile": "FROM a\n", ".dockerignore": "[\n"}), "[: syntax error in pattern"),
        (contexts.archive({"Dockerfile": b"FROM a\nRUN \xff\n"}), "bytes that are not UTF-8"),
        (contexts.archive({"Dockerfile": b"FROM a" + b"\n" * (17 << 20)}), "over the limit of 16777216"),
    ],
)
def test_contexts(shared_engine: Engine, content: bytes, cause: str) -> None:
    answer = shared_engine.api("POST", "/build", content, headers={"Content-Type": "application/x-tar"})
    assert answer.status == 400
    assert cause in answer.json["message"]


@pytest.mark.parametrize("content", [b"long enough to be an archive, and none" * 20, PLAIN[:520]])
def test_archives_that_are_none(shared_engine: Engine, content: bytes) -> None:
    answer = shared_engine.api("POST", "/build", content, headers={"Content-Type": "application/x-tar"})
    assert (answer.status, answer.json["message"].startswith("read archive: ")) == (500, True)  # dockerd's status


def test_one_standard_input_is_not_two(shared_engine: Engine) -> None:
    refused = shared_engine.cli("build", "-f", "-", "-", stdin=PLAIN)
    assert (refused.code, "can't use stdin for both build context and dockerfile" in refused.err) == (1, True)


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("COPY round /", "too many links"),
        ("COPY --from=7 a /", "invalid stage index 7"),
        ("COPY --from=stage a /", "invalid from flag value stage: "),
        ("COPY --parents ../a /", "forbidden path outside the build context: ../a"),
        ("COPY a/../../b /", "forbidden path outside the build context: a/../../b"),
        ("ADD ../a /", "forbidden path outside the build context: ../a"),
        ("RUN --mount=type=cache,target=/c,source=../../x,from=stage true", "stage"),
        ("ADD --checksum=md5:00 http://127.0.0.1:1/x /", "unsupported digest algorithm"),
        ("ADD http://127.0.0.1:1/x http://127.0.0.1:1/y /z", "must be a directory and end with a /"),
        ('LABEL l="${A:?must be given}"', "A: must be given"),
        ('LABEL l="${A^}"', "unsupported modifier (^) in substitution"),
        ("LABEL l=${A", "missing '}'"),
        ("RUN []", "no command specified"),
    ],
)
def test_lines(shared_engine: Engine, tmp_path: Path, line: str, cause: str) -> None:
    where = contexts.directory(tmp_path, f"FROM scratch\n{line}\n", {"round": "-> round"})
    refused = shared_engine.cli("build", str(where))
    assert refused.code == 1
    assert cause in refused.err
    assert f"   2 | >>> {line}\n" in refused.err


def test_a_file_that_changes_while_it_is_built(shared_engine: Engine, tmp_path: Path) -> None:
    mount = "--mount=type=cache,id=changes,target=/m"
    dockerfile = f"FROM busybox\nRUN {mount} echo begun; until [ -e /m/go ]; do sleep 0.05; done\nCOPY f /\n"
    where = contexts.directory(tmp_path, dockerfile, {"f": "before"})
    command = shared_engine.cli.command("build", "--no-cache", str(where))
    with subprocess.Popen(command, env=shared_engine.cli.environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert any(line == "begun\n" for line in process.stderr)
        (where / "f").write_text("after, and longer")
        shared_engine.cli("build", "-", stdin=f"FROM busybox\nRUN {mount} touch /m/go\n".encode()).check()
        said = process.stderr.read()
    assert (process.returncode, "f was changed while it was being built" in said) == (1, True)


def test_nothing_is_left(shared_engine: Engine) -> None:
    assert shared_engine.api("GET", "/containers/json?all=1").json == []
    assert list((shared_engine.root / "staging").iterdir()) == []
    assert "Traceback" not in shared_engine.said()
