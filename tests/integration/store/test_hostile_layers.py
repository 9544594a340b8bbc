"""Layers that mean harm, one by one, in every form: nothing outside is touched, nothing inside is kept."""

from __future__ import annotations

import gzip
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from corten.errors import CortenError, DataCorrupt
from corten.spec import digest as digests
from corten.store.layers import LayerStore
from tests.support.layers import archive, member, seen, unpacked

pytestmark = pytest.mark.root

FORMS = ("erofs", "overlay", "copy")
DIRECTORY, LINK, HARD = tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
Unpack = Callable[..., None]


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> str:
    """The form of the layers."""
    name: str = request.param
    return name


@pytest.fixture
def refused(form: str, tmp_path: Path) -> Unpack:
    """Unpack archives, the last of which must be refused, for a reason with these words. Beside the store lies a file
    that hostile names point to, and nothing of the layer is left."""

    def run(*archives: bytes, why: str, limit: int = 1 << 30) -> None:
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "file").write_text("untouched")
        store = LayerStore(tmp_path / "root", snapshotter=form, max_bytes=limit)
        below = unpacked(store, tmp_path, archives[:-1])
        with pytest.raises(CortenError, match=why):
            unpacked_last(store, tmp_path, archives[-1], below[-1] if below else None)
        assert store.all() == sorted(LayerStore.short(layer.chain_id) for layer in below)
        assert list((tmp_path / "root/staging").iterdir()) == []
        assert sorted(path.name for path in outside.iterdir()) == ["file"]
        assert (outside / "file").read_text() == "untouched"

    return run


def unpacked_last(store: LayerStore, directory: Path, content: bytes, below: object) -> None:
    blob = directory / "last"
    blob.write_bytes(content)
    plain = gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
    store.unpack(blob, digests.of(plain), below, lambda _: None)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["../outside/file", "a/../../outside/file", "/etc/passwd", "/../x", "a/b/../../../c"])
def test_names_that_leave_the_root(refused: Unpack, name: str) -> None:
    refused(archive(member("a", DIRECTORY), (member(name), b"harm")), why="leaves the root")


@pytest.mark.parametrize("target", ["../../outside", "a/../../outside"])
def test_parents_that_are_symlinks_out_of_the_root(refused: Unpack, target: str) -> None:
    content = archive(member("a", DIRECTORY), member("way", LINK, linkname=target), (member("way/file"), b"harm"))
    refused(content, why="a symlink|symlink to nothing|not a directory")


@pytest.mark.parametrize("between", [(), (("d", b"a file"),)], ids=["at-once", "a-file-between"])
def test_a_directory_that_was_written_to_is_replaced_by_a_symlink_outside(
    refused: Unpack, between: tuple[tuple[str, bytes], ...]
) -> None:
    """Who has the directory open still, or knows it, would write to what is no longer in the layer, or outside."""
    content = archive(
        member("d", DIRECTORY), (member("d/one"), b"x"), *((member(name), data) for name, data in between),
        member("d", LINK, linkname="../../outside"), (member("d/file"), b"harm"),
    )  # fmt: skip
    refused(content, why="a symlink|symlink to nothing|not a directory")


def test_a_directory_that_was_written_to_is_replaced_by_one_inside(form: str, tmp_path: Path) -> None:
    layers = unpacked(LayerStore(tmp_path / "root", snapshotter=form), tmp_path, [archive(
        member("d", DIRECTORY), (member("d/one"), b"old"), member("other", DIRECTORY),
        member("d", LINK, linkname="other"), (member("d/two"), b"through the link"),
        member("e", DIRECTORY), (member("e/one"), b"old"), (member("e"), b"a file"), member("e", DIRECTORY),
        (member("e/two"), b"in the new one"),
    )])  # fmt: skip
    found = seen(tmp_path / "root", layers).keys()
    assert {"other/two", "e/two"} <= found
    assert not {"d/one", "d/two", "other/one", "e/one"} & found


def test_an_absolute_symlink_is_the_containers(form: str, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    layers = unpacked(LayerStore(tmp_path / "root", snapshotter=form), tmp_path, [archive(
        member(str(outside)[1:], DIRECTORY), member("way", LINK, linkname=str(outside)),
        (member("way/file"), b"inside"),
    )])  # fmt: skip
    assert f"{str(outside)[1:]}/file" in seen(tmp_path / "root", layers)
    assert list(outside.iterdir()) == []


def test_symlinks_that_go_round_in_circles(refused: Unpack) -> None:
    loop = member("one", LINK, linkname="two"), member("two", LINK, linkname="one")
    refused(archive(*loop, (member("one/file"), b"x")), why=r"one|symbolic links")


@pytest.mark.parametrize("target", ["../outside/file", "/etc/passwd", "missing", "way/file", ".", "folder"])
def test_hard_links_to_what_is_not_the_layers(refused: Unpack, target: str) -> None:
    content = archive(
        member("folder", DIRECTORY), member("way", LINK, linkname="../outside"), member("name", HARD, linkname=target)
    )
    refused(content, why="unpack")


@pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh...", "a/.wh..", "a/.wh..."])
def test_whiteouts_of_nothing_in_their_directory(refused: Unpack, name: str) -> None:
    refused(archive(member("a", DIRECTORY), member(name)), why="a whiteout of no file")


def test_whiteouts_that_reach_outside(refused: Unpack) -> None:
    refused(archive(member("x")), archive(member("../outside/.wh.file")), why="leaves the root")


def test_whiteouts_through_a_symlink_outside(refused: Unpack) -> None:
    content = archive(member("way", LINK, linkname="../../outside"), member("way/.wh.file"))
    refused(archive(member("x")), content, why="symlink")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (archive((member("x" * 256), b"")), "longer than 255|too long"),
        (archive((member("a/" * 2100 + "x"), b"")), "over the limit|too long"),
        (archive(member("name", LINK, linkname="y" * 5000)), "symlink to a name|too long"),
        (archive(member(".", tarfile.REGTYPE)), "the root is not a directory"),
        (archive(member("", tarfile.REGTYPE)), "the root is not a directory"),
        (archive((member("file"), b"x"), (member("file/below"), b"x")), "not a directory"),
    ],
    ids=["name", "path", "target", "root", "empty", "below-a-file"],
)
def test_names_that_no_file_system_takes(refused: Unpack, content: bytes, why: str) -> None:
    refused(content, why=why)


def test_an_empty_target(refused: Unpack) -> None:
    refused(archive(member("name", LINK, linkname="")), why="unpack")


def test_a_layer_that_grows_beyond_the_limit(refused: Unpack) -> None:
    bomb = gzip.compress(archive((member("zeros"), bytes(9 << 20))))
    assert len(bomb) < 1 << 16
    refused(bomb, why=f"grows beyond {8 << 20} bytes", limit=8 << 20)


def test_a_header_that_is_huge(refused: Unpack) -> None:
    content = archive(member("file", pax_headers={"comment": "x" * (2 << 20)}))
    refused(content, why="an extended header of .* bytes is over the limit")


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XGLTYPE])
def test_other_headers_that_are_huge(refused: Unpack, kind: bytes) -> None:
    content = b"x" * (2 << 20)
    if kind == tarfile.XGLTYPE:
        content = b"%d comment=%s\n" % (len(content) + 17, content)
    long = member("././@LongLink", kind)
    long.size = len(content)
    header = long.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % 512)
    refused(header + archive((member("file"), b"x")), why="header of .* over the limit")


def test_an_archive_that_breaks_off(refused: Unpack) -> None:
    refused(archive((member("file"), bytes(100_000)))[:50_000], why="ends in the middle")


def test_content_that_is_another(form: str, tmp_path: Path) -> None:
    store = LayerStore(tmp_path, snapshotter=form)
    blob = tmp_path / "blob"
    blob.write_bytes(archive((member("file"), b"x")))
    with pytest.raises(DataCorrupt, match="diff ID mismatch"):
        store.unpack(blob, digests.of(b"something else"), None, lambda _: None)
    assert store.all() == []


def test_marks_of_overlays_own_are_not_an_images_to_set(form: str, tmp_path: Path) -> None:
    """With them, an image could show what another layer, or the host, has: redirects and metadata-only copies."""
    names = ("trusted.overlay.redirect", "trusted.overlay.metacopy", "user.overlay.opaque", "security.selinux")
    headers = {f"SCHILY.xattr.{name}": "y" for name in (*names, "user.kept")}
    content = archive(member("dir", DIRECTORY, pax_headers=headers), (member("dir/file"), b"x"))
    root = tmp_path / "root"
    layers = unpacked(LayerStore(root, snapshotter=form), tmp_path, [archive(member("dir/below")), content])
    found = seen(root, layers)
    assert found["dir"]["xattrs"] == {"user.kept": b"y".hex()}
    assert "dir/below" in found


def test_devices_are_what_the_image_says_and_nothing_of_the_host(form: str, tmp_path: Path) -> None:
    device = member("dev/disk", tarfile.BLKTYPE, devmajor=259, devminor=0)
    layers = unpacked(LayerStore(tmp_path / "root", snapshotter=form), tmp_path, [archive(device)])
    assert seen(tmp_path / "root", layers)["dev/disk"]["device"] == os.makedev(259, 0)


def test_numbers_that_no_device_has(refused: Unpack) -> None:
    refused(archive(member("dev", tarfile.CHRTYPE, devmajor=0o7777777, devminor=0o7777777)), why="unpack")


def test_set_user_id_is_kept_and_out_of_reach(form: str, tmp_path: Path) -> None:
    """The bit is the image's; the way to it is root's alone."""
    root = tmp_path / "root"
    layers = unpacked(LayerStore(root, snapshotter=form), tmp_path, [archive((member("su", mode=0o4755), b"x"))])
    assert seen(root, layers)["su"]["mode"] == "0o104755"
    assert (root / "layers").stat().st_mode & 0o777 == 0o700
