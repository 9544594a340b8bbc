"""What is pushed is what came, to the byte; what breaks goes on; what is there already is not sent."""

from __future__ import annotations

import gzip
import json
import random
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from corten.engine.images import Images
from corten.errors import DataCorrupt, NotFound
from corten.registry.upload import Uploads
from corten.spec import platform as platforms
from corten.spec import reference as references
from corten.spec.descriptor import Descriptor
from corten.spec.digest import Digest
from corten.spec.platform import Platform
from tests.integration.engine.test_images import LOWER, UPPER, Told, Use, chunks
from tests.integration.engine.test_images import use as use
from tests.support import images as make
from tests.support.cutting import CuttingRelay
from tests.support.registry import (
    DOCKER_CONFIG,
    DOCKER_LAYER_GZIP,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    Registry,
)

pytestmark = [pytest.mark.root, pytest.mark.registry]
_TYPES = ", ".join((OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST))


def there(registry: Registry, name: str, tag: str = "latest") -> tuple[bytes, str]:
    """A manifest as the registry has it, and its type."""
    request = urllib.request.Request(f"http://{registry.host}/v2/{name}/manifests/{tag}", headers={"Accept": _TYPES})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
        return answer.read(), answer.headers["Content-Type"]


def image_of(registry: Registry, name: str, layer: bytes, architecture: str, tag: str) -> dict[str, Any]:
    """An image for a platform, its layer compressed as no one here would; its entry in an index."""
    config = json.loads(make.config_of([layer]))
    config["architecture"] = architecture
    described = registry.put_blob(name, OCI_CONFIG, json.dumps(config, indent=1).encode())
    packed = registry.put_blob(name, OCI_LAYER + "+gzip", gzip.compress(layer, compresslevel=1, mtime=1234))
    value = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": described, "layers": [packed],
             "annotations": {"org.example.kept": "to the byte"}}  # fmt: skip
    entry = registry.put_manifest(name, tag, OCI_MANIFEST, value)
    return {**entry, "platform": {"architecture": architecture, "os": "linux"}}


def index_of(registry: Registry, name: str) -> dict[str, Any]:
    """An index of two platforms under ``latest``; its descriptor."""
    other = image_of(registry, name, UPPER, "s390x", "other")
    entries = [other, image_of(registry, name, LOWER, make.ARCHITECTURE, "own")]
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries, "annotations": {"a": "b"}}
    return registry.put_manifest(name, "latest", OCI_INDEX, index)


@pytest.mark.parametrize("kind", ["oci", "docker"])
def test_a_manifest_goes_on_to_the_byte(use: Callable[[Use], None], registry: Registry, kind: str) -> None:
    docker = {"manifest": DOCKER_MANIFEST, "config_type": DOCKER_CONFIG, "layer_type": DOCKER_LAYER_GZIP}
    types = docker if kind == "docker" else {"layer_type": OCI_LAYER + "+gzip"}
    packed = [gzip.compress(one, compresslevel=1, mtime=77) for one in (LOWER, UPPER)]
    came = registry.put_image(f"from/{kind}", [LOWER, UPPER], packed=packed, **types)  # type: ignore[arg-type]
    told = Told()

    async def body(images: Images) -> None:
        image = await images.pull(registry.reference(f"from/{kind}"), "", None, Told())
        await images.tag(image.id, registry.reference(f"to/{kind}"))
        await images.push(f"{registry.host}/to/{kind}", "latest", None, told)
        again = images.resolve(image.id)
        assert f"{registry.host}/to/{kind}@{came['digest']}" in again.repo_digests

    use(body)
    assert there(registry, f"to/{kind}") == there(registry, f"from/{kind}")
    assert told.text().count(f"Mounted from from/{kind}") == 2
    assert "Pushing" not in told.text()


def test_an_index_goes_on_where_all_of_it_is(use: Callable[[Use], None], registry: Registry) -> None:
    index = index_of(registry, "multi/from")
    alone, whole, single = Told(), Told(), Told()

    async def body(images: Images) -> None:
        first = await images.pull(registry.reference("multi/from"), "", None, Told())
        await images.tag(first.id, registry.reference("multi/to"))
        await images.push(f"{registry.host}/multi/to", "latest", None, alone)
        assert make.digest(there(registry, "multi/to")[0]) == first.manifest.digest
        await images.pull(registry.reference("multi/from"), "linux/s390x", None, Told())
        await images.push(f"{registry.host}/multi/to", "latest", None, whole)
        assert f"{registry.host}/multi/to@{index['digest']}" in images.resolve(first.id).repo_digests
        await images.tag(first.id, registry.reference("multi/single"))
        await images.push(f"{registry.host}/multi/single", "latest", None, single, alone=True)

    use(body)
    assert "the image of this platform is pushed alone" in alone.text()
    assert there(registry, "multi/to") == there(registry, "multi/from")
    assert there(registry, "multi/to", "latest")[1] == OCI_INDEX
    assert "pushed alone" not in whole.text()
    assert there(registry, "multi/single")[1] == OCI_MANIFEST


def test_the_whole_of_an_index_is_pulled_where_that_is_asked(use: Callable[[Use], None], registry: Registry) -> None:
    index_of(registry, "multi/all")
    told = Told()

    async def body(images: Images) -> None:
        image = await images.pull(registry.reference("multi/all"), "", None, told, whole=True)
        await images.prune()
        await images.tag(image.id, registry.reference("multi/copied"))
        await images.push(f"{registry.host}/multi/copied", "latest", None, told)
        saved = b"".join([chunk async for chunk in await images.save([image.id])])
        assert saved.count(b"blobs/sha256/") >= 7  # each twice: manifest, configuration and layer; the index
        await images.remove(image.id, force=True)
        again = await images.load(chunks(saved), Told(), platforms.parse("linux/s390x", Platform()))
        assert again[0].architecture == "s390x"

    use(body)
    assert there(registry, "multi/copied") == there(registry, "multi/all")
    assert "pushed alone" not in told.text()


def attestation_of(registry: Registry, name: str, of: dict[str, Any]) -> dict[str, Any]:
    """What BuildKit puts beside an image: a manifest whose layer is no file system; its entry in an index."""
    config = registry.put_blob(name, OCI_CONFIG, make.config_of([b"{}"]))
    layer = registry.put_blob(name, "application/vnd.in-toto+json", b"{}")
    value = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [layer]}
    entry = registry.put_manifest(name, "attestation", OCI_MANIFEST, value)
    told = {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": of["digest"]}
    return {**entry, "platform": {"architecture": "unknown", "os": "unknown"}, "annotations": told}


def nested_of(registry: Registry, name: str) -> dict[str, Any]:
    """An index under ``latest`` with an index for each of two platforms, in one of which an attestation is; its
    descriptor. What is inside tells no platform of its own."""
    entries = []
    for layer, architecture in ((UPPER, "s390x"), (LOWER, make.ARCHITECTURE)):
        image = image_of(registry, name, layer, architecture, architecture)
        platform = image.pop("platform")
        inside = [image, attestation_of(registry, name, image)] if architecture == "s390x" else [image]
        inner = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": inside}
        entries.append({**registry.put_manifest(name, f"in-{architecture}", OCI_INDEX, inner), "platform": platform})
    return registry.put_manifest(name, "latest", OCI_INDEX, {
        "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries,
    })  # fmt: skip


def every(registry: Registry, name: str, tag: str = "latest") -> dict[str, bytes]:
    """All manifests and blobs that a registry has of an index, by their digests: each is asked for."""
    content, kind = there(registry, name, tag)
    found, value = {make.digest(content): content}, json.loads(content)
    for one in value.get("manifests", ()):
        found |= every(registry, name, one["digest"])
    if kind != OCI_INDEX:
        url = f"http://{registry.host}/v2/{name}/blobs/"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        for one in (value["config"], *value["layers"]):
            with opener.open(url + one["digest"], timeout=30) as answer:
                found[one["digest"]] = answer.read()
    return found


def test_indexes_in_an_index_and_what_is_beside_images_go_on(
    use: Callable[[Use], None], registry: Registry, tmp_path: Path
) -> None:
    index = nested_of(registry, "nested/from")
    alone, whole = Told(), Told()

    async def body(images: Images) -> None:
        image = await images.pull(registry.reference("nested/from"), "", None, Told())
        assert image.architecture == make.ARCHITECTURE
        await images.tag(image.id, registry.reference("nested/to"))
        await images.push(f"{registry.host}/nested/to", "latest", None, alone)
        assert there(registry, "nested/to")[1] == OCI_MANIFEST
        await images.pull(registry.reference("nested/from"), "", None, Told(), whole=True)
        await images.prune()
        await images.push(f"{registry.host}/nested/to", "latest", None, whole)
        saved = b"".join([chunk async for chunk in await images.save([registry.reference("nested/to")])])
        one = b"".join([chunk async for chunk in await images.save([image.id], Platform("linux", "s390x"))])
        await images.remove(image.id, force=True)
        assert list((tmp_path / "blobs/sha256").iterdir()) == []
        (again,) = await images.load(chunks(one), Told(), Platform("linux", "s390x"))
        assert (again.architecture, again.index) == ("s390x", None)
        await images.remove(again.id, force=True)
        (again,) = await images.load(chunks(saved), Told())
        assert (again.id, again.index and again.index.digest) == (image.id, index["digest"])
        await images.tag(again.id, registry.reference("nested/loaded"))
        await images.push(f"{registry.host}/nested/loaded", "latest", None, whole)
        (other,) = await images.load(chunks(saved), Told(), Platform("linux", "s390x"))
        assert other.architecture == "s390x"

    use(body)
    assert "the image of this platform is pushed alone" in alone.text()
    assert "pushed alone" not in whole.text()
    came = every(registry, "nested/from")
    # Of each image a manifest, a configuration and a layer, the same of the attestation, and three indexes.
    assert len(came) == 12
    assert every(registry, "nested/to") == every(registry, "nested/loaded") == came


def test_only_the_indexes_of_a_platform_are_asked_for(
    use: Callable[[Use], None], registry: Registry, tmp_path: Path
) -> None:
    index = nested_of(registry, "nested/own")

    async def body(images: Images) -> None:
        await images.pull(registry.reference("nested/own"), "", None, Told())
        # Both indexes on the way, a manifest, a configuration, a layer.
        assert len(list((tmp_path / "blobs/sha256").iterdir())) == 5
        with pytest.raises(NotFound, match="no matching manifest for linux/riscv64 in the manifest list entries"):
            await images.pull(registry.reference("nested/own"), "linux/riscv64", None, Told())
        await images.prune()
        assert (tmp_path / "blobs/sha256" / index["digest"][7:]).exists()

    use(body)


def test_indexes_without_an_end_are_refused(use: Callable[[Use], None], registry: Registry, tmp_path: Path) -> None:
    entry = image_of(registry, "nested/deep", LOWER, make.ARCHITECTURE, "own")
    for tag in ("three", "two", "one", "latest"):
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}
        entry = registry.put_manifest("nested/deep", tag, OCI_INDEX, index)

    async def body(images: Images) -> None:
        await images.pull(registry.reference("nested/deep", "latest"), "", None, Told(), whole=True)
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}
        registry.put_manifest("nested/deep", "deeper", OCI_INDEX, index)
        for whole in (False, True):
            with pytest.raises(DataCorrupt, match="more than 4 are one in the other"):
                await images.pull(registry.reference("nested/deep", "deeper"), "", None, Told(), whole=whole)

    use(body)


def test_without_a_tag_all_tags_come(use: Callable[[Use], None], registry: Registry) -> None:
    for tag in ("one", "two", "three"):
        registry.put_image("tagged", [LOWER, UPPER], tag=tag, User=tag)

    async def body(images: Images) -> None:
        for one in await images.offered(f"{registry.host}/tagged", None):
            await images.pull(one, "", None, Told())
        names = {name for image in await images.list() for name in image.repo_tags}
        assert names == {f"{registry.host}/tagged:{tag}" for tag in ("one", "two", "three")}

    use(body)


def test_an_index_is_kept_as_long_as_its_image(use: Callable[[Use], None], registry: Registry, tmp_path: Path) -> None:
    index = index_of(registry, "multi/kept")
    blobs = tmp_path / "blobs/sha256"

    async def body(images: Images) -> None:
        first = await images.pull(registry.reference("multi/kept"), "", None, Told())
        await images.prune()
        assert (blobs / index["digest"][7:]).exists()
        await images.remove(first.id, force=True)
        assert list(blobs.iterdir()) == []

    use(body)


def test_what_was_written_here_is_compressed_once_and_always_the_same(
    use: Callable[[Use], None], registry: Registry, tmp_path: Path
) -> None:
    archive = make.docker_archive(tmp_path / "a.tar", "made/here:v1", [LOWER, UPPER]).read_bytes()
    other = make.docker_archive(tmp_path / "b.tar", "made/other:v1", [LOWER, UPPER], User="me").read_bytes()
    first, second = Told(), Told()

    async def body(images: Images) -> None:
        (image,) = await images.load(chunks(archive), Told())
        await images.tag(image.id, registry.reference("anew/one"))
        await images.push(f"{registry.host}/anew/one", "latest", None, first)
        sent = images.resolve(image.id)
        assert sent.manifest.digest == make.digest(there(registry, "anew/one")[0])
        assert [layer.media_type for layer in sent.layers] == [OCI_LAYER + "+gzip"] * 2
        (image,) = await images.load(chunks(other), Told())
        await images.tag(image.id, registry.reference("anew/two"))
        await images.push(f"{registry.host}/anew/two", "latest", None, second)
        await images.prune()
        assert images.resolve(image.id).layers == sent.layers

    use(body)
    assert first.text().count("Compressed anew as") == 2
    assert "Compressed anew" not in second.text()
    assert second.text().count("Mounted from anew/one") == 2


@pytest.fixture
def relay(registry: Registry) -> Iterator[CuttingRelay]:
    """The wire to the registry, which breaks twice in the middle of a blob."""
    made = CuttingRelay(registry.port, [2_000_000, 3_000_000])
    try:
        yield made
    finally:
        made.close()


def test_a_push_whose_wire_breaks_begins_the_blob_anew(
    use: Callable[[Use], None], registry: Registry, relay: CuttingRelay, tmp_path: Path
) -> None:
    """Debian's registry knows nothing of an upload whose connection broke: it answers 404 to the question."""
    layer = make.layer({"random": random.Random(7).randbytes(5_000_000)})
    archive = make.docker_archive(tmp_path / "large.tar", "large:v1", [layer]).read_bytes()
    name = f"127.0.0.1:{relay.port}/pushed/broken"

    async def body(images: Images) -> None:
        (image,) = await images.load(chunks(archive), Told())
        await images.tag(image.id, f"{name}:latest")
        await images.push(name, "latest", None, Told())
        assert make.digest(there(registry, "pushed/broken")[0]) == images.resolve(image.id).manifest.digest

    use(body)
    (blob,) = json.loads(there(registry, "pushed/broken")[0])["layers"]
    assert gzip.decompress(registry.blob_path(blob["digest"]).read_bytes()) == layer
    assert relay.sent > blob["size"] + 2_000_000  # what came before a cut went again


def test_an_upload_that_breaks_off_arrives(registry: Registry, relay: CuttingRelay, tmp_path: Path) -> None:
    content = random.Random(5).randbytes(5_000_000)
    blob = Descriptor(OCI_LAYER, Digest(make.digest(content)), len(content))
    path = tmp_path / "blob"
    path.write_bytes(content)
    told: list[int] = []
    with Uploads(references.parse(f"127.0.0.1:{relay.port}/broken"), wait=lambda _: None) as uploads:
        uploads.ping()
        assert not uploads.has(blob)
        assert uploads.blob(blob, lambda: path.open("rb"), told.append) == ""
        assert uploads.has(blob)
    assert told[-1] == len(content)
    assert relay.sent > len(content)
    assert registry.blob_path(blob.digest).read_bytes() == content
