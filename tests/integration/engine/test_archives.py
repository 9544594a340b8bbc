"""Archives of images: what is saved is what came; what is loaded is verified, and the hostile ones are refused."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from corten.engine.images import Images
from corten.errors import CortenError, InvalidInput, NotFound
from corten.spec.platform import Platform
from corten.store import packing
from corten.store.images import ImageStore
from tests.integration.engine.test_images import LOWER, UPPER, Told, Use, chunks
from tests.integration.engine.test_images import use as use
from tests.integration.engine.test_push import index_of
from tests.support import images as make
from tests.support.registry import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, Registry

pytestmark = pytest.mark.root
Members = dict[str, bytes]


def tar(members: Members | Sequence[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    """An archive of files, or of whatever entries."""
    if isinstance(members, dict):
        members = [(tarfile.TarInfo(name), content) for name, content in members.items()]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for entry, content in members:
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def untar(archive: bytes) -> Members:
    """The files of an archive."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        return {one.name: opened.extractfile(one).read() for one in opened}  # type: ignore[union-attr]


def blob(content: bytes) -> str:
    return f"blobs/sha256/{make.digest(content)[7:]}"


def layout(layers: list[bytes], name: str = "example.org/one:v1", **index: Any) -> Members:
    """An OCI layout of one image, its layers gzipped."""
    config = make.config_of(layers)
    packed = [gzip.compress(one, mtime=5) for one in layers]
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": make.descriptor(OCI_CONFIG, config),
        "layers": [make.descriptor(OCI_LAYER + "+gzip", one) for one in packed], "annotations": {"kept": "so"},
    }, indent=3).encode()  # fmt: skip
    entry = {**make.descriptor(OCI_MANIFEST, manifest), "annotations": {"io.containerd.image.name": name}}
    top = json.dumps({"schemaVersion": 2, "manifests": [entry], **index}).encode()
    members = {blob(one): one for one in (config, manifest, *packed)}
    return {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', **members, "index.json": top}


async def saved(images: Images, *names: str, platform: Platform | None = None, since: str = "") -> bytes:
    return b"".join([chunk async for chunk in await images.save(names, platform, since)])


def test_a_layout_is_saved_with_the_very_blobs_it_came_with(use: Callable[[Use], None]) -> None:
    came = layout([LOWER, UPPER])

    async def body(images: Images) -> None:
        await images.load(chunks(tar(came)), Told())
        went = untar(await saved(images, "example.org/one:v1"))
        assert {name: content for name, content in went.items() if name.startswith("blobs/")} == {
            name: content for name, content in came.items() if name.startswith("blobs/")
        }

    use(body)


def test_several_images_and_all_their_tags_come_back(use: Callable[[Use], None], tmp_path: Path) -> None:
    told = Told()
    two = make.docker_archive(tmp_path / "two.tar", "two:v2", [LOWER, UPPER]).read_bytes()

    async def body(images: Images) -> None:
        await images.load(chunks(tar(layout([LOWER]))), Told())
        await images.load(chunks(two), Told())
        await images.tag("two:v2", "two:other")
        await images.tag("two:v2", "registry.example:5000/x/two:v2")
        before = {image.id: image.repo_tags for image in await images.list()}
        archive = await saved(images, "example.org/one:v1", "two:v2", "two:other", "registry.example:5000/x/two")
        assert len(untar(archive)) == len(set(untar(archive)))
        for image in await images.list():
            await images.remove(image.id, force=True)
        await images.load(chunks(gzip.compress(archive)), told)
        assert {image.id: image.repo_tags for image in await images.list()} == before

    use(body)
    assert [line["stream"] for line in told.lines if "stream" in line] == [
        "Loaded image: example.org/one:v1\n", "Loaded image: two:v2\n", "Loaded image: two:other\n",
        "Loaded image: registry.example:5000/x/two:v2\n",
    ]  # fmt: skip


@pytest.mark.registry
def test_an_index_is_saved_and_loaded_as_it_came(use: Callable[[Use], None], registry: Registry) -> None:
    index = index_of(registry, "multi/saved")
    name = registry.reference("multi/saved")

    async def body(images: Images) -> None:
        await images.pull(name, "linux/s390x", None, Told())
        own = await images.pull(name, "", None, Told())
        archive = await saved(images, name)
        (entry,) = json.loads(untar(archive)["index.json"])["manifests"]
        assert (entry["digest"], entry["mediaType"]) == (index["digest"], OCI_INDEX)
        assert len([one for one in untar(archive) if one.startswith("blobs/")]) == 7
        other = await saved(images, name, platform=Platform("linux", "s390x"))
        assert len([one for one in untar(other) if one.startswith("blobs/")]) == 3
        with pytest.raises(NotFound, match=r"does not provide the specified platform \(linux/riscv64\)"):
            await saved(images, name, platform=Platform("linux", "riscv64"))
        for image in await images.list():
            await images.remove(image.id, force=True)
        (loaded,) = await images.load(chunks(archive), Told())
        assert (loaded.id, loaded.index and loaded.index.digest) == (own.id, index["digest"])
        assert await saved(images, name) == archive
        (loaded,) = await images.load(chunks(archive), Told(), Platform("linux", "s390x"))
        assert loaded.architecture == "s390x"
        with pytest.raises(InvalidInput, match="nothing in the archive is for linux/riscv64"):
            await images.load(chunks(archive), Told(), Platform("linux", "riscv64"))

    use(body)


def test_since_leaves_out_what_the_other_side_has(use: Callable[[Use], None]) -> None:
    base, whole = layout([LOWER], "base:v1"), layout([LOWER, UPPER], "whole:v1")

    async def body(images: Images) -> None:
        await images.load(chunks(tar(base)), Told())
        (image,) = await images.load(chunks(tar(whole)), Told())
        part = await saved(images, "whole:v1", since="base:v1")
        assert blob(gzip.compress(LOWER, mtime=5)) not in untar(part)
        assert blob(gzip.compress(UPPER, mtime=5)) in untar(part)
        await images.remove("whole:v1")
        (again,) = await images.load(chunks(part), Told())
        assert (again.id, again.manifest) == (image.id, image.manifest)
        await images.remove("whole:v1")
        await images.remove("base:v1")
        with pytest.raises(NotFound, match=r"that of its base base:v1 \([0-9a-f]{12}\), is not here") as caught:
            await images.load(chunks(part), Told())
        assert caught.value.hint == "load the base first"
        assert await images.list() == []

    use(body)


def test_a_base_in_another_compression_serves_as_well(use: Callable[[Use], None], tmp_path: Path) -> None:
    plain = make.docker_archive(tmp_path / "base.tar", "base:v1", [LOWER]).read_bytes()

    async def body(images: Images) -> None:
        await images.load(chunks(tar(layout([LOWER], "base:v1"))), Told())
        (image,) = await images.load(chunks(tar(layout([LOWER, UPPER], "whole:v1"))), Told())
        part = await saved(images, "whole:v1", since="base:v1")
        await images.remove("whole:v1")
        await images.remove("base:v1")
        await images.load(chunks(plain), Told())
        (again,) = await images.load(chunks(part), Told())
        assert again.id == image.id
        assert len(images.layer_paths(again)[1]) == 2

    use(body)


def test_a_blob_that_is_not_kept_is_made_anew_from_the_archive(
    use: Callable[[Use], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = b"".join(packing.gzipped(io.BytesIO(UPPER)))

    async def body(images: Images) -> None:
        await images.load(chunks(tar(layout([LOWER, UPPER]))), Told())
        (tmp_path / blob(gzip.compress(UPPER, mtime=5))).unlink()
        with pytest.raises(NotFound) as caught:
            await saved(images, "example.org/one:v1")
        assert caught.value.hint == "pull the image again"
        monkeypatch.setattr(ImageStore, "archive", lambda *_: iter([UPPER]))
        archive = untar(await saved(images, "example.org/one:v1"))
        assert archive[blob(packed)] == packed
        assert blob(gzip.compress(LOWER, mtime=5)) in archive
        image = images.resolve("example.org/one:v1")
        assert blob(archive[f"blobs/sha256/{image.manifest.digest[7:]}"]) in archive
        assert untar(await saved(images, "example.org/one:v1")) == archive

    use(body)


# --- strangers' archives


def _entry(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry


def _listed(**changes: Any) -> Members:
    config = make.config_of([LOWER])
    entry = {"Config": "config.json", "RepoTags": ["bad:v1"], "Layers": ["layer.tar"], **changes}
    return {"config.json": config, "layer.tar": LOWER, "manifest.json": json.dumps([entry]).encode()}


def _without(members: Members, part: str) -> Members:
    return {name: content for name, content in members.items() if part not in name}


def _linked(kind: bytes, target: str) -> list[tuple[tarfile.TarInfo, bytes]]:
    listed = _without(_listed(), "layer")
    return [(_entry("layer.tar", kind, target), b""), *((_entry(name), content) for name, content in listed.items())]


def _rewritten(change: Callable[[dict[str, Any]], None]) -> Members:
    """A layout whose manifest says something else, and is what the index says it is."""
    members = layout([LOWER])
    (entry,) = json.loads(members["index.json"])["manifests"]
    manifest = json.loads(members.pop(f"blobs/sha256/{entry['digest'][7:]}"))
    change(manifest)
    content = json.dumps(manifest).encode()
    index = json.dumps({"schemaVersion": 2, "manifests": [make.descriptor(OCI_MANIFEST, content)]}).encode()
    return {**members, blob(content): content, "index.json": index}


def _nested(depth: int) -> Members:
    members = layout([LOWER])
    for _ in range(depth):
        (entry,) = json.loads(members["index.json"])["manifests"]
        entry["platform"] = {"os": "linux", "architecture": make.ARCHITECTURE}
        inner = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}).encode()
        top = json.dumps({"schemaVersion": 2, "manifests": [make.descriptor(OCI_INDEX, inner)]}).encode()
        members = {**members, blob(inner): inner, "index.json": top}
    return members


HOSTILE: dict[str, bytes] = {
    "a layer outside": tar(_listed(Layers=["../../../../../../etc/passwd"])),
    "an absolute layer": tar(_listed(Layers=["/etc/passwd"])),
    "a configuration outside": tar(_listed(Config="/etc/hostname")),
    "a link outside": tar(_linked(tarfile.SYMTYPE, "/etc/passwd")),
    "a hard link outside": tar(_linked(tarfile.LNKTYPE, "../../etc/passwd")),
    "a link to itself": tar(_linked(tarfile.SYMTYPE, "layer.tar")),
    "a device": tar(_linked(tarfile.CHRTYPE, "")),
    "a fifo": tar(_linked(tarfile.FIFOTYPE, "")),
    "another layer than the configuration's": tar({**_listed(), "layer.tar": UPPER}),
    "more layers than diff IDs": tar(_listed(Layers=["layer.tar", "layer.tar"])),
    "no layers": tar(_listed(Layers=[])),
    "layers that are no list": tar(_listed(Layers="layer.tar")),
    "a name that is none": tar(_listed(RepoTags=["UPPER CASE"])),
    "a name that is a digest's": tar(_listed(RepoTags=["sha256:" + "a" * 64])),
    "a name with a digest": tar(_listed(RepoTags=["x@sha256:" + "a" * 64])),
    "a list that is an object": tar({**_listed(), "manifest.json": b"{}"}),
    "a list of numbers": tar({**_listed(), "manifest.json": b"[1]"}),
    "a list without an end": tar({**_listed(), "manifest.json": b"[" * 100_000}),
    "a list of lone surrogates": tar({**_listed(), "manifest.json": b'[{"Config": "\\ud800"}]'}),
    "a huge list": tar({**_listed(), "manifest.json": b" " * (5 << 20)}),
    "a configuration that is none": tar({**_listed(), "config.json": b"no"}),
    "a configuration without layers": tar({**_listed(), "config.json": b"{}"}),
    "a huge configuration": tar({**_listed(), "config.json": b" " * (9 << 20)}),
    "a truncated archive": tar(_listed())[:2000],
    "a truncated stream": gzip.compress(tar(_listed()))[:-40],
    "a blob that is another": tar({**layout([LOWER]), blob(gzip.compress(LOWER, mtime=5)): gzip.compress(UPPER)}),
    "a configuration that is another": tar({**layout([LOWER]), blob(make.config_of([LOWER])): make.config_of([UPPER])}),
    "a blob that is not there": tar(_without(layout([LOWER]), make.digest(gzip.compress(LOWER, mtime=5))[7:])),
    "a manifest that is not there": tar(_rewritten(lambda _: None) | {"index.json": layout([UPPER])["index.json"]}),
    "a digest with a path": tar(_rewritten(lambda one: one["layers"][0].update(digest="sha256:../../../etc/passwd"))),
    "a size that is another": tar(_rewritten(lambda one: one["layers"][0].update(size=3))),
    "a size below nothing": tar(_rewritten(lambda one: one["layers"][0].update(size=-1))),
    "a manifest with two readings": tar(_rewritten(lambda one: one.update(manifests=[]))),
    "a manifest of another kind": tar(_rewritten(lambda one: one.update(mediaType=OCI_INDEX))),
    "too many layers": tar(_rewritten(lambda one: one.update(layers=one["layers"] * 128))),
    "layers that are not distributed": tar(_rewritten(lambda one: one["layers"][0].update(
        mediaType="application/vnd.oci.image.layer.nondistributable.v1.tar"))),
    "indexes one in the other without an end": tar(_nested(5)),
    "an index of nothing": tar({"oci-layout": b"{}", "index.json": b'{"manifests": [], "layers": []}'}),
    "nothing of images": tar({"etc/passwd": b"root"}),
}  # fmt: skip


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_indexes_in_an_index_are_read_and_written(use: Callable[[Use], None], depth: int) -> None:
    came = _nested(depth)

    async def body(images: Images) -> None:
        (image,) = await images.load(chunks(tar(came)), Told())
        went = untar(await saved(images, image.id))
        blobs = {name: content for name, content in came.items() if name.startswith("blobs/")}
        assert {name: content for name, content in went.items() if name.startswith("blobs/")} == blobs
        assert len(blobs) == 3 + depth

    use(body)


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_archive_is_refused(use: Callable[[Use], None], tmp_path: Path, what: str) -> None:
    async def body(images: Images) -> None:
        with pytest.raises(CortenError):
            await images.load(chunks(HOSTILE[what]), Told())
        assert await images.list() == []

    use(body)
    assert list((tmp_path / "layers").iterdir()) == []
    assert list((tmp_path / "staging").iterdir()) == []


# --- other tools


def _done(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True)


def test_skopeo_and_umoci_read_what_was_saved(use: Callable[[Use], None], tmp_path: Path) -> None:
    came = layout([LOWER, UPPER])

    async def body(images: Images) -> None:
        await images.load(chunks(tar(came)), Told())
        (tmp_path / "saved.tar").write_bytes(await saved(images, "example.org/one:v1"))

    use(body)
    archive, copied = tmp_path / "saved.tar", tmp_path / "copied"
    for form in ("oci-archive", "docker-archive"):
        source = f"{form}:{archive}:{'v1' if form == 'oci-archive' else 'example.org/one:v1'}"
        _done("skopeo", "inspect", source)
    _done("skopeo", "copy", "--preserve-digests", f"oci-archive:{archive}:v1", f"oci:{copied}:v1")
    _done("umoci", "unpack", "--image", f"{copied}:v1", str(tmp_path / "out"))
    root = tmp_path / "out/rootfs"
    assert (root / "etc/name").read_bytes() == b"upper\n"
    assert not (root / "bin/tool").exists()


@pytest.mark.parametrize("form", ["oci-archive", "docker-archive"])
def test_what_skopeo_writes_is_read(use: Callable[[Use], None], tmp_path: Path, form: str) -> None:
    make.oci_layout(tmp_path / "source", "v1", [LOWER, UPPER])
    target = f"{form}:{tmp_path / 'made.tar'}:example.org/made:v1"
    _done("skopeo", "copy", f"oci:{tmp_path / 'source'}:v1", target)

    async def body(images: Images) -> None:
        (image,) = await images.load(chunks((tmp_path / "made.tar").read_bytes()), Told())
        assert image.repo_tags == ["example.org/made:v1"]

    use(body)
