"""ADD of URLs, held against their checksums, and contexts behind URLs."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import contexts
from tests.support.command import Result
from tests.support.engine import Engine

pytestmark = [pytest.mark.root, pytest.mark.network]

PACKED = contexts.archive({"inner": "unpacked"})
CONTEXT = contexts.archive(
    {"Dockerfile": "FROM busybox\nCOPY f /f\n", "sub/Other": "FROM busybox\nCOPY f /g\n", "f": "packed"}, mode="w:gz"
)
SERVED = {
    "/d/file.txt?token=hidden": b"served\n", "/p.tar": PACKED, "/context.tar.gz": CONTEXT,
    "/Dockerfile": b"FROM busybox\nENV A=alone\n",
}  # fmt: skip


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        content = SERVED.get(self.path)
        self.send_response(404 if content is None else 200)
        self.send_header("Last-Modified", "Tue, 14 Nov 2023 22:13:20 GMT")
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def add(engine: Engine, where: Path, line: str) -> Result:
    return engine.cli("build", "-t", "made", str(contexts.directory(where, f"FROM busybox\n{line}\n")), timeout=110)


def test_a_file(shared_engine: Engine, site: str, tmp_path: Path) -> None:
    digest = hashlib.sha256(b"served\n").hexdigest()
    add(shared_engine, tmp_path, f"ADD --checksum=sha256:{digest} {site}/d/file.txt?token=hidden /f/").check()
    look = "cat /f/file.txt; stat -c %a:%u:%Y /f/file.txt"
    told = shared_engine.docker("run", "--rm", "made", "sh", "-c", look).check().out
    assert told.split() == ["served", "600:0:1700000000"]


def test_archives_stay_packed_unless_told(shared_engine: Engine, site: str, tmp_path: Path) -> None:
    add(shared_engine, tmp_path, f"ADD {site}/p.tar /f/\nADD --unpack=true {site}/p.tar /u/").check()
    assert shared_engine.docker("run", "--rm", "made", "ls", "/f", "/u").check().out.split() == [
        "/f:", "p.tar", "/u:", "inner",
    ]  # fmt: skip


def test_another_checksum_is_refused(shared_engine: Engine, site: str, tmp_path: Path) -> None:
    refused = add(shared_engine, tmp_path, f"ADD --checksum=sha256:{'0' * 64} {site}/d/file.txt?token=hidden /f")
    assert refused.code == 1
    assert "digest mismatch" in refused.err
    assert "token=hidden" not in refused.err.rpartition("ERROR")[2]


@pytest.mark.parametrize(
    ("source", "cause"),
    [("{site}/missing", "the server answers 404"), ("http://127.0.0.1:1/x", "fetch http://127.0.0.1:1/x"),
     ("{site}/", "cannot determine filename"), ("http://127.0.0.1:1/x.git", "git http://127.0.0.1:1/x.git: ")],
)  # fmt: skip
def test_what_is_not_there(shared_engine: Engine, site: str, tmp_path: Path, source: str, cause: str) -> None:
    refused = add(shared_engine, tmp_path, f"ADD {source.format(site=site)} /f")
    assert refused.code == 1
    assert cause in refused.err


def test_a_context_that_is_an_archive_or_a_dockerfile(shared_engine: Engine, site: str, tmp_path: Path) -> None:
    def shown(script: str) -> str:
        return shared_engine.docker("run", "--rm", "made", "sh", "-c", script).check().out

    shared_engine.cli("build", "-t", "made", f"{site}/context.tar.gz").check()
    assert shown("cat /f") == "packed"
    shared_engine.cli("build", "-t", "made", "-f", "sub/Other", f"{site}/context.tar.gz").check()
    assert shown("cat /g") == "packed"
    given = b"FROM busybox\nCOPY f /h\n"
    shared_engine.cli("build", "-t", "made", "-f", "-", f"{site}/context.tar.gz", stdin=given).check()
    assert shown("cat /h") == "packed"
    shared_engine.cli("build", "-t", "made", f"{site}/Dockerfile").check()
    assert shown("echo $A") == "alone\n"
    named = ("--build-context", f"more={site}/context.tar.gz")
    contexts.directory(tmp_path, "FROM busybox\nCOPY --from=more f sub /n/\n")
    shared_engine.cli("build", "-t", "made", *named, str(tmp_path)).check()
    assert shown("ls /n") == "Other\nf\n"
    answer = shared_engine.api("POST", f"/build?t=made&remote={site}/context.tar.gz&dockerfile=sub/Other").check()
    assert b"Successfully built" in answer.body
    answer = shared_engine.api("POST", f"/build?t=made&remote={site}/Dockerfile&dockerfile=Dockerfile").check()
    assert b"Successfully built" in answer.body


def test_the_docker_command_fetches_its_contexts_itself(shared_engine: Engine, site: str) -> None:
    for url in (f"{site}/context.tar.gz", f"{site}/Dockerfile"):
        said = shared_engine.docker("build", "-t", "made", url, env={"DOCKER_BUILDKIT": "0"}, timeout=110).check()
        assert said.out.endswith("Successfully tagged made:latest\n")
    assert shared_engine.docker("run", "--rm", "made", "sh", "-c", "echo $A").check().out == "alone\n"


def test_a_context_that_is_not_there(shared_engine: Engine, site: str) -> None:
    for url, cause in (
        (f"{site}/missing?token=hidden", "missing: the server answers 404"),
        ("http://127.0.0.1:1/x?token=hidden", "fetch http://127.0.0.1:1/x: "),
        (f"{site}/p.tar", "Cannot locate specified Dockerfile: Dockerfile"),
    ):
        refused = shared_engine.cli("build", url)
        assert (refused.code, cause in refused.err, "token=hidden" in refused.err) == (1, True, False)
    answer = shared_engine.api("POST", "/build?remote=ftp://x/y")
    assert answer.status == 400
    assert b"it is no repository, and no file behind http or https" in answer.body
    assert "token=hidden" not in shared_engine.said()
