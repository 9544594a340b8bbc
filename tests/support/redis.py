"""An image with Debian's Redis: the machine's own program and its libraries, on a busybox."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.support import images

PROGRAM = "/usr/bin/redis-server"


def redis_problem() -> str:
    """Why no image of Redis can be made here; '' when it can."""
    missing = "" if os.path.exists(PROGRAM) else "redis-server is not installed"
    return missing or images.busybox_problem()


def redis_archive(directory: Path) -> Path:
    """A docker archive of ``redis:test``, which serves at 6379; made in ``directory``."""
    root = images.busybox_root(directory / "redis-root")
    try:
        for source in (PROGRAM, *_libraries(PROGRAM)):
            target = root / source.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
        layer = images.layer_of(root)
    finally:
        shutil.rmtree(root)
    command = ["redis-server", "--protected-mode", "no", "--save", ""]
    return images.docker_archive(
        directory / "redis.tar", "redis:test", [layer], Cmd=command, ExposedPorts={"6379/tcp": {}}
    )


def _libraries(program: str) -> list[str]:
    """Where the loader finds what a program needs (ldd(1)), and the loader itself."""
    told = subprocess.run(["ldd", program], capture_output=True, check=True, text=True).stdout
    return [word for line in told.splitlines() for word in line.split() if word.startswith("/")]
