"""What an engine is told of images at its start: how large a layer may grow, how large its store, whom to ask first."""

from __future__ import annotations

import gzip
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import images as make
from tests.support.engine import Engine
from tests.support.registry import OCI_LAYER, Registry, free_port

pytestmark = [pytest.mark.root, pytest.mark.registry]


@pytest.fixture
def elsewhere() -> str:
    """A registry that nobody is."""
    return f"127.0.0.1:{free_port()}"


@pytest.fixture
def told(workspace: Path, registry: Registry, elsewhere: str) -> Iterator[Engine]:
    """An engine with all of these options."""
    mirror = f"{elsewhere}=http://{registry.host}"
    options = ("--max-layer-size", "0.008", "--store-limit", "13m", "--registry-mirror", mirror)
    engine = Engine(Path(tempfile.mkdtemp(dir=workspace)), *options)
    try:
        yield engine.start()
    finally:
        engine.remove()
    engine.keep_contract()


def names(engine: Engine) -> set[str]:
    return set(engine.cli("images", "--format", "{{.Repository}}").check().lines)


def test_they_are_kept_to(told: Engine, registry: Registry, elsewhere: str, tmp_path: Path) -> None:
    bomb = make.layer({"zeros": bytes(20 << 20)})
    registry.put_image("bomb", [bomb], packed=[gzip.compress(bomb)], layer_type=f"{OCI_LAYER}+gzip")
    refused = told.cli("pull", registry.reference("bomb"))
    assert (refused.code, "grows beyond" in refused.err) == (1, True)
    assert names(told) == set()
    registry.put_image("small", [make.layer({"f": b"through the mirror"})])
    told.cli("pull", f"{elsewhere}/small").check()
    told.cli("image", "pin", f"{elsewhere}/small").check()
    for number in range(3):  # each is there twice, as it came and unpacked
        layer = make.layer({"f": os.urandom(2_500_000)})
        told.load(make.docker_archive(tmp_path / "image.tar", f"image-{number}", [layer]))
    assert names(told) == {f"{elsewhere}/small", "image-1", "image-2"}
