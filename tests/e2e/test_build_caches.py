"""``--cache-to`` and ``--cache-from``: what a build knows, for a machine that knows nothing of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support import contexts
from tests.support.command import Result
from tests.support.engine import Engine

pytestmark = [pytest.mark.root, pytest.mark.network]
STAGES = (
    "FROM busybox AS made\nRUN cat /proc/sys/kernel/random/uuid > /random\nCOPY f /f\n"
    "FROM busybox\nWORKDIR /w\nCOPY --from=made /random /w/\nRUN cat random > copy\n"
)


def build(
    engine: Engine, where: Path, dockerfile: str, *options: str, files: Mapping[str, str] | None = None
) -> Result:
    where = contexts.directory(where, dockerfile, files or {"f": "x"})
    return engine.cli("build", "-t", "made", *options, str(where), timeout=110)


def shown(engine: Engine, script: str) -> str:
    return engine.docker("run", "--rm", "--entrypoint", "sh", "made", "-c", script).check().out


def forget(engine: Engine) -> None:
    engine.docker("rmi", "made")
    engine.docker("builder", "prune", "-f").check()


def test_everything_is_there_again(shared_engine: Engine, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    build(shared_engine, tmp_path / "c", STAGES, "--cache-to", f"type=local,dest={cache},mode=max").check()
    random = shown(shared_engine, "cat /w/copy")
    assert json.loads((cache / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    forget(shared_engine)
    again = build(shared_engine, tmp_path / "c", STAGES, "--cache-from", f"type=local,src={cache}").check()
    assert again.err.count("Using cache") == 5
    assert shown(shared_engine, "cat /w/copy") == random
    assert "Using cache" in build(shared_engine, tmp_path / "c", STAGES).check().err  # it is known from now on
    forget(shared_engine)
    changed = build(
        shared_engine, tmp_path / "c", STAGES, "--cache-from", f"type=local,src={cache}", files={"f": "y"}
    ).check()
    assert changed.err.count("Using cache") == 4


def test_the_least_is_what_the_image_is_made_of(shared_engine: Engine, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    build(shared_engine, tmp_path / "c", STAGES, "--no-cache", "--cache-to", f"type=local,dest={cache}").check()
    forget(shared_engine)
    again = build(shared_engine, tmp_path / "c", STAGES, "--cache-from", f"type=local,src={cache}").check()
    assert again.err.count("Using cache") == 1  # WORKDIR: what the other stage makes is random


def test_a_cache_that_lies_or_is_not_there(shared_engine: Engine, tmp_path: Path) -> None:
    cache, dockerfile = tmp_path / "cache", "FROM busybox\nRUN echo true > /f\n"
    missing = build(shared_engine, tmp_path / "c", dockerfile, "--cache-from", f"type=local,src={cache}").check()
    assert "WARNING: --cache-from" in missing.err
    build(shared_engine, tmp_path / "c", dockerfile, "--cache-to", f"type=local,dest={cache}").check()
    index = json.loads((cache / "index.json").read_text())
    blobs = cache / "blobs/sha256"
    manifest = json.loads((blobs / index["manifests"][0]["digest"][7:]).read_text())
    layer = blobs / manifest["layers"][0]["digest"][7:]
    layer.write_bytes(layer.read_bytes().replace(b"true", b"lies"))
    forget(shared_engine)
    said = build(shared_engine, tmp_path / "c", dockerfile, "--cache-from", f"type=local,src={cache}").check()
    assert "[Warning] cache: blob sha256:" in said.err
    assert "digest mismatch" in said.err
    assert shown(shared_engine, "cat /f") == "true\n"
    config = blobs / manifest["config"]["digest"][7:]
    config.write_bytes(config.read_bytes() + b" ")
    forget(shared_engine)
    said = build(shared_engine, tmp_path / "c", dockerfile, "--cache-from", f"type=local,src={cache}").check()
    assert "[Warning] cache: read the layout" in said.err


@pytest.mark.parametrize(
    ("option", "cause"),
    [
        (("--cache-from", "busybox"), "caches of type registry are not there: only type=local is"),
        (("--cache-to", "type=inline"), "caches of type inline are not there"),
        (("--cache-to", "type=registry,ref=a/b"), "type=local is\nexport it to a directory with type=local"),
        (("--cache-to", "type=gha"), "caches of type gha are not there"),
        (("--cache-from", "type=local"), "it needs src=DIRECTORY"),
        (("--cache-to", "type=local,dest=/x,mode=most"), "it needs dest=DIRECTORY, and mode=min|max"),
        (("--cache-to", "type=local,dest=/x,compression=zstd"), "unknown field compression"),
    ],
)
def test_what_is_no_cache(shared_engine: Engine, tmp_path: Path, option: tuple[str, str], cause: str) -> None:
    refused = build(shared_engine, tmp_path, "FROM busybox\n", *option)
    assert refused.code != 0
    assert cause in refused.err
