"""kill -9 of the engine in the midst of a pull, at moments that a seed chooses: nothing half is ever seen, nothing
stays mounted, and the next pull succeeds."""

from __future__ import annotations

import gzip
import json
import os
import random
import select
import socket
from pathlib import Path

import pytest

from tests.support import images
from tests.support.courier import Courier
from tests.support.disk import shelved
from tests.support.engine import Engine
from tests.support.process import descendants, wait_until
from tests.support.registry import OCI_LAYER, Registry

pytestmark = [pytest.mark.root, pytest.mark.network, pytest.mark.registry]

KILLS = int(os.environ.get("CORTEN_TEST_KILLS", "12"))
FORMS = ("auto", "overlay", "copy")
"""How new layers are kept, by turns: four kills, and a pull that succeeds, each."""
SEED = int(os.environ.get("CORTEN_TEST_SEED", "20"))


@pytest.fixture
def reference(registry: Registry, tmp_path: Path) -> str:
    """An image of busybox and three layers above it, two of which take a while to come."""
    chance = random.Random(1)
    sizes = (3 << 20, 1, 5 << 20)
    above = [images.layer({f"data-{number}": chance.randbytes(size)}) for number, size in enumerate(sizes)]
    layers = [images.busybox_layer(tmp_path), *above]
    packed = [gzip.compress(content, 1, mtime=0) for content in layers]
    registry.put_image("killed", layers, packed=packed, layer_type=f"{OCI_LAYER}+gzip")
    return "killed:latest"


def pull_until(engine: Engine, reference: str, lines: int, pause: float) -> None:
    """Begin a pull, and kill the engine ``pause`` seconds after so many lines of its progress, or at its end."""
    with socket.socket(socket.AF_UNIX) as channel:
        channel.connect(str(engine.socket))
        request = f"POST /images/create?fromImage={reference} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
        channel.sendall(request.encode())
        heard = b""
        while heard.count(b'"status"') < lines and b"Status:" not in heard and (data := channel.recv(1 << 16)):
            heard += data
        select.select([], [], [], pause)  # the moment itself is what is chosen
        engine.kill()


def whole(engine: Engine) -> None:
    """What the engine knows is all there; what it has on disk is known."""
    found = engine.api("GET", "/images/json?all=1").check().json
    for image in found:
        told = engine.api("GET", f"/images/{image['Id']}/json").check().json
        driver = told["GraphDriver"]["Data"] or {}  # none of what is copied
        for path in filter(None, [driver.get("UpperDir"), *driver.get("LowerDir", "").split(":")]):
            layer = Path(path).parent
            assert {"fs", "layer.json"} <= {one.name for one in layer.iterdir()}
            assert Path(path).exists()
    for layer in (engine.root / "layers").iterdir():
        assert json.loads((layer / "layer.json").read_text())["chain_id"].startswith(f"sha256:{layer.name}")
    wait_until(lambda: not list((engine.root / "staging").iterdir()), "nothing to be left of what is unfinished")


@pytest.mark.timeout(120 + 20 * KILLS)
def test_a_pull_that_was_killed_leaves_nothing_half(engine: Engine, registry: Registry, reference: str) -> None:
    chance = random.Random(SEED)
    with Courier(registry.host) as courier:
        name = f"{courier.host}/{reference}"
        for number in range(KILLS):
            below = descendants(engine.pid)
            pull_until(engine, name, chance.randint(0, 40), chance.random() * 0.3)
            workers = [pid for pid in below | descendants(engine.pid) if "unpack" in _command(pid)]
            wait_until(lambda workers=workers: not any(map(_lives, workers)), "the workers to be gone")  # type: ignore[misc]
            engine.start("--snapshotter", FORMS[number // 4 % 3])
            whole(engine)
            if number % 4 == 3:
                engine.cli("pull", name).check()
                ran = engine.cli("run", "--rm", name, "sh", "-c", "wc -c < /data-2; cat /data-1 | wc -c").check()
                assert ran.lines == [str(5 << 20), "1"]
                whole(engine)
                engine.cli("rmi", name).check()
        wait_until(lambda: shelved(engine) == 0, "nothing to be left mounted")
        assert list((engine.root / "layers").iterdir()) == []


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
