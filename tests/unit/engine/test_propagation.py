"""Which mounts a shared or slave bind may have as its source, from a mountinfo as proc(5) writes it."""

from __future__ import annotations

import pytest

from corten.engine import propagation
from corten.engine.model import MountPoint
from corten.errors import CortenError

TABLE = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:25 / /mnt/peers rw shared:7 - tmpfs tmpfs rw
31 22 0:26 / /mnt/follower rw master:7 - tmpfs tmpfs rw
32 30 0:27 / /mnt/peers/own\\040one rw,relatime - tmpfs tmpfs rw
33 22 0:28 / /mnt/hidden rw shared:8 - tmpfs tmpfs rw
34 33 0:29 / /mnt/hidden rw - tmpfs tmpfs rw
"""


def bind(source: str, mode: str) -> list[MountPoint]:
    return [MountPoint(type="bind", destination="/x", source=source, propagation=mode)]


@pytest.mark.parametrize(("source", "mode"), [
    ("/mnt/peers", "shared"), ("/mnt/peers/below", "rshared"), ("/mnt/peers", "slave"), ("/mnt/follower", "rslave"),
    ("/etc", "rprivate"), ("/etc", "private"), ("/etc", ""),
])  # fmt: skip
def test_fitting_sources(source: str, mode: str) -> None:
    propagation.check(bind(source, mode), TABLE)


@pytest.mark.parametrize(("source", "mode", "says"), [
    ("/etc", "shared", "path /etc is mounted on / but it is not a shared mount"),
    ("/mnt/follower", "rshared", "/mnt/follower but it is not a shared mount"),
    ("/etc", "slave", "path /etc is mounted on / but it is not a shared or slave mount"),
    ("/mnt/peers/own one/x", "rslave", "mounted on /mnt/peers/own one but"),
    ("/mnt/hidden", "shared", "mounted on /mnt/hidden but"),
])  # fmt: skip
def test_sources_that_nothing_comes_through(source: str, mode: str, says: str) -> None:
    with pytest.raises(CortenError, match=says):
        propagation.check(bind(source, mode), TABLE)


def test_volumes_are_no_binds() -> None:
    propagation.check([MountPoint(type="volume", destination="/x", source="/etc", propagation="shared")], TABLE)


@pytest.mark.parametrize(("modes", "root"), [
    ((), ""), (("rprivate",), ""), (("slave",), "rslave"), (("rslave", "shared"), "shared"), (("rshared",), "shared"),
])  # fmt: skip
def test_the_root_takes_the_widest(modes: tuple[str, ...], root: str) -> None:
    assert propagation.of_root([one for mode in modes for one in bind("/x", mode)]) == root
