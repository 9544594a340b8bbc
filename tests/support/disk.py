"""A file system of a test's own, and what the kernel has mounted of the files on it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.support.command import run
from tests.support.engine import Engine
from tests.support.process import wait_until

_LOOK = """
import os, sys
from corten.sys.process import CLONE_NEWNS, setns
shelf, mine = os.open(sys.argv[1], os.O_RDONLY), os.open(f"/proc/{os.getpid()}", os.O_PATH)
setns(shelf, CLONE_NEWNS)
with open(os.open("mountinfo", os.O_RDONLY, dir_fd=mine)) as mounts:
    print(sum(" - erofs " in line for line in mounts))
"""


@contextlib.contextmanager
def ext4(place: Path, mib: int = 256) -> Iterator[Path]:
    """A new ext4 at ``place``, in a loop file. It must be unused at the end: a file system that was mounted from a file
    on it, anywhere, keeps it busy."""
    file = place.with_name(f"{place.name}.disk")
    with file.open("wb") as opened:
        opened.truncate(mib << 20)
    run(["mkfs.ext4", "-q", "-F", str(file)]).check()
    run(["mount", "-o", "loop", str(file), str(place)]).check()
    try:
        yield place
        wait_until(lambda: run(["umount", str(place)]).code == 0, f"nothing to use the file system at {place}")
    except BaseException:
        run(["umount", "-l", str(place)])
        raise
    finally:
        file.unlink()


def shelved(engine: Engine) -> int:
    """How many layers an engine's spawner has mounted, where nobody else sees them."""
    own = os.readlink(f"/proc/{engine.spawner}/ns/mnt")
    for descriptor in Path(f"/proc/{engine.spawner}/fd").iterdir():
        if (target := os.readlink(descriptor)).startswith("mnt:[") and target != own:
            command = [sys.executable, "-c", _LOOK, str(descriptor)]
            return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return 0
