from __future__ import annotations

import os
from pathlib import Path

import pytest

from corten.errors import InvalidInput
from corten.runtime.accounts import Account, look_up
from corten.spec.runtime import User

PASSWD = """root:x:0:0:root:/root:/bin/sh
# a comment
web:x:33:34:web:/var/www:/bin/false
1000:x:5:6::/odd:/bin/sh
broken:x:seven:7::/:/bin/sh
nohome:x:40:41:::
"""
GROUP = """root:x:0:
wheel:x:10:root,web
web:x:34:
video:x:44:web
short:x
"""


@pytest.fixture
def root(tmp_path: Path) -> str:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(PASSWD)
    (tmp_path / "etc/group").write_text(GROUP)
    return str(tmp_path)


@pytest.mark.parametrize(("name", "expected"), [
    ("root", Account(0, 0, (0, 10), "/root")),
    ("0", Account(0, 0, (0, 10), "/root")),
    ("web", Account(33, 34, (34, 10, 44), "/var/www")),
    ("33", Account(33, 34, (34, 10, 44), "/var/www")),
    ("web:wheel", Account(33, 10, (10,), "/var/www")),
    ("web:7", Account(33, 7, (7,), "/var/www")),
    ("33:video", Account(33, 44, (44,), "/var/www")),
    ("1000", Account(5, 6, (6,), "/odd")),
    ("77", Account(77, 0, (0,), "/")),
    ("77:88", Account(77, 88, (88,), "/")),
    ("nohome", Account(40, 41, (41,), "/")),
])  # fmt: skip
def test_a_name_is_looked_up_as_docker_does(root: str, name: str, expected: Account) -> None:
    assert look_up(User(name=name), root) == expected


def test_numbers_alone_are_taken_as_they_are(root: str) -> None:
    assert look_up(User(33, 7, None, (1, 2)), root) == Account(33, 7, (1, 2), "/var/www")


def test_groups_are_added_by_name_or_number(root: str) -> None:
    user = User(name="web", additional_groups=("video", "99", "wheel"))
    assert look_up(user, root).groups == (34, 10, 44, 99)


@pytest.mark.parametrize("name", ["nobody", "web:nogroup", "broken", "4294967296", "1:4294967296", "-1", "١"])
def test_what_is_not_there_is_refused(root: str, name: str) -> None:
    with pytest.raises(InvalidInput):
        look_up(User(name=name), root)


def test_an_image_without_files_has_numbers_only(tmp_path: Path) -> None:
    assert look_up(User(name="5"), str(tmp_path)) == Account(5, 0, (0,), "/")
    with pytest.raises(InvalidInput):
        look_up(User(name="root"), str(tmp_path))


def test_a_fifo_in_place_of_a_file_stalls_nobody(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    os.mkfifo(tmp_path / "etc/passwd")
    assert look_up(User(name="5"), str(tmp_path)).uid == 5


def test_a_file_that_is_not_text_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_bytes(b"\xff\xfe\x00:x:1:1::/:\nweb:x:33:34::/w\xff:\n")
    assert look_up(User(name="web"), str(tmp_path)).home == "/w\udcff"
