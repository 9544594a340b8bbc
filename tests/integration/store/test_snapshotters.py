"""Every form of layers shows the same trees: those that GNU tar and umoci make of the same archives."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from corten.spec import digest as digests
from corten.store.forms import FILE
from corten.store.layers import Layer, LayerStore
from corten.sys import mounts
from tests.support import images
from tests.support.layers import Tree, archive, below, member, seen, tree_of, unpacked

pytestmark = pytest.mark.root

FORMS = ("erofs", "overlay", "copy")
CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")
"""CAP_NET_BIND_SERVICE, permitted and effective (VFS_CAP_REVISION_2)."""
DIRECTORY, LINK, HARD = tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
Show = Callable[[list[bytes]], Tree]



@pytest.fixture(params=FORMS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> LayerStore:
    """A store whose new layers have one form."""
    return LayerStore(tmp_path / "root", snapshotter=request.param)


@pytest.fixture
def show(store: LayerStore, tmp_path: Path) -> Show:
    """What a container sees of layers."""
    return lambda archives: seen(tmp_path / "root", unpacked(store, tmp_path, archives))


def everything(root: Path) -> None:
    """A tree with whatever an archive can hold."""
    for name, mode in (("plain", 0o755), ("closed", 0o700), ("sticky", 0o1777), ("group", 0o2775)):
        (root / name).mkdir(parents=True)
        (root / name).chmod(mode)
    (root / "plain/empty").touch()
    (root / "plain/page").write_bytes(os.urandom(4096))
    (root / "plain/odd").write_bytes(os.urandom(123_457))
    (root / "plain/exactly").write_bytes(os.urandom(512))
    (root / "plain/setuid").write_bytes(b"#!/bin/sh\n")
    os.link(root / "plain/odd", root / "closed/second name")
    os.link(root / "plain/odd", root / "sticky/third name")
    (root / "group/short").symlink_to("../plain/odd")
    (root / "group/long").symlink_to("x" * 700)
    (root / "group/nowhere").symlink_to("/does/not/exist")
    os.mkfifo(root / "plain/fifo", 0o640)
    os.mknod(root / "plain/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(root / "plain/disk", stat.S_IFBLK | 0o660, os.makedev(259, 70_000))
    deep = root / "/".join(["a-directory-with-a-name-of-some-length"] * 9).lstrip("/")
    deep.mkdir(parents=True)
    (deep / ("n" * 255)).write_bytes(b"far down")
    (root / "many").mkdir()
    for number in range(700):
        (root / f"many/{'+-.a~'[number % 5]}{number:04}").write_bytes(str(number).encode())
    with (root / "sparse").open("wb") as file:
        for offset in (0, 1 << 20, 5 << 20):
            file.seek(offset)
            file.write(os.urandom(70_000))
        file.truncate(9 << 20)
    with (root / "hole").open("wb") as file:
        file.truncate(3 << 20)
    _attributes(root)


def _attributes(root: Path) -> None:
    os.setxattr(root / "plain/setuid", "security.capability", CAPABILITY)
    os.setxattr(root / "plain/odd", "user.origin", b"https://example.org/" + b"x" * 900)
    os.setxattr(root / "plain", "user.empty", b"")
    for number, path in enumerate(sorted(below(root))):
        os.chown(path, number, 70_000 + number, follow_symlinks=False)
        if path.name == "setuid":
            path.chmod(0o4755)
            os.setxattr(path, "security.capability", CAPABILITY)
    for number, path in enumerate(sorted(below(root), reverse=True)):
        moment = 1_500_000_000_123_456_789 + number * 1_000_000_007
        os.utime(path, ns=(moment, moment), follow_symlinks=False)


PACKINGS = {
    "gnu": ["--format=gnu"],
    "gnu-sparse": ["--format=gnu", "--sparse"],
    "pax": ["--format=pax", "--xattrs", "--xattrs-include=*"],
    "pax-sparse-0.0": ["--format=pax", "--sparse", "--sparse-version=0.0"],
    "pax-sparse-0.1": ["--format=pax", "--sparse", "--sparse-version=0.1"],
    "pax-sparse-1.0": ["--format=pax", "--sparse", "--sparse-version=1.0"],
}


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_layer_is_what_gnu_tar_makes_of_it(show: Show, tmp_path: Path, packing: str) -> None:
    everything(tmp_path / "tree")
    packed, made = tmp_path / "layer.tar", tmp_path / "made"
    subprocess.run(["tar", *PACKINGS[packing], "-cf", packed, "-C", tmp_path / "tree", "."], check=True)
    made.mkdir()
    with_xattrs = ["--xattrs", "--xattrs-include=*"] if packing == "pax" else []
    subprocess.run(["tar", *with_xattrs, "--numeric-owner", "-xpf", packed, "-C", made], check=True)
    assert show([packed.read_bytes()]) == tree_of(made)


def stack() -> list[bytes]:
    """Three layers that hide, replace and add to each other."""
    file = tarfile.REGTYPE
    lowest = archive(
        *(member(name, DIRECTORY, mode=mode, uid=5, gid=6, mtime=1000)
          for name, mode in (("etc", 0o750), ("etc/deep", 0o711), ("opt", 0o755), ("opt/full", 0o755), ("srv", 0o700))),
        (member("etc/name", uid=1), b"lowest"), (member("etc/gone"), b"to be hidden"),
        (member("etc/deep/file"), b"deep"), (member("opt/full/a"), b"a"), (member("opt/full/b"), b"b"),
        (member("srv/kept", mode=0o4711), b"kept"), member("etc/link", LINK, linkname="name"),
        (member("becomes-directory"), b"x"), member("becomes-file", DIRECTORY), (member("becomes-file/in"), b"x"),
    )  # fmt: skip
    middle = archive(
        member("etc/.wh.gone", file), (member("etc/name", mode=0o600), b"middle"),
        member("opt/full/.wh..wh..opq", file), (member("opt/full/c"), b"c"),
        member(".wh.becomes-file", file), (member("becomes-file", mtime=77), b"now a file"),
        member("becomes-directory", DIRECTORY, mode=0o701), (member("becomes-directory/in"), b"in"),
    )  # fmt: skip
    highest = archive(
        (member("etc/deep/implied/other"), b"below a directory that has no entry"),
        member("etc/other", HARD, linkname="etc/deep/implied/other"), member("srv/.wh.kept", file),
        (member("srv/again"), b"again"), (member("opt/full/a"), b"a again"),
    )  # fmt: skip
    return [lowest, middle, highest]


def umoci(directory: Path, layers: list[bytes]) -> Tree:
    """What umoci makes of an image."""
    layout = directory / "layout"
    images.oci_layout(layout, "image", layers, compress=False)
    bundle = directory / "bundle"
    subprocess.run(["umoci", "unpack", "--image", f"{layout}:image", bundle], check=True, capture_output=True)
    tree = tree_of(bundle / "rootfs")
    shutil.rmtree(bundle)
    return tree


IMPLIED = ("etc", "etc/deep", "etc/deep/implied", "opt", "opt/full", "srv", "becomes-directory")
"""Directories that a layer changes without a word on them: their times are the unpacker's affair."""


def without_times(tree: Tree) -> Tree:
    return {path: {**entry, "mtime": 0 if path in IMPLIED else entry["mtime"]} for path, entry in tree.items()}


@pytest.mark.skipif(not shutil.which("umoci"), reason="umoci is not installed")
def test_a_stack_is_what_umoci_makes_of_it(show: Show, tmp_path: Path) -> None:
    found = without_times(show(stack()))
    assert found == without_times(umoci(tmp_path, stack()))
    assert found["etc/deep"]["mode"] == "0o40711"
    assert "etc/gone" not in found
    assert "opt/full/b" not in found


def test_what_is_implied_looks_as_below_and_else_as_roots_own(show: Show) -> None:
    lower = archive(member("known", DIRECTORY, mode=0o1750, uid=7, gid=8, mtime=1234))
    found = show([lower, archive((member("known/new/file"), b"x"))])
    assert found["known"] | {"xattrs": {}} == {
        "mode": "0o41750", "owner": "7:8", "mtime": 1234 * 10**9, "xattrs": {}
    }  # fmt: skip
    assert (found["known/new"]["mode"], found["known/new"]["owner"]) == ("0o40755", "0:0")


def test_the_last_of_several_entries_wins(show: Show) -> None:
    found = show([archive(
        (member("file", uid=1), b"first"), (member("file", uid=2), b"second"),
        (member("was-file"), b"x"), member("was-file", DIRECTORY), (member("was-file/in"), b"in"),
        member("was-directory", DIRECTORY), (member("was-directory/in"), b"gone"), (member("was-directory"), b"file"),
        (member("named"), b"shared"), member("other", HARD, linkname="named"), (member("named"), b"anew"),
        member("dressed", DIRECTORY, mode=0o700), (member("dressed/in"), b"stays"),
        member("dressed", DIRECTORY, mode=0o711),
    )])  # fmt: skip
    assert found["file"]["owner"] == "2:0"
    assert {"was-file/in", "dressed/in"} <= found.keys()
    assert "was-directory/in" not in found
    assert found["dressed"]["mode"] == "0o40711"
    assert found["named"]["same as"] != found["other"]["same as"]
    assert found["other"]["links"] == 1


def test_a_name_leads_through_a_symlink_of_its_layer(show: Show) -> None:
    found = show([archive(
        member("usr/lib", DIRECTORY), member("lib", LINK, linkname="usr/lib"), (member("lib/one"), b"1"),
        member("usr/top", LINK, linkname="/usr"), (member("usr/top/lib/two"), b"2"),
        member("usr/again", HARD, linkname="lib/one"),
    )])  # fmt: skip
    assert {"usr/lib/one", "usr/lib/two"} <= found.keys()
    assert found["usr/again"]["same as"] == found["usr/lib/one"]["same as"] or found["usr/again"]["links"] == 2


def test_times_before_the_epoch_and_fractions_are_kept(show: Show) -> None:
    found = show([archive(
        member("old", pax_headers={"mtime": "-86399.5"}), member("fine", pax_headers={"mtime": "1700000000.000000001"}),
    )])  # fmt: skip
    assert found["old"]["mtime"] == -86_399_500_000_000
    assert found["fine"]["mtime"] == 1_700_000_000_000_000_001


def test_the_lowest_layer_has_nothing_to_hide(show: Show) -> None:
    found = show([archive(member("dir", DIRECTORY), member("dir/.wh.file"), member(".wh.other"))])
    assert found.keys() == {"dir"}


def test_a_sparse_file_of_odd_pieces_and_one_that_is_huge(show: Show, tmp_path: Path) -> None:
    """Pieces that are no whole blocks, and more holes than a table of blocks could list."""
    (tmp_path / "tree").mkdir()
    with (tmp_path / "tree/huge").open("wb") as file:
        for offset in (0, 3 << 30, 40 << 30):
            file.seek(offset)
            file.write(b"data" * 2000)
    packed = tmp_path / "layer.tar"
    subprocess.run(["tar", "--sparse", "-cf", packed, "-C", tmp_path / "tree", "huge"], check=True)
    root = tmp_path / "root"
    layer = unpacked(LayerStore(root, snapshotter="erofs"), tmp_path, [packed.read_bytes()])[0]
    made = root / "layers" / LayerStore.short(layer.chain_id) / FILE
    assert made.stat().st_blocks * 512 < 4 << 20
    assert layer.size == (40 << 30) + 8000
    tree = mounts.file_system("erofs", {"source": str(made), "ro": ""})
    try:
        with open("huge", "rb", opener=lambda path, flags: os.open(path, flags, dir_fd=tree)) as file:
            for offset in (0, 3 << 30, 40 << 30):
                assert os.pread(file.fileno(), 9000, offset).rstrip(b"\0") == b"data" * 2000
            assert os.pread(file.fileno(), 4096, 20 << 30) == bytes(4096)
    finally:
        os.close(tree)


@pytest.mark.parametrize("forms", [
    ("overlay", "erofs", "overlay"), ("copy", "copy", "erofs"), ("erofs", "overlay", "copy"),
    ("overlay", "copy", "erofs"),
])  # fmt: skip
def test_layers_of_different_forms_stand_on_each_other(tmp_path: Path, forms: tuple[str, ...]) -> None:
    root = tmp_path / "root"
    layers: list[Layer] = []
    for form, content in zip(forms, stack(), strict=True):
        blob = tmp_path / "blob"
        blob.write_bytes(content)
        store = LayerStore(root, snapshotter=form)
        layers.append(store.unpack(blob, digests.of(content), layers[-1] if layers else None, lambda _: None))
    assert tuple(layer.form for layer in layers) == forms
    mixed = without_times(seen(root, layers))
    assert mixed == without_times(seen(tmp_path / "same", unpacked(LayerStore(tmp_path / "same"), tmp_path, stack())))


def test_a_file_holds_the_archive_to_the_byte(tmp_path: Path) -> None:
    content = stack()[0] + b"what follows the end of an archive is its own, too"
    store = LayerStore(tmp_path, snapshotter="erofs")
    layer = unpacked(store, tmp_path, [content])[0]
    assert layer.archive == len(content)
    kept = store.archive(layer.chain_id)
    assert kept is not None
    assert b"".join(kept) == content


def test_the_same_archive_makes_the_same_file(tmp_path: Path) -> None:
    files = []
    for name in ("one", "two"):
        layer = unpacked(LayerStore(tmp_path / name, snapshotter="erofs"), tmp_path, [stack()[0]])[0]
        files.append((tmp_path / name / "layers" / LayerStore.short(layer.chain_id) / FILE).read_bytes())
    assert files[0] == files[1]
