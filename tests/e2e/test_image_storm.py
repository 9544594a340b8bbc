"""Kill -9 of the engine in the middle of load, commit and prune: nothing half is seen, nothing is left, and the retry
succeeds. ``CORTEN_STORM`` is the number of kills; the moments are the same at every run."""

from __future__ import annotations

import http.client
import os
import random
import socket
import time
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.support import images as make
from tests.support.engine import Engine

pytestmark = [pytest.mark.root, pytest.mark.network]
KILLS = int(os.environ.get("CORTEN_STORM", "12"))
_LONGEST = 0.25
"""Seconds after the request at which the last kill strikes: load, the longest of the three, takes about as long."""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Two images with a layer in common, of some thousand files."""
    directory = tmp_path_factory.mktemp("storm")
    big = make.layer({f"f{number}": bytes([number % 256]) * 2000 for number in range(1500)})
    small = make.layer({"upper": b"upper"})
    return make.docker_archive(directory / "storm.tar", "storm:v1", [big, small], Cmd=["true"]).read_bytes()


class Ask(Thread):
    """A request whose answer nobody waits for."""

    def __init__(self, engine: Engine, method: str, target: str, body: bytes | None = None) -> None:
        super().__init__(daemon=True)
        self._place, self._what = str(engine.socket), (method, target, body)
        self.start()

    def run(self) -> None:
        connection = http.client.HTTPConnection("localhost")
        try:
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.connect(self._place)
            connection.request(*self._what)
            connection.getresponse().read()
        except OSError:
            return
        except http.client.HTTPException:
            return
        finally:
            connection.close()


def _content(engine: Engine) -> tuple[set[str], set[str]]:
    blobs, layers = engine.root / "blobs/sha256", engine.root / "layers"
    return {one.name for one in blobs.iterdir()}, {one.name for one in layers.iterdir()}


def _check_whole(engine: Engine) -> None:
    """Each image that is listed is one, and nothing is unfinished."""
    for image in engine.api("GET", "/images/json?all=1").check().json:
        assert engine.api("GET", f"/images/{image['Id']}/json").check().json["RootFS"]["Layers"]
        assert engine.api("GET", f"/images/{image['Id']}/get", timeout=60).check().body[-1024:] == bytes(1024)
    assert [one for one in (engine.root / "staging").iterdir() if one.name.startswith(("blob-", "layer-", "tmp"))] == []


@pytest.fixture
def storm(engine: Engine, busybox: str) -> tuple[Engine, dict[str, Any]]:
    engine.cli("run", "--name", "work", busybox, "sh", "-c", "for i in $(seq 300); do echo $i >/f$i; done").check()
    return engine, engine.api("GET", f"/images/{busybox}/json").check().json


@pytest.mark.timeout(120 + 20 * KILLS)
def test_kills_leave_nothing_half(storm: tuple[Engine, dict[str, Any]], archive: bytes, tmp_path: Path) -> None:
    engine, busybox = storm
    moments = random.Random(7)
    works = {
        "load": ("POST", "/images/load?quiet=1", archive),
        "commit": ("POST", "/commit?container=work&repo=made&tag=here", b"{}"),
        "prune": ("POST", "/images/prune?filters=%7B%22dangling%22%3A%5B%22false%22%5D%7D", b""),
    }
    before = _content(engine)
    for number in range(KILLS):
        kind = list(works)[number % 3]
        if kind == "prune":
            engine.api("POST", "/images/load?quiet=1", archive).check()
        ask = Ask(engine, *works[kind])
        time.sleep(moments.uniform(0, _LONGEST))  # not to wait for anything: this is the moment
        engine.kill()
        ask.join()
        engine.start()
        _check_whole(engine)
        method, target, body = works[kind]
        engine.api(method, target, body).check()
        _check_whole(engine)
        names = {name for one in engine.api("GET", "/images/json").check().json for name in one["RepoTags"]}
        assert "busybox:latest" in names
        done = {"load": "storm:v1" in names, "commit": "made:here" in names, "prune": len(names) == 1}
        assert done[kind], (kind, names)
    engine.api("POST", "/images/prune?filters=%7B%22dangling%22%3A%5B%22false%22%5D%7D", b"").check()
    assert _content(engine) == before
    assert engine.api("GET", f"/images/{busybox['Id']}/json").check().json == busybox
    assert engine.cli("run", "--rm", "busybox", "true").code == 0
