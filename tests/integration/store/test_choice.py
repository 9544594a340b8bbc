"""Which form layers get is found out by trying, and what cannot be had is refused with its reason."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tarfile import DIRTYPE

import pytest

from corten.errors import InvalidInput
from corten.store import snapshotters
from corten.store.layers import LayerStore
from corten.store.privilege import Privilege
from tests.support.layers import archive, member, seen, unpacked

pytestmark = pytest.mark.root

ORDINARY = Privilege(user_xattrs=True, keep_owners=True)
ASK = """
import sys
from pathlib import Path
from corten.errors import InvalidInput
from corten.store.layers import LayerStore
for wanted in ("auto", "erofs", "overlay"):
    try:
        store = LayerStore(Path(sys.argv[1]) / "root", snapshotter=wanted)
        print(store.form, "|", store.probe.why)
    except InvalidInput as error:
        print("refused", "|", error.message)
"""


def test_an_ordinary_user_has_directories(tmp_path: Path) -> None:
    assert LayerStore(tmp_path, ORDINARY).form == "overlay"
    with pytest.raises(InvalidInput, match=r"use snapshotter erofs: it needs the machine's root"):
        _ = LayerStore(tmp_path, ORDINARY, snapshotter="erofs").form


def test_an_overlay_is_no_place_for_files_that_are_mounted(tmp_path: Path) -> None:
    """A file on an overlay would be a third file system on top of two others: the kernel has a limit of two. Nor does
    an overlay write to an overlay: what is left is to copy."""
    for name in ("lower", "upper", "work", "merged"):
        (tmp_path / name).mkdir()
    options = f"lowerdir={tmp_path}/lower,upperdir={tmp_path}/upper,workdir={tmp_path}/work"
    script = f"mount -t overlay overlay -o {options} {tmp_path}/merged && exec \"$@\""
    command = ["unshare", "--mount", "sh", "-c", script, "sh", sys.executable, "-c", ASK, f"{tmp_path}/merged"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    form, _, why = told[0].partition(" | ")
    if form == "erofs":
        pytest.skip("this kernel mounts files of an overlay, too")
    assert form == "copy"
    assert why.startswith("mount a layer's file: ")
    assert told[2].startswith("refused | use snapshotter overlay: mount an overlay: ")
    assert told[1].startswith("refused | use snapshotter erofs: mount a layer's file: ")


def test_what_was_tried_leaves_nothing(tmp_path: Path) -> None:
    snapshotters.probe(tmp_path)
    assert snapshotters.overlay_problem(tmp_path, Privilege.of_process()) == ""
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_attributes_has_copies_without_them(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "ramfs", "ramfs", tmp_path], check=True)
    try:
        store = LayerStore(tmp_path / "root")
        assert store.form == "copy"
        assert store.probe.no_overlay.startswith("mount an overlay: ")
        headers = {"SCHILY.xattr.user.origin": "x"}
        lower = archive(member("dir", DIRTYPE, mode=0o711), (member("dir/gone"), b"x"), (member("dir/kept"), b"y"))
        upper = archive((member("dir/file", pax_headers=headers), b"z"), member("dir/.wh.gone"))
        found = seen(tmp_path / "root", unpacked(store, tmp_path, [lower, upper]))
        assert found.keys() == {"dir", "dir/kept", "dir/file"}
        assert (found["dir"]["mode"], found["dir/file"]["xattrs"]) == ("0o40711", {})
    finally:
        subprocess.run(["umount", tmp_path], check=True)
