"""Pulling against a real registry that misbehaves: what breaks off is gone on with, what is wrong is not kept."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import os
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from corten.engine import delivery
from corten.engine.events import Events
from corten.engine.images import Images
from corten.engine.pull import mirrors
from corten.errors import AccessDenied, CortenError, InvalidInput
from corten.store.images import ImageStore
from tests.support import images as make
from tests.support.certificates import Authority, openssl_problem
from tests.support.courier import Courier
from tests.support.registry import OCI_LAYER, Registry

pytestmark = [pytest.mark.root, pytest.mark.registry]

Pull = Callable[..., list[dict[str, Any]]]
GZIP = f"{OCI_LAYER}+gzip"


def noise(size: int, seed: int) -> bytes:
    """Bytes that no compression makes smaller."""
    return random.Random(seed).randbytes(size)


SIZES = (1 << 20, 4 << 20, 2 << 20)
LAYERS = [make.layer({f"file-{number}": noise(size, number)}) for number, size in enumerate(SIZES)]
PACKED = [gzip.compress(content, 1, mtime=0) for content in LAYERS]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data root."""
    (tmp_path / "staging").mkdir()
    return tmp_path


@pytest.fixture
def store(root: Path) -> Iterator[ImageStore]:
    """The store of a new, empty data root."""
    db = sqlite3.connect(root / "db", isolation_level=None)
    yield ImageStore(root, db)
    db.close()


@pytest.fixture
def pull(store: ImageStore, root: Path) -> Pull:
    """Pull an image; what was reported."""

    def run(reference: str, auth: dict[str, str] | None = None) -> list[dict[str, Any]]:
        told: list[dict[str, Any]] = []

        async def body() -> None:
            await Images(store, Events(), root / "staging").pull(reference, "", auth, told.append)

        asyncio.run(body())
        return told

    return run


@pytest.fixture
def courier(registry: Registry) -> Iterator[Courier]:
    """Stands in front of the registry, which has ``three``, an image of three layers."""
    registry.put_image("three", LAYERS, packed=PACKED, layer_type=GZIP)
    with Courier(registry.host) as made:
        yield made


def complete(store: ImageStore) -> bool:
    """Whether there is one image, with all its layers and blobs."""
    (image,) = store.images()
    have = [store.layers.has(one) for one in image.chain_ids], [store.blobs.has(one.digest) for one in image.layers]
    return all(map(all, have))


def digest(number: int) -> str:
    return make.digest(PACKED[number])


def test_the_largest_layer_is_asked_for_first(
    courier: Courier, store: ImageStore, pull: Pull, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "_AT_ONCE", 1)
    told = pull(f"{courier.host}/three")
    assert complete(store)
    asked = [what.rpartition("/")[2] for what, _ in courier.seen if "/blobs/" in what]
    assert asked[1:] == [digest(1), digest(2), digest(0)]
    pulled = [line["id"] for line in told if line.get("status") == "Pull complete"]
    assert pulled == [digest(number)[7:19] for number in range(3)]
    assert {line["status"] for line in told if line.get("id") == digest(1)[7:19]} >= {
        "Pulling fs layer", "Downloading", "Verifying Checksum", "Download complete", "Extracting", "Pull complete",
    }  # fmt: skip


def test_a_connection_that_breaks_is_gone_on_with(courier: Courier, store: ImageStore, pull: Pull) -> None:
    courier.breaks[digest(1)] = 3_000_000
    pull(f"{courier.host}/three")
    assert complete(store)
    first, second = courier.asked(digest(1))
    assert "Range" not in first
    start = int(second["Range"].removeprefix("bytes=").removesuffix("-"))
    assert 2_500_000 < start <= 3_000_000


def test_a_prune_in_the_midst_of_a_pull_takes_nothing_of_it(courier: Courier, store: ImageStore, root: Path) -> None:
    pruned = []

    async def body() -> None:
        images, loop = Images(store, Events(), root / "staging"), asyncio.get_running_loop()

        def report(line: dict[str, Any]) -> None:
            if line.get("status") == "Download complete":  # told by the thread that brings the layer, which waits here
                pruning = images.prune({"dangling": ["false"]})
                pruned.append(asyncio.run_coroutine_threadsafe(pruning, loop).result(60))

        await images.pull(f"{courier.host}/three", "", None, report)
        await images.upkeep.settle()

    asyncio.run(body())
    assert pruned == [([], 0)] * 3
    assert complete(store)


def test_what_was_downloaded_before_a_kill_is_gone_on_with(
    courier: Courier, store: ImageStore, root: Path, pull: Pull
) -> None:
    (root / "partial").mkdir()
    (root / "partial" / digest(1).replace(":", "-")).write_bytes(PACKED[1][:2_000_000])
    pull(f"{courier.host}/three")
    assert complete(store)
    assert [headers["Range"] for headers in courier.asked(digest(1))] == ["bytes=2000000-"]
    assert list((root / "partial").iterdir()) == []
    assert list((root / "staging").iterdir()) == []


@pytest.mark.parametrize("left", [noise(2_000_000, 99), PACKED[1] + b"more"], ids=["other", "longer"])
def test_what_an_attempt_has_left_and_is_wrong_is_forgotten(
    courier: Courier, store: ImageStore, root: Path, pull: Pull, left: bytes
) -> None:
    (root / "partial").mkdir()
    (root / "partial" / digest(1).replace(":", "-")).write_bytes(left)
    pull(f"{courier.host}/three")
    assert complete(store)


def test_what_is_left_is_not_kept_for_ever(store: ImageStore, root: Path) -> None:
    (root / "partial").mkdir()
    for name, age in (("sha256-old", 25 * 3600), ("sha256-new", 3600)):
        path = root / "partial" / name
        path.touch()
        os.utime(path, (path.stat().st_mtime - age,) * 2)
    store.blobs.expire()
    assert [path.name for path in (root / "partial").iterdir()] == ["sha256-new"]


def test_a_registry_that_is_busy_is_asked_again(courier: Courier, store: ImageStore, pull: Pull) -> None:
    courier.refuses += [503, 502]
    pull(f"{courier.host}/three")
    assert complete(store)


def test_content_that_is_not_what_it_is_called_is_refused(
    registry: Registry, store: ImageStore, root: Path, pull: Pull
) -> None:
    registry.put_image("forged", [LAYERS[0], LAYERS[2]], packed=[PACKED[0], PACKED[2]], layer_type=GZIP)
    forged = bytearray(PACKED[2])
    forged[1_000_000] ^= 1
    registry.blob_path(digest(2)).write_bytes(forged)
    try:
        with pytest.raises(CortenError):
            pull(f"{registry.host}/forged")
    finally:
        registry.blob_path(digest(2)).write_bytes(PACKED[2])
    assert store.images() == []
    assert not store.blobs.path(digest(2)).exists()  # type: ignore[arg-type]
    pull(f"{registry.host}/forged")
    assert complete(store)


def test_the_same_layer_twice_is_downloaded_once(
    courier: Courier, registry: Registry, store: ImageStore, pull: Pull
) -> None:
    registry.put_image("twice", [LAYERS[0]] * 3, packed=[PACKED[0]] * 3, layer_type=GZIP)
    pull(f"{courier.host}/twice")
    assert complete(store)
    assert len(courier.asked(digest(0))) == 1


def test_blobs_that_are_not_to_be_kept(registry: Registry, store: ImageStore, root: Path, pull: Pull) -> None:
    """The archive is there all the same, to the byte, where layers are files."""
    if store.layers.form != "erofs":
        pytest.skip("layers are directories here: their blobs are kept")
    store.keep_blobs = False
    registry.put_image("three", LAYERS, packed=PACKED, layer_type=GZIP)
    pull(f"{registry.host}/three")
    (image,) = store.images()
    assert not any(store.blobs.has(one.digest) for one in image.layers)
    assert list((root / "partial").iterdir()) == []
    for chain_id, diff_id in zip(image.chain_ids, image.document.diff_ids, strict=True):
        archive = store.layers.archive(chain_id)
        assert archive is not None
        assert f"sha256:{hashlib.sha256(b''.join(archive)).hexdigest()}" == diff_id
    told = pull(f"{registry.host}/three")
    assert sum(line.get("status") == "Already exists" for line in told) == 3


def test_a_redirect_takes_no_credentials_along(courier: Courier, store: ImageStore, pull: Pull) -> None:
    """Blobs come from elsewhere; what the registry is shown is nobody else's."""
    shown = {"username": "alice", "password": "secret"}
    courier.password = "Basic YWxpY2U6c2VjcmV0"
    with pytest.raises(AccessDenied):
        pull(f"{courier.host}/three")
    with Courier(courier.upstream, "127.0.0.2") as elsewhere:
        courier.elsewhere["/blobs/"] = f"http://{elsewhere.host}"
        pull(f"{courier.host}/three", shown)
        assert complete(store)
        assert len(elsewhere.asked("/blobs/")) == 4
        assert not any("Authorization" in headers for _, headers in elsewhere.seen)
    assert all("Authorization" in headers for headers in courier.asked("/blobs/"))


# --- whom to trust, and whom to ask first


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """An authority that no machine knows."""
    if problem := openssl_problem():
        pytest.skip(problem)
    return Authority.make(tmp_path / "authority", "a test's own")


@pytest.fixture
def closed(registry: Registry, authority: Authority) -> Iterator[Registry]:
    """A registry over the same store, for clients of the authority's alone."""
    registry.put_image("three", LAYERS, packed=PACKED, layer_type=GZIP)
    own = authority.issue("registry", "serverAuth", names="IP:127.0.0.1")
    made = Registry(registry.directory)
    made.tls = {
        "certificate": str(own / "cert.pem"), "key": str(own / "key.pem"), "clientcas": [authority.certificate],
    }  # fmt: skip
    yield made.start()
    made.stop()


@pytest.fixture
def certificates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where they are looked for."""
    directory = tmp_path / "certs.d"
    monkeypatch.setenv("CORTEN_CERTS_DIR", str(directory))
    return directory


def test_a_private_authority_and_a_client_certificate(
    closed: Registry, authority: Authority, certificates: Path, store: ImageStore, pull: Pull
) -> None:
    own = certificates / closed.host
    own.mkdir(parents=True)
    shutil.copy(authority.certificate, own / "ca.crt")
    with pytest.raises(CortenError, match=r"certificate|tls|closed|reset"):
        pull(f"{closed.host}/three")
    client = authority.issue("client", "clientAuth")
    shutil.copy(client / "cert.pem", own / "client.cert")
    with pytest.raises(InvalidInput, match=r"read certificate .*client\.cert"):
        pull(f"{closed.host}/three")
    shutil.copy(client / "key.pem", own / "client.key")
    pull(f"{closed.host}/three")
    assert complete(store)


def test_another_authority_is_not_trusted(
    closed: Registry, tmp_path: Path, certificates: Path, store: ImageStore, pull: Pull
) -> None:
    """Also on loopback, where nothing is verified without such a directory."""
    own = certificates / closed.host
    own.mkdir(parents=True)
    shutil.copy(Authority.make(tmp_path / "other", "another").certificate, own / "ca.crt")
    with pytest.raises(CortenError, match="certificate verify failed"):
        pull(f"{closed.host}/three")


def test_a_mirror_is_asked_first_and_shown_nothing(
    courier: Courier, registry: Registry, store: ImageStore, root: Path
) -> None:
    with Courier(registry.host) as mirror:
        asked = mirrors([f"{courier.host}=http://{mirror.host}"])
        images = Images(store, Events(), root / "staging", asked)
        auth = {"username": "alice", "password": "secret"}
        asyncio.run(images.pull(f"{courier.host}/three", "", auth, lambda _: None))
        assert complete(store)
        assert courier.seen == []
        assert not any("Authorization" in headers for _, headers in mirror.seen)
        assert store.images()[0].repo_tags == [f"{courier.host}/three:latest"]


def test_a_mirror_that_has_it_not_or_is_not_there_is_passed_over(
    courier: Courier, registry: Registry, store: ImageStore, root: Path
) -> None:
    with Courier(registry.host) as mirror:
        mirror.elsewhere["/manifests/"] = "http://127.0.0.1:1"
        asked = mirrors([f"{courier.host}=http://127.0.0.1:1", f"{courier.host}=http://{mirror.host}"])
        told: list[dict[str, Any]] = []
        images = Images(store, Events(), root / "staging", asked)
        asyncio.run(images.pull(f"{courier.host}/three", "", None, told.append))
    assert complete(store)
    assert sum(str(line.get("status")).startswith("Mirror http://127.0.0.1:") for line in told) == 2


@pytest.mark.parametrize("text", ["mirror.example", "ftp://mirror.example", "a=https://", "https://mirror.example/path"])
def test_mirrors_that_are_none(text: str) -> None:
    with pytest.raises(InvalidInput, match="invalid mirror"):
        mirrors([text])


def test_a_mirror_without_a_host_is_the_hubs() -> None:
    assert mirrors(["https://mirror.example/"]) == {"docker.io": ["https://mirror.example"]}
