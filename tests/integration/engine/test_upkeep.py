"""Garbage goes, and nothing else: while content comes in, after a failure, and under a limit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from corten.engine.images import Images
from corten.errors import CortenError
from tests.integration.engine.test_archives import layout, tar
from tests.integration.engine.test_images import LOWER, UPPER, Told, Use, chunks
from tests.integration.engine.test_images import use as use
from tests.support import images as make

pytestmark = pytest.mark.root


def _names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()} if directory.exists() else set()


def test_what_is_coming_in_outlives_a_prune(use: Callable[[Use], None], tmp_path: Path) -> None:
    blobs, layers = tmp_path / "blobs/sha256", tmp_path / "layers"

    async def body(images: Images) -> None:
        (old,) = await images.load(chunks(tar(layout([LOWER], "old:v1"))), Told())
        store = images._store.blobs
        orphan = store.put(b"nobody's")
        async with images.upkeep.adding():
            coming = store.put(b"coming in")
            assert store.has(old.manifest.digest)
            await images.remove("old:v1")
            assert _names(blobs) == {coming[7:], old.manifest.digest[7:]}
            assert orphan[7:] not in _names(blobs)
            assert len(_names(layers)) == 1
        await images.upkeep.settle()
        assert (_names(blobs), _names(layers)) == (set(), set())

    use(body)


def test_who_comes_while_layers_are_collected_waits(use: Callable[[Use], None]) -> None:
    async def body(images: Images) -> None:
        await images.load(chunks(tar(layout([LOWER], "old:v1"))), Told())
        archive = tar(layout([LOWER, UPPER], "new:v1"))
        gone, loaded = await asyncio.gather(images.remove("old:v1"), images.load(chunks(archive), Told()))
        assert gone[0] == {"Untagged": "old:v1"}
        assert [Path(one).exists() for one in images.layer_paths(loaded[0])[1]] == [True, True]
        await images.upkeep.settle()
        assert [Path(one).exists() for one in images.layer_paths(loaded[0])[1]] == [True, True]

    use(body)


def test_of_a_load_that_failed_nothing_is_kept(use: Callable[[Use], None], tmp_path: Path) -> None:
    broken = {**layout([LOWER, UPPER]), "index.json": layout([LOWER, UPPER])["index.json"]}
    broken[f"blobs/sha256/{make.digest(make.config_of([LOWER, UPPER]))[7:]}"] = make.config_of([UPPER, LOWER])
    listed = make.docker_archive(tmp_path / "a.tar", "a:v1", [LOWER, UPPER]).read_bytes()

    async def cut(content: bytes) -> AsyncIterator[bytes]:
        yield content[: len(content) // 2]
        raise CortenError("the client has left")

    async def body(images: Images) -> None:
        (kept,) = await images.load(chunks(tar(layout([LOWER], "kept:v1"))), Told())
        before = _names(tmp_path / "blobs/sha256")
        for stream in (chunks(tar(broken)), chunks(listed[: listed.index(b'"RepoTags"')]), cut(listed)):
            with pytest.raises(CortenError):
                await images.load(stream, Told())
        assert _names(tmp_path / "blobs/sha256") == before
        assert [image.id for image in await images.list()] == [kept.id]

    use(body)


def test_under_a_limit_the_longest_unused_go_first(use: Callable[[Use], None]) -> None:
    big = [make.layer({f"file{number}": bytes([number]) * 400_000}) for number in range(5)]
    archives = [tar(layout([one], f"big:v{number}")) for number, one in enumerate(big)]

    async def body(images: Images) -> None:
        images.upkeep.limit = 1_300_000
        for number in (0, 1):
            await images.load(chunks(archives[number]), Told())
        ids = {name: images.resolve(name).id for name in ("big:v0", "big:v1")}
        images.upkeep.used(ids["big:v0"])
        for number in (2, 3):
            await images.load(chunks(archives[number]), Told())
        assert sorted(one.repo_tags[0] for one in await images.list()) == ["big:v0", "big:v2", "big:v3"]
        images.upkeep.pin("big:v0", True)
        images.upkeep.in_use = lambda: {images.resolve("big:v2").id}
        await images.load(chunks(archives[4]), Told())
        assert sorted(one.repo_tags[0] for one in await images.list()) == ["big:v0", "big:v2", "big:v4"]
        rows, reclaimed = await images.prune({"dangling": ["false"]}, images.upkeep.in_use())
        assert ("big:v4" in str(rows), "big:v0" in str(rows), reclaimed > 400_000) == (True, False, True)
        images.upkeep.pin("big:v0", False)
        await images.prune({"dangling": ["false"]})
        assert await images.list() == []

    use(body)


def test_shared_layers_are_counted_once(use: Callable[[Use], None]) -> None:
    big = make.layer({"big": bytes(1_000_000)})

    async def body(images: Images) -> None:
        await images.load(chunks(tar(layout([big], "one:v1"))), Told())
        await images.load(chunks(tar(layout([big, LOWER], "two:v1"))), Told())
        shared = {image.repo_tags[0]: (image.size, size) for image, size in images.shared()}
        assert shared["one:v1"][0] == shared["one:v1"][1] == shared["two:v1"][1]
        assert shared["two:v1"][0] > shared["two:v1"][1]
        alone = images._store.size()
        assert shared["two:v1"][0] <= alone < shared["two:v1"][0] + 100_000

    use(body)
