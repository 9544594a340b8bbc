"""Corten's own command line with images and registries: what it prints is what Docker's prints of the same engine."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from tests.support import images as make
from tests.support.engine import Engine
from tests.support.registry import DOCKER_CONFIG, DOCKER_LAYER_GZIP, DOCKER_MANIFEST, Registry

pytestmark = [pytest.mark.root, pytest.mark.network]


@pytest.mark.registry
def test_push_prints_what_docker_prints(shared_engine: Engine, registry: Registry) -> None:
    name = registry.reference("shown/box", "v1")
    shared_engine.cli("tag", "busybox", name).check()
    first = shared_engine.cli("push", name).check().lines
    assert first[0] == f"The push refers to repository [{registry.host}/shown/box]"
    assert first[-1].startswith("v1: digest: sha256:")
    told = [re.sub("(?<= as) .*", "", line.partition(": ")[2]) for line in first[1:-1]]
    assert told == ["Compressed anew as", "Preparing", "Pushed"]
    again = shared_engine.cli("push", name).check().out
    assert again == shared_engine.docker("push", name).check().out
    assert "Layer already exists" in again
    assert shared_engine.cli("push", "-q", name).check().out == f"{name}\n"
    shared_engine.cli("tag", "busybox", f"{registry.host}/shown/box").check()
    assert shared_engine.cli("push", f"{registry.host}/shown/box").check().lines[0] == "Using default tag: latest"
    told = shared_engine.cli("image", "push", "--all-tags", f"{registry.host}/shown/box").check().out
    assert told == shared_engine.docker("push", "-a", f"{registry.host}/shown/box").check().out
    assert told.count("digest: sha256:") == 2
    assert shared_engine.cli("push", "--platform", "linux", name).check().out == again
    for tag in ("v1", "latest"):
        shared_engine.cli("rmi", f"{registry.host}/shown/box:{tag}").check()


def test_commit_takes_author_message_changes_and_pauses(shared_engine: Engine) -> None:
    shared_engine.cli("run", "-d", "--name", "work", "busybox", "sh", "-c", "echo new >/new; exec sleep 1000").check()
    try:
        shared_engine.cli("exec", "work", "sh", "-c", "until [ -s /new ]; do usleep 10000; done").check()
        options = ["-a", "Me <me@example.org>", "-m", "why", "-c", "CMD [\"cat\", \"/new\"]", "-c", "ENV A=1"]
        said = shared_engine.cli("commit", *options, "work", "made/by:commit").check().out.strip()
        shown = json.loads(shared_engine.cli("image", "inspect", "made/by:commit").check().out)[0]
        assert (said, shown["Author"], shown["Comment"]) == (shown["Id"], "Me <me@example.org>", "why")
        assert (shown["Config"]["Cmd"], "A=1" in shown["Config"]["Env"]) == (["cat", "/new"], True)
        assert shared_engine.cli("run", "--rm", "made/by:commit").check().out == "new\n"
        unnamed = shared_engine.cli("container", "commit", "--pause=false", "work").check().out.strip()
        assert shared_engine.cli("image", "inspect", "--format", "{{.RepoTags}}", unnamed).check().out == "[]\n"
        assert shared_engine.inspect("work")["State"]["Status"] == "running"
        pausing = [event["Action"] for event in _events(shared_engine, "work") if "pause" in event["Action"]]
        assert pausing == ["pause", "unpause"]
        shared_engine.cli("rmi", "made/by:commit", unnamed).check()
    finally:
        shared_engine.cli("rm", "-f", "work").check()


def _events(engine: Engine, container: str) -> list[dict[str, str]]:
    shown = engine.cli("events", "--since", "0", "--until", "0s", "--filter", f"container={container}",
                       "--format", "{{json .}}").check()  # fmt: skip
    return [json.loads(line) for line in shown.lines]


class _Hub(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        found = [
            {"name": "busybox", "description": "Busybox base image.\nIn two lines, and longer than a column is.",
             "star_count": 3000, "is_official": True},
            {"name": "me/busybox", "description": "", "star_count": 1, "is_official": False},
        ]  # fmt: skip
        content = json.dumps({"results": found}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        del format, args


@pytest.fixture
def hub() -> Iterator[str]:
    """The one question that is asked of a hub, answered on a port of loopback."""
    server = HTTPServer(("127.0.0.1", 0), _Hub)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_search_shows_dockers_table(shared_engine: Engine, hub: str) -> None:
    template = ["--format", "{{.Name}} {{.StarCount}}"]
    for options in ([], ["--no-trunc"], ["--filter", "stars=10"], template, ["--limit", "5"]):
        ours = shared_engine.cli("search", *options, f"{hub}/busybox").check().out
        assert ours == shared_engine.docker("search", *options, f"{hub}/busybox").check().out
        assert "busybox" in ours


@pytest.fixture(scope="module")
def parts(shared_engine: Engine, registry: Registry) -> tuple[str, str]:
    """Two images of a registry: an OCI one and one of Docker's."""
    layer = make.layer({"file": b"content"})
    registry.put_image("parts/one", [layer])
    registry.put_image("parts/two", [layer], packed=[gzip.compress(layer, mtime=0)], manifest=DOCKER_MANIFEST,
                       config_type=DOCKER_CONFIG, layer_type=DOCKER_LAYER_GZIP)  # fmt: skip
    return f"{registry.host}/parts/one", f"{registry.host}/parts/two"


@pytest.mark.registry
def test_manifest_lists_are_put_together_as_docker_does(
    shared_engine: Engine, registry: Registry, parts: tuple[str, str]
) -> None:
    one, two = parts
    target = f"{registry.host}/parts/list"
    homes = {
        name: {"DOCKER_CONFIG": str(shared_engine.home / name)} for name in ("by-corten", "by-docker")
    }
    lines = [
        ["inspect", one], ["inspect", two], ["inspect", "-v", one], ["inspect", "-v", two],
        ["inspect", f"{registry.host}/parts/nothing"], ["create", target, one, two], ["create", target, one],
        ["create", "--amend", target, one], ["inspect", target], ["inspect", "-v", target], ["inspect", target, two],
        ["inspect", target, target],
        ["annotate", "--arch", "arm64", "--variant", "v8", "--os-features", "a,b", target, two],
        ["annotate", "--arch", "bogus", target, two], ["annotate", "--arch", "arm64", target, target],
        ["annotate", "--arch", "arm64", one, two], ["inspect", target], ["push", target], ["inspect", target],
        ["push", "--purge", target], ["inspect", target], ["inspect", "-v", target],
        ["create", f"{target}2", target], ["rm", target, one], ["push", target], ["create", "bad name", one],
        ["annotate", "bad name", one], ["annotate", one, "bad name"], ["inspect", "bad name"], ["rm", "bad name"],
    ]  # fmt: skip
    for line in lines:
        # Docker must be told that a registry on loopback may speak plain HTTP.
        insecure = ["--insecure"] if line[0] in ("inspect", "create", "push") else []
        ours = shared_engine.cli("manifest", *line, env=homes["by-corten"])
        theirs = shared_engine.docker("manifest", line[0], *insecure, *line[1:], env=homes["by-docker"])
        assert (ours.code, ours.out, ours.err) == (theirs.code, theirs.out, theirs.err), line
    shared_engine.cli("pull", target).check()
    shared_engine.cli("rmi", target).check()


@pytest.mark.registry
def test_a_list_that_docker_began_is_pushed_by_corten(
    shared_engine: Engine, registry: Registry, parts: tuple[str, str]
) -> None:
    target = f"{registry.host}/parts/begun"
    shared_engine.docker("manifest", "create", "--insecure", target, *parts).check()
    shared_engine.docker("manifest", "annotate", "--arch", "s390x", target, parts[1]).check()
    assert shared_engine.cli("manifest", "push", "-p", target).check().out.count("Pushed ref") == 2
    shown = json.loads(shared_engine.cli("manifest", "inspect", target).check().out)
    assert [one["platform"]["architecture"] for one in shown["manifests"]] == [make.ARCHITECTURE, "s390x"]
    assert shared_engine.cli("manifest", "rm", target).code == 1


def test_pinned_images_outlive_a_prune_and_are_listed(shared_engine: Engine) -> None:
    shared_engine.cli("run", "--name", "work", "busybox", "touch", "/new").check()
    shared_engine.cli("commit", "work", "pinned:one").check()
    shared_engine.cli("commit", "work", "loose:one").check()
    shared_engine.cli("rm", "work").check()
    assert shared_engine.cli("image", "pin", "pinned:one", "busybox").check().out == "pinned:one\nbusybox\n"
    assert set(shared_engine.cli("image", "pin").check().lines) == {"pinned:one", "busybox:latest"}
    told = shared_engine.cli("image", "prune", "-a", "-f").check().out
    assert ("untagged: loose:one" in told, "pinned:one" in told) == (True, False)
    used = shared_engine.cli("system", "df", "-v").check().lines
    (row,) = [line.split() for line in used if line.startswith("pinned ")]
    sizes = shared_engine.api("GET", "/system/df?type=image").check().json
    assert sum(one["Size"] for one in sizes["Images"]) > sizes["LayersSize"] > 0
    assert row[-2:] == ["0B", "0"]  # unique, and containers
    assert shared_engine.cli("image", "unpin", "pinned:one", "no-such").code == 1
    shared_engine.cli("image", "unpin", "busybox").check()
    assert shared_engine.cli("image", "pin").check().out == ""
    shared_engine.cli("rmi", "pinned:one").check()
