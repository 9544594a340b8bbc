"""Images against a real registry and real archives: what comes in, what it is called, what goes."""

from __future__ import annotations

import asyncio
import gzip
import json
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import zstandard

from corten.engine.events import Events
from corten.engine.images import Images
from corten.errors import Conflict, CortenError, DataCorrupt, InvalidInput, NotFound
from corten.store.images import ImageStore
from corten.store.layers import LayerStore
from scripts import make_hello_world
from tests.support import images as make
from tests.support.registry import (
    DOCKER_CONFIG,
    DOCKER_LAYER_GZIP,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_LAYER,
    Registry,
)

pytestmark = pytest.mark.root

LOWER = make.layer({"etc": None, "etc/name": b"lower\n", "bin": None, "bin/tool": b"#!/bin/sh\n"})
UPPER = make.layer({"etc/name": b"upper\n", "bin/.wh.tool": b""})
Use = Callable[[Images], Coroutine[Any, Any, None]]


@pytest.fixture
def use(tmp_path: Path) -> Callable[[Use], None]:
    """Run a coroutine with the images of a new, empty data root."""

    def run(body: Use) -> None:
        (tmp_path / "staging").mkdir(exist_ok=True)
        db = sqlite3.connect(tmp_path / "db", isolation_level=None)
        try:

            async def main() -> None:
                layers = LayerStore(tmp_path, snapshotter="overlay")  # which can be looked at without a mount
                await body(Images(ImageStore(tmp_path, db, layers), Events(), tmp_path / "staging"))

            asyncio.run(main())
        finally:
            db.close()

    return run


class Told:
    """Collects progress."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    def __call__(self, line: dict[str, Any]) -> None:
        self.lines.append(line)

    def text(self) -> str:
        return "\n".join(str(line.get("status") or line.get("stream")) for line in self.lines)


async def chunks(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 1000):
        yield content[start : start + 1000]


def file(images: Images, ref: str, name: str) -> Path:
    """A file of an image's topmost layer."""
    return Path(images.layer_paths(images.resolve(ref))[1][0]) / name


PACKINGS = {
    "plain": (OCI_LAYER, lambda content: content),
    "gzip": (OCI_LAYER + "+gzip", gzip.compress),
    "zstd": (OCI_LAYER + "+zstd", zstandard.compress),
}


@pytest.mark.registry
@pytest.mark.parametrize("packing", PACKINGS)
def test_pull_takes_every_packing(use: Callable[[Use], None], registry: Registry, packing: str) -> None:
    layer_type, pack = PACKINGS[packing]
    pushed = registry.put_image(packing, [LOWER, UPPER], packed=[pack(LOWER), pack(UPPER)], layer_type=layer_type)
    told = Told()

    async def body(images: Images) -> None:
        image = await images.pull(registry.reference(packing), "", None, told)
        assert image.repo_tags == [registry.reference(packing)]
        assert image.repo_digests == [f"{registry.host}/{packing}@{pushed['digest']}"]
        assert file(images, image.id, "etc/name").read_bytes() == b"upper\n"
        assert len(image.chain_ids) == 2

    use(body)
    assert f"Digest: {pushed['digest']}" in told.text()
    assert "Status: Downloaded newer image for" in told.text()


@pytest.mark.registry
def test_pull_takes_docker_manifests_and_skips_what_is_here(use: Callable[[Use], None], registry: Registry) -> None:
    registry.put_image(
        "schema2", [LOWER], packed=[gzip.compress(LOWER)],
        manifest=DOCKER_MANIFEST, config_type=DOCKER_CONFIG, layer_type=DOCKER_LAYER_GZIP,
    )  # fmt: skip
    again = Told()

    async def body(images: Images) -> None:
        first = await images.pull(registry.reference("schema2"), "", None, Told())
        second = await images.pull(registry.reference("schema2"), "", None, again)
        assert first.id == second.id

    use(body)
    assert "Already exists" in again.text()
    assert "Image is up to date" in again.text()


@pytest.mark.registry
def test_pull_chooses_the_platform_of_an_index(use: Callable[[Use], None], registry: Registry) -> None:
    ours = registry.put_image("multi", [LOWER], tag="ours")
    other = registry.put_image("multi", [UPPER], tag="other")
    entries = [
        {**other, "platform": {"architecture": "s390x", "os": "linux"}},
        {**ours, "platform": {"architecture": make.ARCHITECTURE, "os": "linux"}},
    ]
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    registry.put_manifest("multi", "latest", OCI_INDEX, index)

    async def body(images: Images) -> None:
        image = await images.pull(registry.reference("multi"), "", None, Told())
        assert image.diff_ids == (make.digest(LOWER),)
        with pytest.raises(NotFound, match="no matching manifest for linux/riscv64"):
            await images.pull(registry.reference("multi"), "linux/riscv64", None, Told())

    use(body)


@pytest.mark.registry
@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: bytes(len(content))])
def test_a_damaged_blob_leaves_nothing(
    use: Callable[[Use], None], registry: Registry, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    name = f"damaged{len(damage(b'xx'))}"
    layer = make.layer({name: b"content"})
    registry.put_image(name, [layer])
    path = registry.blob_path(make.digest(layer))
    path.write_bytes(damage(path.read_bytes()))

    async def body(images: Images) -> None:
        with pytest.raises(CortenError):
            await images.pull(registry.reference(name), "", None, Told())
        assert await images.list() == []

    use(body)
    assert list((tmp_path / "layers").iterdir()) == []
    assert list((tmp_path / "staging").iterdir()) == []
    assert not (tmp_path / "blobs/sha256" / make.digest(layer)[7:]).exists()


@pytest.mark.registry
def test_an_unknown_image_names_what_was_tried(use: Callable[[Use], None], registry: Registry) -> None:
    async def body(images: Images) -> None:
        with pytest.raises(NotFound) as caught:
            await images.pull(registry.reference("nothing", "v1"), "", None, Told())
        assert f"{registry.host}/nothing" in caught.value.message
        assert registry.host in caught.value.hint

    use(body)


@pytest.mark.registry
@pytest.mark.parametrize(
    "entry", [{"../escape": b"x"}, {"/absolute/../../escape": b"x"}, {"link": "/tmp", "link/../../../escape": b"x"}]
)
def test_a_layer_that_leaves_its_root_is_refused(
    use: Callable[[Use], None], registry: Registry, tmp_path: Path, entry: dict[str, bytes | str | None]
) -> None:
    layer = make.layer(entry)
    name = f"hostile{make.digest(layer)[7:15]}"
    registry.put_image(name, [layer])

    async def body(images: Images) -> None:
        with pytest.raises(DataCorrupt):
            await images.pull(registry.reference(name), "", None, Told())

    use(body)
    assert not (tmp_path.parent / "escape").exists()
    assert list((tmp_path / "layers").iterdir()) == []


def test_load_takes_docker_archives_and_layouts(use: Callable[[Use], None], tmp_path: Path) -> None:
    archive = make.docker_archive(tmp_path / "one.tar", "one:v1", [LOWER, UPPER])
    make.oci_layout(tmp_path / "two", "example.org/two:v2", [LOWER])
    subprocess.run(["tar", "-cf", tmp_path / "two.tar", "-C", tmp_path / "two", "."], check=True)
    told = Told()

    async def body(images: Images) -> None:
        await images.load(chunks(gzip.compress(archive.read_bytes())), told)
        await images.load(chunks((tmp_path / "two.tar").read_bytes()), told)
        assert images.resolve("one:v1").chain_ids[0] == images.resolve("example.org/two:v2").chain_ids[0]
        assert len(list((tmp_path / "layers").iterdir())) == 2

    use(body)
    assert told.text().count("Loaded image: ") == 2


@pytest.mark.parametrize("content", [b"", b"no archive", bytes(10240)])
def test_load_refuses_what_is_no_archive_of_images(use: Callable[[Use], None], content: bytes) -> None:
    async def body(images: Images) -> None:
        with pytest.raises((InvalidInput, DataCorrupt)):
            await images.load(chunks(content), Told())

    use(body)


def test_save_and_load_again_is_the_same_image(use: Callable[[Use], None], tmp_path: Path) -> None:
    archive = make.docker_archive(tmp_path / "one.tar", "one:v1", [LOWER, UPPER])

    async def body(images: Images) -> None:
        await images.load(chunks(archive.read_bytes()), Told())
        image = images.resolve("one:v1")
        saved = b"".join([chunk async for chunk in await images.save(["one:v1"])])
        await images.remove("one:v1")
        with pytest.raises(NotFound):
            images.resolve("one:v1")
        await images.load(chunks(saved), Told())
        assert images.resolve("one:v1").id == image.id

    use(body)


def test_import_makes_an_image_of_a_file_system(use: Callable[[Use], None]) -> None:
    async def body(images: Images) -> None:
        changes = ['CMD ["/bin/tool"]', "ENV A=1 B=2", "WORKDIR /srv", "EXPOSE 80", "LABEL x=y"]
        image = await images.import_(chunks(LOWER), "made", "v1", changes, "by hand")
        assert image.config.cmd == ("/bin/tool",)
        assert image.config.env == ("A=1", "B=2")
        assert image.config.exposed_ports == ("80/tcp",)
        assert image.repo_tags == ["made:v1"]
        with pytest.raises(InvalidInput, match="NONSENSE"):
            await images.import_(chunks(LOWER), "", "", ["NONSENSE x"], "")

    use(body)


def test_removal_untags_first_and_deletes_with_the_last_name(use: Callable[[Use], None], tmp_path: Path) -> None:
    archive = make.docker_archive(tmp_path / "one.tar", "one:v1", [LOWER])

    async def body(images: Images) -> None:
        await images.load(chunks(archive.read_bytes()), Told())
        image = await images.tag("one:v1", "other:v2")
        user = (image.id, "c" * 64, True)
        assert await images.remove("other:v2", users=[user]) == [{"Untagged": "other:v2"}]
        with pytest.raises(Conflict, match="container cccccccccccc is using its referenced image"):
            await images.remove("one:v1", users=[user])
        rows = await images.remove("one:v1")
        assert rows[0] == {"Untagged": "one:v1"}
        assert {"Deleted": image.id} in rows
        assert list((tmp_path / "layers").iterdir()) == []
        assert list((tmp_path / "blobs/sha256").iterdir()) == []

    use(body)


def test_the_shipped_image_is_what_its_script_makes() -> None:
    assert make_hello_world.TARGET.read_bytes() == make_hello_world.layout()


def test_hello_world_needs_no_registry(use: Callable[[Use], None], monkeypatch: pytest.MonkeyPatch) -> None:
    from corten.engine.pull import Puller
    from corten.errors import Unavailable

    async def unreachable(*_: object, **__: object) -> None:
        raise Unavailable("request the registry: name or service not known")

    monkeypatch.setattr(Puller, "pull", unreachable)
    told = Told()

    async def body(images: Images) -> None:
        image = await images.pull("hello-world", "", None, told)
        assert image.repo_tags == ["hello-world:latest"]
        assert file(images, "hello-world", "hello").stat().st_mode & 0o111
        assert json.loads(image.raw)["config"]["Cmd"] == ["/hello"]

    use(body)
    assert "image that Corten ships" in told.text()
